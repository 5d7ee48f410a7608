"""`auto`: the classifier decides; slow, dead or talking nonsense, the configured tier answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream


def verdict(**fields: Any) -> Play:
    answer = {
        "tier": "local",
        "model": "llama3.2",
        "score": 0.9,
        "percentile": 0.7,
        "domain": "chat",
        "version": "7",
        "milliseconds": 0.1,
        **fields,
    }
    return Play(orjson.dumps(answer), content_type="application/json")


@asynccontextmanager
async def routed(
    *opinions: Play, **tree: Any
) -> AsyncGenerator[tuple[Running, ReplayServer], None]:
    """A gateway whose classifier plays `opinions`; each tier's target says its own name."""
    async with (
        ReplayServer(*opinions) as classifier,
        ReplayServer(Play(openai_stream("easy"))) as easy,
        ReplayServer(Play(openai_stream("hard"))) as hard,
    ):
        base: dict[str, Any] = {
            "classifier": {"url": classifier.url},
            "providers": {"easy": openai_provider(easy.url), "hard": openai_provider(hard.url)},
        }
        for section, values in tree.items():
            base[section] = {**base.get(section, {}), **values}
        async with running(settings(**base)) as gateway:
            yield gateway, classifier


@pytest.mark.parametrize(("tier", "text"), [("local", "easy"), ("strong", "hard")])
async def test_the_classifiers_tier_answers_and_the_reason_says_so(tier: str, text: str) -> None:
    async with routed(verdict(tier=tier, score=0.625)) as (gateway, classifier):
        answer = await gateway.complete(message="What is 2 + 2?")
        assert answer.text == text
        route = answer.route
        assert route["tier"] == tier
        assert route["score"] == 0.625
        assert route["domain"] == "chat"
        assert route["classifier_version"] == "7"
        assert "0.62" in route["reason"]
        assert tier in route["reason"]
        assert route["milliseconds"]["classifier"] > 0
        assert classifier.received[0].path == "/classify"
        assert classifier.received[0].body == {"message": "What is 2 + 2?"}
        labels = {"tier": tier, "source": "classifier"}
        assert gateway.counted("pointsman_decisions_total", **labels) == 1


NONSENSE = {
    "not json": Play(b"<html>", content_type="text/html"),
    "an error": Play(b"{}", status=500, content_type="application/json"),
    "no tier": verdict(tier=None),
    "an unknown tier": verdict(tier="middle"),
    "a score above one": verdict(score=1.5),
    "a score that is text": verdict(score="0.5"),
    "a list": Play(b"[1, 2]", content_type="application/json"),
    "cut": Play(verdict().body, content_type="application/json", cut=20),
    "a redirect": Play(b"", status=302, headers={"Location": "http://127.0.0.1:9/"}),
}


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.parametrize("tier", ["local", "strong"])
async def test_nonsense_from_the_classifier_means_the_configured_tier(name: str, tier: str) -> None:
    async with routed(NONSENSE[name], classifier={"on_failure": tier}) as (gateway, _):
        answer = await gateway.complete(message="Hi")
        assert answer.text == {"local": "easy", "strong": "hard"}[tier]
        assert answer.route["tier"] == tier
        assert answer.route["score"] is None
        assert "The classifier gave no answer" in answer.route["reason"]
        labels = {"tier": tier, "source": "failure"}
        assert gateway.counted("pointsman_decisions_total", **labels) == 1


async def test_a_slow_classifier_is_not_waited_for() -> None:
    slow = Play(verdict().body, content_type="application/json", before_s=5)
    async with routed(slow, classifier={"timeout_ms": 40}) as (gateway, classifier):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "hard"
        assert "no answer in 40 ms" in answer.route["reason"]
        assert 40 <= answer.route["milliseconds"]["classifier"] < 1000
        await classifier.until_left()


async def test_a_classifier_that_goes_on_failing_is_left_alone_for_a_moment() -> None:
    slow = Play(verdict().body, content_type="application/json", before_s=5)
    async with routed(slow, classifier={"timeout_ms": 20}) as (gateway, classifier):
        for n in range(6):
            answer = await gateway.complete(message=f"Hi {n}")
            assert answer.text == "hard"
        assert len(classifier.received) == 3
        assert "left alone" in answer.route["reason"]
        classifier.play(verdict())
        await asyncio.sleep(1.1)
        assert (await gateway.complete(message="Hi again")).text == "easy"


async def test_a_dead_classifier_costs_nobody_his_answer() -> None:
    async with ReplayServer(Play(openai_stream("hard"))) as hard:
        given = settings(
            providers={"hard": openai_provider(hard.url)},
            classifier={"url": "http://127.0.0.1:1"},
        )
        async with running(given) as gateway:
            answer = await gateway.complete(message="Hi")
            assert answer.text == "hard"
            assert "cannot be reached" in answer.route["reason"]


async def test_the_same_prompt_is_classified_once() -> None:
    async with routed(verdict(tier="local")) as (gateway, classifier):
        for _ in range(3):
            assert (await gateway.complete(message="Hi")).text == "easy"
        assert len(classifier.received) == 1
        labels = {"tier": "local", "source": "cache"}
        assert gateway.counted("pointsman_decisions_total", **labels) == 2


async def test_the_cache_is_bounded() -> None:
    async with routed(verdict(), classifier={"cache_size": 2}) as (gateway, classifier):
        for message in ("a", "b", "c", "a"):
            await gateway.complete(message=message)
        assert len(classifier.received) == 4


async def test_a_long_prompt_is_sent_by_its_head_and_tail() -> None:
    async with routed(verdict(), classifier={"max_chars": 100}) as (gateway, classifier):
        await gateway.complete(message="START" + "x" * 1000 + "END")
        sent = classifier.received[0].body["message"]
        assert len(sent) == 101
        assert sent.startswith("START")
        assert sent.endswith("END")


async def test_the_last_thing_that_the_user_said_is_classified() -> None:
    async with routed(verdict()) as (gateway, classifier):
        await gateway.complete(
            messages=[
                {"role": "user", "content": "first"},
                {"role": "user", "content": "last"},
                {"role": "assistant", "content": "answer"},
            ]
        )
        assert classifier.received[0].body == {"message": "last"}


async def test_a_tier_without_targets_is_answered_by_the_other() -> None:
    async with routed(verdict(tier="strong"), routes={"auto": {"local": ["easy/m"]}}) as (
        gateway,
        _,
    ):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "easy"
        assert answer.route["tier"] == "strong"
        assert "No target of the strong tier is on" in answer.route["reason"]


async def test_a_route_with_nobody_to_ask_is_a_clear_502() -> None:
    async with routed(verdict(), routes={"auto": {"local": ["openai"]}}) as (gateway, _):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 502
        assert "nobody to ask" in answer.json["error"]["message"]
        async with gateway.session.get(gateway.url + "/readyz") as response:
            assert response.status == 503


@pytest.mark.parametrize(
    ("policy", "score", "percentile", "text"),
    [
        ({"threshold": 0.8}, 0.79, 0.9, "hard"),
        ({"threshold": 0.8}, 0.8, 0.1, "easy"),
        ({"target_strong_share": 0.3}, 0.9, 0.29, "hard"),
        ({"target_strong_share": 0.3}, 0.1, 0.3, "easy"),
        ({"target_strong_share": 0.0}, 0.0, 0.0, "easy"),
        ({"target_strong_share": 1.0}, 1.0, 0.99, "hard"),
    ],
)
async def test_the_routes_own_line_wins_over_the_classifiers(
    policy: dict[str, float], score: float, percentile: float, text: str
) -> None:
    route = {"local": ["easy/m"], "strong": ["hard/m"], **policy}
    opinion = verdict(tier="local", score=score, percentile=percentile)
    async with routed(opinion, routes={"auto": route}) as (gateway, _):
        assert (await gateway.complete(message="Hi")).text == text


async def test_an_alias_stands_for_a_target() -> None:
    async with routed(verdict(), aliases={"fast": "easy/m"}) as (gateway, classifier):
        answer = await gateway.complete(message="Hi", model="fast")
        assert answer.text == "easy"
        assert answer.route["route"] == "named"
        assert not classifier.received


async def test_where_nobody_answered_at_the_last_look_is_asked_last() -> None:
    gone = {"gone": openai_provider("http://127.0.0.1:1")}
    route = {"local": ["gone/m", "easy/m"], "strong": []}
    async with routed(verdict(), providers=gone, routes={"auto": route}) as (gateway, _):
        async with asyncio.timeout(5):
            while "gone" not in gateway.services.registry.health:
                await asyncio.sleep(0.01)
        answer = await gateway.complete(message="Hi")
        assert answer.text == "easy"
        assert answer.route["fallbacks"] == []
