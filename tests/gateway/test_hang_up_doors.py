"""A caller who leaves, at every door and in every phase, of the gateway as it is run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from tests.accounts.processes import Gateway, gateway
from tests.doors.clients import path, question
from tests.faults.seen import scraped, summed, toml
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

LONG = openai_stream(*(f"word{n} " for n in range(2000)))
FREED_S = 0.2
DOORS = ("complete", "openai", "anthropic", "gemini", "ollama", "responses")
PHASES = {
    "waiting for the headers": (Play(LONG, before_s=30), True),
    "waiting for the first token": (Play(LONG, stall=0), True),
    "streaming": (Play(LONG, chunk=200, delay_s=0.01), True),
    "one-shot": (Play(openai_body("late"), content_type="application/json", before_s=30), False),
}


async def asking(
    one: Gateway, door: str, model: str, *, stream: bool = True
) -> asyncio.StreamWriter:
    if door == "complete":
        where, body = "/complete", {"message": "Hi", "model": model, "stream": stream}
    else:
        where = path(door, stream=stream, model=model)
        body = question(door, "Hi", stream=stream, model=model)
    raw = orjson.dumps(body)
    _, writer = await asyncio.open_connection("127.0.0.1", int(one.url.rpartition(":")[2]))
    writer.write(
        f"POST {where} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(raw)}\r\n\r\n".encode()
        + raw
    )
    return writer


async def cancelled(one: Gateway) -> float:
    return summed(await scraped(one.url), "pointsman_requests_total", outcome="cancelled")


async def settled(one: Gateway, count: int) -> None:
    async with asyncio.timeout(5):
        while await cancelled(one) < count:
            await asyncio.sleep(0.05)
    text = await scraped(one.url)
    assert summed(text, "pointsman_requests_total") == count
    assert summed(text, "pointsman_in_flight") == 0


@pytest.mark.parametrize("phase", PHASES)
async def test_a_hang_up_frees_the_upstream_at_every_door(tmp_path: Path, phase: str) -> None:
    play, stream = PHASES[phase]
    async with (
        ReplayServer(play) as upstream,
        gateway(tmp_path, toml(upstream.url)) as one,
    ):
        for number, door in enumerate(DOORS, 1):
            writer = await asking(one, door, "lab/m", stream=stream)
            await upstream.until_received(number)
            await asyncio.sleep(0.15)
            left = time.monotonic()
            writer.transport.abort()
            await upstream.until_left(number)
            freed = upstream.received[-1].left_at
            assert freed is not None
            assert freed - left < FREED_S, door
            assert upstream.open == 0
        await settled(one, len(DOORS))


async def test_who_leaves_while_he_waits_in_line_asks_nobody_and_makes_room(tmp_path: Path) -> None:
    desk = '[routes.desk]\nlocal = ["lab/m"]\nqueue = true\nmax_in_flight = 1\n'
    good = Play(openai_stream("good"))
    async with (
        ReplayServer(Play(LONG, stall=0), good) as upstream,
        gateway(tmp_path, toml(upstream.url, more=desk)) as one,
    ):
        first = await asking(one, "complete", "desk")
        await upstream.until_received()
        for number, door in enumerate(DOORS, 1):
            writer = await asking(one, door, "desk")
            await asyncio.sleep(0.2)
            assert len(upstream.received) == 1
            writer.transport.abort()
            # Settled while the one before him goes on.
            async with asyncio.timeout(2):
                while await cancelled(one) < number:
                    await asyncio.sleep(0.02)
        last = await asking(one, "complete", "desk")
        await asyncio.sleep(0.2)
        left = time.monotonic()
        first.transport.abort()
        await upstream.until_left()
        freed = upstream.received[0].left_at
        assert freed is not None
        assert freed - left < FREED_S
        # Nobody who left stands before the last one.
        await upstream.until_received(2)
        assert time.monotonic() - left < 2
        last.transport.abort()
        assert len(upstream.received) == 2
