"""The same question gets the same answer, whoever writes it down and in whatever dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.cache.shelf import OVERHEAD, MemoryShelf
from gateway.settings import Settings
from tests.ledger import books
from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_error, openai_stream
from tests.store import servers

QUESTION = {"messages": [{"role": "user", "content": "Name three colours."}]}
PRICES = {"hard/m": {"input": 10, "output": 20}}


@pytest.fixture(params=["memory", "redis"])
def redis(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    if request.param == "memory":
        yield ""
    else:
        with servers.redis(tmp_path / "redis") as url:
            yield url


def given(upstream: ReplayServer, redis: str = "", **route: Any) -> Settings:
    tree: dict[str, Any] = {"strong": ["hard/m"], "cache_s": 300, **route}
    return settings(
        store={"redis": redis},
        providers={"hard": openai_provider(upstream.url)},
        routes={"auto": tree},
        prices=PRICES,
    )


async def ask(
    gateway: Running, path: str = "/v1/chat/completions", **body: Any
) -> tuple[str | None, str]:
    """x-cache, and the text of the answer."""
    asked = {"model": "auto", **QUESTION, **body}
    headers = {"anthropic-version": "2023-06-01"} if path == "/v1/messages" else {}
    async with gateway.session.post(gateway.url + path, json=asked, headers=headers) as response:
        raw = await response.read()
        assert response.status == 200, raw
        await settled(gateway)
        return response.headers.get("x-cache"), text_of(raw)


async def settled(gateway: Running) -> None:
    """The answer is written beside the request."""
    await asyncio.sleep(0)
    await gateway.services.answers.close()


def text_of(raw: bytes) -> str:
    if not raw.startswith((b"data:", b"event:")):
        tree = orjson.loads(raw)
        if "choices" in tree:
            return str(tree["choices"][0]["message"]["content"])
        return "".join(part["text"] for part in tree["content"])
    found = ""
    for line in raw.split(b"\n"):
        if line.startswith(b"data: {"):
            event = orjson.loads(line[6:])
            for choice in event.get("choices", ()):
                found += choice["delta"].get("content") or ""
            if event.get("type") == "content_block_delta":
                found += event["delta"].get("text", "")
            found += event.get("message", "") if "timestamp" in event else ""
    return found


def stream() -> Play:
    return Play(openai_stream("red, ", "green, ", "blue"))


def whole() -> Play:
    return Play(openai_body("red, green, blue"), content_type="application/json")


async def test_the_same_question_is_asked_once(redis: str) -> None:
    async with ReplayServer(whole()) as upstream, running(given(upstream, redis)) as gateway:
        assert await ask(gateway) == ("miss", "red, green, blue")
        assert await ask(gateway) == ("hit", "red, green, blue")
        assert len(upstream.received) == 1
        for outcome in ("hit", "miss"):
            told = {"route": "auto", "outcome": outcome}
            assert gateway.counted("pointsman_cache_total", **told) == 1
        saved = gateway.counted("pointsman_cache_saved_dollars_total", route="auto")
        # 3 tokens at 10 and 2 at 20 for a million.
        assert round(saved, 9) == 0.00007


@pytest.mark.parametrize("first_streams", [True, False])
async def test_an_answer_is_replayed_in_any_dialect_as_a_stream_or_whole(
    redis: str, first_streams: bool
) -> None:
    play = stream() if first_streams else whole()
    async with ReplayServer(play) as upstream, running(given(upstream, redis)) as gateway:
        text = "red, green, blue"
        assert await ask(gateway, stream=first_streams, max_tokens=50) == ("miss", text)
        for streams in (True, False):
            assert await ask(gateway, stream=streams, max_tokens=50) == ("hit", text)
            found = await ask(gateway, "/v1/messages", stream=streams, max_tokens=50)
            assert found == ("hit", text)
        answer = await gateway.complete(message="Name three colours.", model="auto", max_tokens=50)
        assert answer.headers["x-cache"] == "hit"
        assert answer.text == text
        assert answer.closing["route"]["reason"] == "The same question was answered before."
        assert len(upstream.received) == 1


async def test_a_replayed_stream_has_its_finish_and_its_usage() -> None:
    async with ReplayServer(stream()) as upstream, running(given(upstream)) as gateway:
        raws = []
        for _ in range(2):
            body = {
                "model": "auto",
                "stream": True,
                "stream_options": {"include_usage": True},
                **QUESTION,
            }
            url = gateway.url + "/v1/chat/completions"
            async with gateway.session.post(url, json=body) as response:
                raws.append(await response.read())
            await settled(gateway)
        for raw in raws:
            assert raw.endswith(b"data: [DONE]\n\n")
            assert b'"finish_reason":"stop"' in raw
            assert b'"prompt_tokens":3' in raw
        assert len(upstream.received) == 1


async def test_a_hit_costs_nothing_and_its_worth_is_in_the_ledger() -> None:
    async with ReplayServer(whole()) as upstream, running(given(upstream)) as gateway:
        await ask(gateway)
        await ask(gateway, user=None)
        assert await gateway.services.ledger.flush()
        rows = await books.attempts(gateway.services.database)
        url = gateway.url + "/usage"
        async with gateway.session.get(url, headers=ADMIN) as response:
            total = (await response.json())["total"]
    assert [bool(row["cache_hit"]) for row in rows] == [False, True]
    assert [row["cost_nano"] for row in rows] == [70_000, 0]
    assert [row["saved_nano"] for row in rows] == [None, 70_000]
    assert rows[1]["provider"] == "hard"
    assert rows[1]["input_tokens"] == 3
    assert total["cache_hits"] == 1
    assert total["input_tokens"] == 3
    assert total["cost"] == "0.000070000"
    assert total["saved_by_cache"] == "0.000070000"


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [{"role": "user", "content": "Name three colours!"}]},
        {"max_tokens": 7},
        {"top_p": 0.5},
        {"seed": 1},
        {"stop": ["x"]},
        {"user": "somebody"},
        {"model": "hard/m"},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"reasoning_effort": "low"},
        {"logit_bias": {"1": 2}},
    ],
)
async def test_another_question_is_asked_anew(other: dict[str, Any]) -> None:
    async with ReplayServer(whole()) as upstream, running(given(upstream)) as gateway:
        await ask(gateway)
        found, _ = await ask(gateway, **other)
        assert found != "hit"
        assert len(upstream.received) == 2


async def test_another_format_is_another_question() -> None:
    play = Play(openai_body('{"a": 1}'), content_type="application/json")
    async with ReplayServer(play) as upstream, running(given(upstream)) as gateway:
        json_object: dict[str, Any] = {"response_format": {"type": "json_object"}}
        assert (await ask(gateway))[0] == "miss"
        assert (await ask(gateway, **json_object))[0] == "miss"
        assert await ask(gateway, **json_object) == ("hit", '{"a": 1}')


async def test_a_temperature_above_zero_is_kept_only_where_the_route_says_so() -> None:
    async with ReplayServer(whole()) as upstream:
        async with running(given(upstream)) as gateway:
            for _ in range(2):
                assert (await ask(gateway, temperature=0.7))[0] is None
            assert (await ask(gateway, temperature=0))[0] == "miss"
            assert (await ask(gateway, temperature=0))[0] == "hit"
        async with running(given(upstream, cache_any_temperature=True)) as gateway:
            assert (await ask(gateway, temperature=0.7))[0] == "miss"
            assert (await ask(gateway, temperature=0.7))[0] == "hit"


@pytest.mark.parametrize("shared", [False, True])
async def test_answers_stay_with_their_caller_unless_the_route_shares_them(
    redis: str, shared: bool
) -> None:
    async with ReplayServer(whole()) as upstream:
        config = given(upstream, redis, cache_shared=shared)
        async with running(config) as gateway:
            await ask(gateway)
            url = gateway.url + "/v1/chat/completions"
            body = {"model": "auto", **QUESTION}
            async with gateway.session.post(url, json=body, headers=ADMIN) as response:
                assert response.headers["x-cache"] == ("hit" if shared else "miss")


@pytest.mark.parametrize(
    "play",
    [
        Play(openai_stream("red", finish="length")),
        Play(openai_stream("red", finish="content_filter")),
        Play(openai_stream("red", finish=None)),
        Play(openai_stream("red, ", "green"), cut=300),
        Play(openai_stream("I cannot").replace(b'"content":"I cannot"', b'"refusal":"I cannot"')),
        Play(openai_stream()),
        openai_error(400, "no"),
    ],
)
async def test_what_is_no_whole_answer_is_not_kept(play: Play) -> None:
    async with ReplayServer(play) as upstream, running(given(upstream)) as gateway:
        url = gateway.url + "/v1/chat/completions"
        body = {"model": "auto", "stream": True, **QUESTION}
        for _ in range(2):
            async with gateway.session.post(url, json=body) as response:
                await response.read()
                assert response.headers.get("x-cache") != "hit"
            await settled(gateway)
        assert len(upstream.received) >= 2


async def test_an_answer_that_its_caller_left_is_not_kept() -> None:
    play = Play(openai_stream("red, ", "green"), chunk=150, delay_s=0.3)
    async with ReplayServer(play) as upstream, running(given(upstream)) as gateway:
        url = gateway.url + "/v1/chat/completions"
        body = {"model": "auto", "stream": True, **QUESTION}
        async with gateway.session.post(url, json=body) as response:
            await response.content.readany()
        await upstream.until_left()
        upstream.play(stream())
        assert await ask(gateway, stream=True) == ("miss", "red, green, blue")


async def test_routes_without_a_cache_keep_nothing_and_named_models_by_their_own_setting() -> None:
    async with ReplayServer(whole()) as upstream:
        async with running(given(upstream, cache_s=0)) as gateway:
            assert (await ask(gateway))[0] is None
            assert (await ask(gateway, model="hard/m"))[0] is None
        config = given(upstream, cache_s=0)
        config = config.model_copy(
            update={"cache": config.cache.model_copy(update={"named_s": 60})}
        )
        async with running(config) as gateway:
            assert (await ask(gateway))[0] is None
            assert (await ask(gateway, model="hard/m"))[0] == "miss"
            assert (await ask(gateway, model="hard/m"))[0] == "hit"


async def test_a_redis_that_is_gone_only_costs_the_hits(tmp_path: Path) -> None:
    with servers.redis(tmp_path / "redis") as url:
        upstream = await ReplayServer(whole()).start()
        config = given(upstream, url)
        config = config.model_copy(
            update={"store": config.store.model_copy(update={"database": ""})}
        )
        context = running(config)
        gateway = await context.__aenter__()
        assert (await ask(gateway))[0] == "miss"
        assert (await ask(gateway))[0] == "hit"
    assert (await ask(gateway))[0] == "miss"
    await context.__aexit__(None, None, None)
    await upstream.stop()


async def test_tool_calls_are_kept_with_their_arguments() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}
    frames = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    ]
    body = b"".join(
        b"data: " + orjson.dumps({"id": "x", "model": "m", **f}) + b"\n\n" for f in frames
    )
    async with (
        ReplayServer(Play(body + b"data: [DONE]\n\n")) as upstream,
        running(given(upstream)) as gateway,
    ):
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        url = gateway.url + "/v1/chat/completions"
        asked = {"model": "auto", "stream": True, "tools": tools, **QUESTION}
        async with gateway.session.post(url, json=asked) as response:
            await response.read()
        await settled(gateway)
        async with gateway.session.post(url, json={**asked, "stream": False}) as response:
            assert response.headers["x-cache"] == "hit"
            answer = await response.json()
    (found,) = answer["choices"][0]["message"]["tool_calls"]
    assert found["function"] == {"name": "f", "arguments": '{"a":1}'}


async def test_memory_is_bounded_in_bytes_and_in_time() -> None:
    now = 0.0
    shelf = MemoryShelf(10 * (100 + OVERHEAD), lambda: now)
    for number in range(50):
        await shelf.put(str(number), bytes(100), 10)
        await shelf.get("0")
    assert shelf.size == 10 * (100 + OVERHEAD)
    # What is asked for again stays.
    assert await shelf.get("0") is not None
    assert await shelf.get("5") is None
    assert await shelf.get("49") is not None
    now = 10.0
    assert await shelf.get("49") is None
    await shelf.put("large", bytes(100_000), 10)
    assert shelf.size == 0
