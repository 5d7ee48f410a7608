"""A caller who leaves frees his upstream at once, on the production runner."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

LONG = openai_stream(*(f"word{n} " for n in range(1000)))
FREED_S = 0.2

PHASES = {
    "waiting for the headers": (Play(LONG, before_s=30), True),
    "waiting for the first token": (Play(LONG, stall=0), True),
    "streaming": (Play(LONG, chunk=200, delay_s=0.01), True),
    "stalled in mid-stream": (Play(LONG, stall=2000), True),
    "one-shot": (
        Play(openai_body("late"), content_type="application/json", before_s=30),
        False,
    ),
}


async def _asked_and_left(gateway: Running, body: dict[str, object], wait_s: float) -> float:
    """Asks over a socket of its own, leaves after `wait_s`; monotonic seconds of leaving."""
    raw = orjson.dumps(body)
    port = int(gateway.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(raw), raw)
    )
    await writer.drain()
    await asyncio.sleep(wait_s)
    left = time.monotonic()
    writer.close()
    return left


@pytest.mark.parametrize("phase", PHASES)
async def test_a_hang_up_frees_the_upstream(phase: str) -> None:
    play, stream = PHASES[phase]
    async with (
        ReplayServer(play) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        body = {"message": "Hi", "model": "lab/m", "stream": stream}
        asking = asyncio.create_task(_asked_and_left(gateway, body, 0.3))
        await upstream.until_received()
        left = await asking
        await upstream.until_left()
        freed = upstream.received[0].left_at
        assert freed is not None
        assert freed - left < FREED_S
        assert upstream.open == 0
        labels = {"provider": "lab", "model": "other", "route": "named", "outcome": "cancelled"}
        assert gateway.counted("pointsman_requests_total", **labels) == 1
        assert gateway.counted("pointsman_in_flight") == 0


async def test_a_hang_up_while_the_classifier_is_asked_frees_it_and_asks_nobody() -> None:
    slow = Play(b"{}", content_type="application/json", before_s=30)
    async with (
        ReplayServer(slow) as classifier,
        ReplayServer(Play(LONG)) as upstream,
        running(
            settings(
                providers={"hard": openai_provider(upstream.url)},
                classifier={"url": classifier.url, "timeout_ms": 10_000},
            )
        ) as gateway,
    ):
        left = await _asked_and_left(gateway, {"message": "Hi"}, 0.3)
        await classifier.until_left()
        freed = classifier.received[0].left_at
        assert freed is not None
        assert freed - left < FREED_S
        assert not upstream.received
        labels = {"provider": "", "model": "", "route": "auto", "outcome": "cancelled"}
        assert gateway.counted("pointsman_requests_total", **labels) == 1


async def test_a_hang_up_during_keep_alives_frees_the_upstream() -> None:
    async with (
        ReplayServer(Play(LONG, stall=0)) as upstream,
        running(
            settings(
                providers={"lab": openai_provider(upstream.url)}, attempts={"commit_after_s": 0.1}
            )
        ) as gateway,
    ):
        left = await _asked_and_left(gateway, {"message": "Hi", "model": "lab/m"}, 0.4)
        await upstream.until_left()
        freed = upstream.received[0].left_at
        assert freed is not None
        assert freed - left < FREED_S
        labels = {"provider": "lab", "model": "other", "route": "named", "outcome": "cancelled"}
        assert gateway.counted("pointsman_requests_total", **labels) == 1


async def test_a_hang_up_is_settled_with_the_usage_seen_so_far() -> None:
    with_usage = LONG.replace(
        b'"finish_reason":null}]}', b'"finish_reason":null}],"usage":{"prompt_tokens":7}}'
    )
    async with (
        ReplayServer(Play(with_usage, chunk=400, delay_s=0.01)) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        await _asked_and_left(gateway, {"message": "Hi", "model": "lab/m"}, 0.3)
        await upstream.until_left()
        await asyncio.sleep(0.05)
        labels = {"provider": "lab", "model": "other", "route": "named", "direction": "input"}
        assert gateway.counted("pointsman_tokens_total", **labels) == 7


async def test_many_callers_leaving_at_once_leave_nothing_behind() -> None:
    async with (
        ReplayServer(Play(LONG, chunk=200, delay_s=0.01)) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        body: dict[str, object] = {"message": "Hi", "model": "lab/m"}
        await asyncio.gather(*(_asked_and_left(gateway, body, 0.5) for _ in range(100)))
        await upstream.until_left(100)
        await asyncio.sleep(0.1)
        assert upstream.open == 0
        assert gateway.counted("pointsman_in_flight") == 0
        assert len(gateway.runner.server.connections) == 0  # type: ignore[union-attr]
