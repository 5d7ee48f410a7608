"""A route's rule, apart from the score: shares, floors, ceilings, tiers and exploration."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from gateway.engine.policy import Policy
from gateway.engine.ports import Opinion, Settlement, Verdict
from gateway.engine.share import LiveShare
from gateway.settings import Route, Settings
from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

Draw = Callable[[random.Random], float]


def opinion(score: float, percentile: float | None = None, **more: Any) -> Opinion:
    tier = "local" if score >= 0.5 else "strong"
    return Opinion(Verdict(tier, score, percentile, "chat", "1", **more), 1.0)


def policy(seed: int = 1, **route: Any) -> Policy:
    tossed = random.Random(seed)
    return Policy(Route(**route), "strong", LiveShare(tossed.random), tossed.random)


BOTH = ("local", "strong")
SHIFTS: dict[str, tuple[Draw, Draw]] = {
    "harder": (lambda r: r.random(), lambda r: r.betavariate(2, 8)),
    "easier": (lambda r: r.random(), lambda r: r.betavariate(8, 2)),
    "from easy to hard": (lambda r: r.betavariate(8, 2), lambda r: r.betavariate(2, 8)),
    "from hard to easy": (lambda r: r.betavariate(2, 8), lambda r: r.betavariate(8, 2)),
    "one prompt again and again": (lambda r: r.random(), lambda _: 0.4),
    "nearly one": (lambda r: r.random(), lambda r: 0.3 + r.random() / 100),
}


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("before", [0, 100, 1000])
@pytest.mark.parametrize("shift", SHIFTS)
def test_the_share_asked_for_is_the_share_given(shift: str, before: int, share: float) -> None:
    """Within 2 points over the first 500 requests of shifted traffic, and over the next 500."""
    first, then = SHIFTS[shift]
    for seed in range(3):
        drawn = random.Random(seed)
        rule = policy(seed, target_strong_share=share)
        for _ in range(before):
            score = first(drawn)
            rule.choose(opinion(score, score), BOTH)
        for _ in range(2):
            strong = 0
            for _ in range(500):
                score = then(drawn)
                strong += rule.choose(opinion(score, score), BOTH).tier == "strong"
            assert abs(strong / 500 - share) <= 0.02


def test_the_hardest_are_the_ones_that_go_to_the_strong_tier() -> None:
    drawn = random.Random(5)
    rule = policy(target_strong_share=0.3)
    found: dict[str, list[float]] = {"local": [], "strong": []}
    for number in range(2000):
        score = drawn.betavariate(2, 5)
        choice = rule.choose(opinion(score), BOTH)
        if number >= 500:
            found[choice.tier].append(score)
    harder = sum(max(found["strong"]) > score for score in found["local"]) / len(found["local"])
    assert sum(found["strong"]) / len(found["strong"]) < 0.2
    assert sum(found["local"]) / len(found["local"]) > 0.28
    assert harder < 0.5


def test_failures_of_the_classifier_do_not_move_the_line() -> None:
    rule = policy(target_strong_share=0.3)
    for _ in range(500):
        assert rule.choose(Opinion(None, 1.0, "dead"), BOTH).tier == "strong"
    drawn = random.Random(2)
    strong = sum(rule.choose(opinion(drawn.random()), BOTH).tier == "strong" for _ in range(500))
    assert abs(strong / 500 - 0.3) <= 0.02


TIERED: dict[str, Any] = {"local": ["a"], "tiers": {"middle": ["b"]}, "strong": ["c"]}


@pytest.mark.parametrize(
    ("rule", "score", "more", "tier"),
    [
        ({"min_quality": 0.8}, 0.9, {}, "local"),
        # Between them the chance grows in even steps, where the classifier says nothing.
        ({"min_quality": 0.8}, 0.7, {}, "middle"),
        ({"min_quality": 0.8}, 0.5, {}, "strong"),
        ({"min_quality": 0.8}, 0.5, {"tiers": {"middle": 0.81}}, "middle"),
        ({"min_quality": 0.8}, 0.9, {"tiers": {"local": 0.7, "middle": 0.75}}, "strong"),
        ({"min_quality": 1.0}, 0.99, {}, "strong"),
        ({"threshold": 0.6}, 0.6, {}, "local"),
        ({"threshold": 0.6}, 0.5, {}, "middle"),
        ({"threshold": 0.6}, 0.1, {}, "strong"),
        ({"threshold": 0.6}, 0.0, {}, "strong"),
        ({"target_strong_share": 0.2}, 0.1, {"percentile": 0.1}, "strong"),
        ({"target_strong_share": 0.2}, 0.5, {"percentile": 0.3}, "middle"),
        ({"target_strong_share": 0.2}, 0.9, {"percentile": 0.9}, "local"),
        ({}, 0.9, {}, "local"),
        ({}, 0.1, {}, "strong"),
        ({"on_ood": "middle"}, 0.9, {"ood": True}, "middle"),
        ({"on_ood": "strong", "threshold": 0.1}, 0.9, {"ood": True}, "strong"),
        ({"on_ood": "strong"}, 0.9, {"ood": False}, "local"),
    ],
)
def test_each_rule_chooses_among_the_tiers(
    rule: dict[str, Any], score: float, more: dict[str, Any], tier: str
) -> None:
    found = policy(**TIERED, **rule).choose(opinion(score, **more), tuple(TIERED))
    assert found.tier == tier
    assert tier in found.reason or f"{score:.2f}" in found.reason
    assert found.propensity == 1.0


def test_exploration_has_its_share_and_tells_its_propensity() -> None:
    rule = policy(local=["a"], strong=["b"], explore=0.1)
    found = [rule.choose(opinion(0.9), BOTH) for _ in range(5000)]
    explored = [choice for choice in found if choice.tier == "strong"]
    assert abs(len(explored) / 5000 - 0.1) < 0.02
    assert {choice.propensity for choice in explored} == {0.1}
    assert {choice.propensity for choice in found if choice.tier == "local"} == {0.9}
    assert "another tier than local" in explored[0].reason
    # By the inverse of the propensity every tier stands for all prompts.
    assert abs(sum(1 / choice.propensity for choice in explored) - 5000) < 600


def test_nobody_explores_what_is_not_there() -> None:
    rule = policy(local=["a"], strong=["b"], explore=0.5)
    found = [rule.choose(opinion(0.9), ("local",)) for _ in range(100)]
    assert {(choice.tier, choice.propensity) for choice in found} == {("local", 1.0)}


@pytest.mark.parametrize(
    ("route", "word"),
    [
        ({"threshold": 0.5, "min_quality": 0.5}, "two lines"),
        ({"on_ood": "nobody"}, "on_ood"),
        ({"tiers": {"local": ["a"]}}, "local"),
        ({"explore": 0.9}, "explore"),
        ({"order": "fancy"}, "order"),
    ],
)
def test_a_route_that_cannot_be_is_refused(route: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Settings.model_validate({"routes": {"auto": route}})


@asynccontextmanager
async def live(
    draw: Callable[[], dict[str, Any]], **route: Any
) -> AsyncGenerator[tuple[Running, dict[str, ReplayServer], list[Settlement]], None]:
    """A gateway whose classifier answers what `draw` says; each target says its own name."""

    async def classify(_: web.Request) -> web.Response:
        told = {"tier": "local", "domain": "chat", "version": "1", **draw()}
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    app = web.Application()
    app.router.add_post("/classify", classify)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    names = ("easy", "middle", "hard")
    servers = {name: ReplayServer(Play(openai_stream(name))) for name in names}
    for server in servers.values():
        await server.start()
    try:
        port = runner.addresses[0][1]
        given = settings(
            classifier={"url": f"http://127.0.0.1:{port}", "timeout_ms": 5000, "cache_size": 0},
            providers={name: openai_provider(one.url) for name, one in servers.items()},
            routes={"auto": {"local": ["easy/m"], "strong": ["hard/m"], **route}},
            prices={
                "easy/*": {"input": 1, "output": 1},
                "middle/*": {"input": 10, "output": 10},
                "hard/*": {"input": 1000, "output": 1000},
            },
        )
        async with running(given) as gateway:
            settled: list[Settlement] = []
            gateway.services.recorder.listeners.append(settled.append)
            yield gateway, servers, settled
    finally:
        for server in servers.values():
            await server.stop()
        await runner.cleanup()


async def test_the_share_is_kept_over_http() -> None:
    drawn = random.Random(3)

    def draw() -> dict[str, Any]:
        # Traffic much harder than the card's reference, by whose percentiles all would be strong.
        score = drawn.betavariate(2, 8)
        return {"score": score, "percentile": score / 4}

    async with live(draw, target_strong_share=0.3) as (gateway, servers, settled):
        for number in range(500):
            assert (await gateway.complete(message=f"Hi {number}", stream=True)).status == 200
        asked = {name: len(server.received) for name, server in servers.items()}
        assert sum(asked.values()) == 500
        assert abs(asked["hard"] / 500 - 0.3) <= 0.02
        assert settled[0].trace.propensity == 1.0


async def test_a_named_model_has_no_propensity() -> None:
    async with live(lambda: {"score": 0.9}) as (gateway, _, settled):
        await gateway.complete(message="Hi", model="easy/m")
        assert settled[0].trace.propensity is None


async def test_a_ceiling_of_cost_leaves_out_who_would_cost_more() -> None:
    tell = {"score": 0.1, "tier": "strong", "length": 1000}
    async with live(lambda: tell, max_cost=0.1) as (gateway, _, settled):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "easy"
        assert "hard/m left out: about 1, over the ceiling of 0.1" in settled[0].trace.reason
        # A short answer costs less.
        assert (await gateway.complete(message="Hi", max_tokens=20)).text == "hard"
    async with live(lambda: tell, max_cost=0.0001) as (gateway, servers, _):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 429
        assert "ceiling" in answer.json["error"]["message"]
        assert not any(server.received for server in servers.values())


async def test_within_a_tier_the_price_orders_where_asked() -> None:
    targets = ["hard/m", "middle/m", "easy/m"]
    for order, first in (("given", "hard"), ("price", "easy")):
        async with live(lambda: {"score": 0.9}, local=targets, strong=[], order=order) as (
            gateway,
            _,
            _,
        ):
            assert (await gateway.complete(message="Hi")).text == first


async def test_within_a_tier_the_pace_orders_where_asked() -> None:
    targets = ["hard/m", "easy/m"]
    async with live(lambda: {"score": 0.9}, local=targets, strong=[], order="latency") as (
        gateway,
        servers,
        _,
    ):
        servers["hard"].play(Play(openai_stream("hard"), before_s=0.2))
        # Each is asked once, so that its pace is known; then the quicker one.
        said = [(await gateway.complete(message="Hi")).text for _ in range(5)]
        assert said == ["hard", "easy", "easy", "easy", "easy"]


async def test_more_tiers_than_two_are_asked_and_listed() -> None:
    async with live(lambda: {"score": 0.7}, tiers={"middle": ["middle/m"]}, min_quality=0.8) as (
        gateway,
        servers,
        _,
    ):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "middle"
        assert answer.route["tier"] == "middle"
        servers["middle"].play(Play(b"", 500))
        # Behind it the stronger one, then the weaker.
        answer = await gateway.complete(message="Hi")
        assert answer.text == "hard"
        async with gateway.session.get(gateway.url + "/health") as response:
            routes = (await response.json())["routes"]
        assert list(routes["auto"]) == ["local", "middle", "strong"]
