"""Two gateways with one Redis show one feed, and have one another's answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.settings import Settings
from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream
from tests.sockets.talk import chatting, text_of
from tests.store.servers import redis

SLOW = Play(openai_stream(*[f"{n} " for n in range(40)]), chunk=200, delay_s=0.02)
STALLED = Play(openai_stream("some", "thing"), stall=330)
HELLO = Play(openai_stream("Hel", "lo", "!"))


async def snapshot(gateway: Running) -> dict[str, Any]:
    async with gateway.session.get(gateway.url + "/monitoring", headers=ADMIN) as response:
        return dict(await response.json())


def sharing(upstream: ReplayServer, url: str) -> Settings:
    return settings(providers={"easy": openai_provider(upstream.url)}, store={"redis": url})


@asynccontextmanager
async def two(
    folder: Path, play: Play
) -> AsyncGenerator[tuple[Running, Running, ReplayServer], None]:
    """Two gateways that know of each other, and their upstream."""
    with redis(folder) as url:
        async with ReplayServer(play) as upstream:
            given = sharing(upstream, url)
            async with running(given) as one, running(given) as other:
                async with asyncio.timeout(10):
                    while (await snapshot(other))["workers"] != 2:
                        await asyncio.sleep(0.1)
                yield one, other, upstream


async def test_what_one_process_answered_is_seen_at_the_other(tmp_path: Path) -> None:
    async with two(tmp_path, HELLO) as (one, other, _):
        async with asyncio.timeout(10):
            await one.complete(message="Hi", model="easy/m")
            while not (await snapshot(other))["totals"]["requests"]:
                await asyncio.sleep(0.1)
        here, there = await snapshot(one), await snapshot(other)
        assert there["requests"] == here["requests"]
        assert there["totals"]["requests"] == 1


async def test_an_answer_is_taken_up_again_at_another_process(tmp_path: Path) -> None:
    async with two(tmp_path, SLOW) as (one, other, upstream):
        async with chatting(one) as client:
            answer = await client.start(model="easy/m", message="Hi")
            before = await client.until("delta")
        async with chatting(other) as client:
            await client.say(type="resume", id=answer, offset=before[-1]["next"])
            after = await client.until_ended(answer)
            await client.say(type="resume", id=answer, offset=0)
            again = await client.until_ended(answer)
            await client.say(type="resume", id="nobody-has-this-one", offset=0)
            assert (await client.hear())["code"] == "unknown_id"
        whole = "".join(f"{n} " for n in range(40))
        assert text_of(before + after, answer) == whole
        assert text_of(again, answer) == whole
        assert after[-1]["type"] == "done"
        assert len(upstream.received) == 1


async def test_an_answer_is_stopped_from_another_process(tmp_path: Path) -> None:
    async with two(tmp_path, STALLED) as (one, other, upstream):
        async with chatting(one) as client:
            answer = await client.start(model="easy/m", message="Hi")
            await client.until("delta")
        async with chatting(other) as client:
            await client.say(type="resume", id=answer, offset=0)
            assert text_of(await client.until("delta"), answer) == "some"
            await client.say(type="stop", id=answer)
            assert (await client.until_ended(answer))[-1]["stopped"] is True
        await upstream.until_left()


async def test_without_its_redis_a_process_still_shows_its_own(tmp_path: Path) -> None:
    async with ReplayServer(HELLO) as upstream:
        with redis(tmp_path) as url:
            gone = running(sharing(upstream, url))
            gateway = await gone.__aenter__()
        try:
            await gateway.complete(message="Hi", model="easy/m")
            async with asyncio.timeout(10):
                while not (await snapshot(gateway))["requests"]:
                    await asyncio.sleep(0.1)
        finally:
            await gone.__aexit__(None, None, None)
