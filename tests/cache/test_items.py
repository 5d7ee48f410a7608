"""Items of answers, found again by their ids: in one process, in all workers, over a Redis."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.shared_shelf import NAME, SharedShelf
from gateway.settings import Settings
from tests.deploy.kept import keeper
from tests.replay.gateway import ADMIN, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream
from tests.store import servers

SIZE = 8 * (NAME + 100)


@pytest.fixture
def redis(tmp_path: Path) -> Generator[str]:
    with servers.redis(tmp_path / "redis") as url:
        yield url


def of(upstream: ReplayServer, redis: str = "") -> Settings:
    return settings(store={"redis": redis}, providers={"lab": openai_provider(upstream.url)})


async def ask(url: str, items: list[Any], key: str = "", **more: Any) -> tuple[int, dict[str, Any]]:
    """Over a connection of its own, as another client would."""
    body = {"model": "lab/m", "input": [{"role": "user", "content": "Hi"}, *items], **more}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/v1/responses", json=body, headers=headers) as response,
    ):
        raw = await response.read()
        if not body.get("stream"):
            return response.status, orjson.loads(raw)
        last = orjson.loads(raw.rstrip().rpartition(b"\ndata: ")[2])
        return response.status, last["response"]


def again(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "item_reference", "id": item["id"]} for item in answer["output"]]


async def test_an_id_of_an_earlier_item_stands_for_it() -> None:
    whole = Play(openai_body("Red"), content_type="application/json")
    async with (
        ReplayServer(Play(openai_stream("Red")), whole) as upstream,
        running(of(upstream)) as gateway,
    ):
        for stream in (True, False):
            status, first = await ask(gateway.url, [], stream=stream)
            assert status == 200
            upstream.received.clear()
            status, _ = await ask(gateway.url, again(first))
            assert status == 200
            sent = upstream.received[0].body["messages"]
            assert [turn["role"] for turn in sent] == ["user", "assistant"]
            assert sent[1]["content"] == "Red"


async def test_what_is_not_to_be_stored_is_not_found_again() -> None:
    whole = Play(openai_body("Red"), content_type="application/json")
    async with ReplayServer(whole) as upstream, running(of(upstream)) as gateway:
        _, first = await ask(gateway.url, [], store=False)
        status, told = await ask(gateway.url, again(first))
        assert (status, told["error"]["param"]) == (400, "input[1].id")


async def test_every_worker_finds_what_another_kept(tmp_path: Path) -> None:
    whole = Play(openai_body("Red"), content_type="application/json")
    async with (
        ReplayServer(whole) as upstream,
        keeper(tmp_path, upstream.url, workers=3) as (_, url),
    ):
        _, first = await ask(url, [])
        answers = [await ask(url, again(first)) for _ in range(12)]
        assert [status for status, _ in answers] == [200] * 12


async def test_another_gateway_finds_it_over_a_redis(redis: str) -> None:
    whole = Play(openai_body("Red"), content_type="application/json")
    async with (
        ReplayServer(whole) as upstream,
        running(of(upstream, redis)) as one,
        running(of(upstream, redis)) as two,
    ):
        _, first = await ask(one.url, [])
        assert (await ask(two.url, again(first)))[0] == 200


async def test_nobody_finds_what_another_caller_was_told() -> None:
    whole = Play(openai_body("Red"), content_type="application/json")
    async with ReplayServer(whole) as upstream, running(of(upstream)) as gateway:
        keys = []
        for name in ("one", "two"):
            async with gateway.session.post(
                gateway.url + "/codes", json={"name": name}, headers=ADMIN
            ) as response:
                keys.append((await response.json())["code"])
        _, first = await ask(gateway.url, [], keys[0])
        assert (await ask(gateway.url, again(first), keys[1]))[0] == 400
        assert (await ask(gateway.url, again(first), keys[0]))[0] == 200


def test_a_fork_finds_what_another_put() -> None:
    shelf = SharedShelf(SIZE)
    child = os.fork()
    if not child:
        asyncio.run(shelf.put("key", b"of the fork", 60))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert asyncio.run(shelf.get("key")) == b"of the fork"


async def test_the_oldest_make_room_and_what_is_too_long_is_not_kept() -> None:
    now = 0.0
    shelf = SharedShelf(SIZE, lambda: now)
    for number in range(20):
        await shelf.put(str(number), bytes(100), 10)
    kept = [number for number in range(20) if await shelf.get(str(number)) is not None]
    assert kept == list(range(12, 20))
    await shelf.put("long", bytes(101), 10)
    assert await shelf.get("long") is None
    assert await shelf.get("19") is not None
    now = 10.0
    assert await shelf.get("19") is None


@given(st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=120), st.booleans()), max_size=80))
async def test_a_key_has_its_last_value_or_none(steps: list[tuple[int, bytes, bool]]) -> None:
    shelf = SharedShelf(SIZE)
    last: dict[str, bytes] = {}
    for number, value, looks in steps:
        key = str(number)
        if looks:
            found = await shelf.get(key)
            assert found is None or found == last[key]
        elif len(value) <= 100:
            await shelf.put(key, value, 60)
            last[key] = value
            assert await shelf.get(key) == value
