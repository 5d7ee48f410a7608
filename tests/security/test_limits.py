"""Bodies, heads and crowds that are too large: a clear word, bounded memory, nobody else harmed."""

from __future__ import annotations

import asyncio
import gzip
import resource
import time
from typing import Any

import pytest

from gateway.engine.pressure import LOOK_S
from tests.doors.upstreams import HELLO, play, provider
from tests.replay.gateway import Running, running, settings
from tests.replay.server import ReplayServer


def given(url: str, **tree: Any) -> Any:
    return settings(providers={"easy": provider("openai", url)}, **tree)


async def post(gateway: Running, body: bytes, **headers: str) -> tuple[int, str]:
    async with gateway.session.post(
        gateway.url + "/complete",
        data=body,
        headers={"Content-Type": "application/json", **headers},
    ) as response:
        return response.status, await response.text()


async def test_a_body_that_is_too_large_unpacked_is_refused_early() -> None:
    """A gibibyte of zeros in one mebibyte of gzip."""
    bomb = gzip.compress(bytes(2**30), 9)
    assert len(bomb) < 2**21
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with (
        ReplayServer() as upstream,
        running(given(upstream.url, server={"body_limit": 2**20})) as gateway,
    ):
        status, told = await post(gateway, bomb, **{"Content-Encoding": "gzip"})
    assert status == 413, told
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000, f"{grown} KiB"


@pytest.mark.parametrize("depth", [1100, 200_000])
async def test_a_body_that_is_nested_too_deep_is_refused(depth: int) -> None:
    async with ReplayServer() as upstream, running(given(upstream.url)) as gateway:
        body = b'{"message": "Hi", "x": ' + b"[" * depth + b"]" * depth + b"}"
        status, told = await post(gateway, body)
        assert status == 400
        assert "JSON" in told


async def test_too_many_messages_are_refused_by_name() -> None:
    async with (
        ReplayServer() as upstream,
        running(given(upstream.url, server={"max_messages": 3})) as gateway,
    ):
        turns = [{"role": "user", "content": "Hi"}] * 4
        body = {"model": "easy/m", "messages": turns}
        async with gateway.session.post(
            gateway.url + "/v1/chat/completions", json=body
        ) as response:
            assert response.status == 413
            assert (await response.json())["error"]["param"] == "messages"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    ],
    ids=["field", "path", "fields"],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with ReplayServer() as upstream, running(given(upstream.url)) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        line = await asyncio.wait_for(reader.readline(), 5)
        assert line.split()[1] in (b"400", b"413", b"414", b"431")
        writer.close()


async def test_more_than_may_run_at_once_are_told_to_come_back() -> None:
    slow = [play("openai", HELLO, True, before_s=5) for _ in range(3)]
    async with (
        ReplayServer(*slow) as upstream,
        running(given(upstream.url, server={"max_in_flight": 2})) as gateway,
    ):
        body = {"message": "Hi", "model": "easy/m"}
        waiting = [asyncio.create_task(gateway.complete(**body)) for _ in range(2)]
        await upstream.until_received(2)
        answer = await gateway.complete(**body)
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert gateway.counted("pointsman_shed") == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_late_loop_turns_requests_away_until_it_is_on_time() -> None:
    plays = [play("openai", HELLO, False) for _ in range(3)]
    async with (
        ReplayServer(*plays) as upstream,
        running(given(upstream.url, server={"max_lag_ms": 200})) as gateway,
    ):
        body = {"message": "Hi", "model": "easy/m", "stream": False}
        # Nobody looks while nobody asks.
        assert (await gateway.complete(**body)).status == 200
        await asyncio.sleep(LOOK_S / 2)
        # The loop stands still, as under more work than it can do, and again when it has looked.
        time.sleep(0.6)  # noqa: ASYNC251 -- that is the point
        await asyncio.sleep(LOOK_S / 2)
        time.sleep(0.6)  # noqa: ASYNC251
        asking = asyncio.create_task(gateway.complete(**body))
        answer = await asking
        assert answer.status == 503
        assert "overloaded" in answer.raw.decode()
        await asyncio.sleep(3 * LOOK_S)
        assert (await gateway.complete(**body)).status == 200


async def test_a_thousand_idle_connections_harm_nobody() -> None:
    """And half a head each: a caller who never ends his request holds a socket, no more."""
    async with (
        ReplayServer(play("openai", HELLO, False)) as upstream,
        running(given(upstream.url)) as gateway,
    ):
        port = int(gateway.url.rpartition(":")[2])
        idle = []
        for number in range(1000):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            if number % 2:
                writer.write(b"POST /complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n")
            idle.append(writer)
        answer = await gateway.complete(message="Hi", model="easy/m", stream=False)
        assert answer.status == 200
        for one in idle:
            one.close()
