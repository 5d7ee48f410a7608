"""A caller who stops reading holds neither memory nor an upstream."""

from __future__ import annotations

import asyncio
import socket

import orjson

from providers.connection import BUFFERED
from tests.faults.language import JSON, SSE, OpenAi
from tests.faults.upstream import Endless, RawUpstream, answer, chunk, opening, upstream
from tests.replay.gateway import Running, openai_provider, running, settings

WORDS = OpenAi().text("x" * 10_000)
SENT_AT_MOST = 16 * 2**20
"""Kernel buffers of two sockets, and what the gateway itself holds."""


async def asked_and_not_read(gateway: Running, stream: bool = True) -> socket.socket:
    loop = asyncio.get_running_loop()
    raw = orjson.dumps({"message": "Hi", "model": "lab/m", "stream": stream})
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.setblocking(False)
    await loop.sock_connect(caller, ("127.0.0.1", int(gateway.url.rpartition(":")[2])))
    await loop.sock_sendall(
        caller,
        b"POST /complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(raw), raw),
    )
    return caller


async def until_free(up: RawUpstream, limit_s: float = 5) -> None:
    async with asyncio.timeout(limit_s):
        while not up.asked or up.busy:
            await asyncio.sleep(0.01)


async def test_a_caller_who_never_reads_is_closed_and_settled_as_cancelled() -> None:
    async with (
        upstream([opening(SSE), Endless(chunk(WORDS))], []) as up,
        running(
            settings(
                providers={"lab": openai_provider(up.url)},
                # Silence of the caller is not the upstream's: its own limit must not fire.
                attempts={"write_s": 0.5, "idle_s": 0.3, "commit_after_s": 0.4},
            )
        ) as gateway,
    ):
        caller = await asked_and_not_read(gateway)
        try:
            await until_free(up)
            labels = {"provider": "lab", "model": "other", "route": "named"}
            ended = gateway.counted("pointsman_requests_total", **labels, outcome="cancelled")
            assert ended == 1
            assert gateway.counted("pointsman_in_flight") == 0
            async with asyncio.timeout(2):
                # Aborted: what waited to be sent went with the connection.
                while gateway.runner.server.connections:  # type: ignore[union-attr]
                    await asyncio.sleep(0.01)
        finally:
            caller.close()


async def test_a_caller_who_does_not_read_holds_a_bounded_buffer() -> None:
    async with (
        upstream([opening(SSE), Endless(chunk(WORDS))], []) as up,
        running(settings(providers={"lab": openai_provider(up.url)})) as gateway,
    ):
        caller = await asked_and_not_read(gateway)
        try:
            seen = -1
            async with asyncio.timeout(10):
                while up.sent != seen or not seen:
                    seen = up.sent
                    await asyncio.sleep(0.3)
            assert seen < SENT_AT_MOST
            held = sum(connection.buffered for connection in gateway.services.client._open)
            assert held <= 2 * BUFFERED
        finally:
            caller.close()
        await until_free(up)


async def test_a_whole_answer_that_nobody_takes_is_dropped_after_the_write_deadline() -> None:
    body = OpenAi().body("x" * 2**24)
    async with (
        upstream([], [answer(body, JSON)]) as up,
        running(
            settings(providers={"lab": openai_provider(up.url)}, attempts={"write_s": 0.5})
        ) as gateway,
    ):
        caller = await asked_and_not_read(gateway, stream=False)
        try:
            async with asyncio.timeout(10):
                while not up.asked or gateway.runner.server.connections:  # type: ignore[union-attr]
                    await asyncio.sleep(0.01)
        finally:
            caller.close()
        whole = await gateway.complete(message="Hi", model="lab/m", stream=False)
        assert len(whole.json["message"]) == 2**24
        assert whole.headers["Content-Length"] == str(len(whole.raw))
