"""Connections that wait are taken in together, on the loop that the gateway runs on."""

from __future__ import annotations

import asyncio
import socket

import uvloop

from gateway.app import build_app, build_runner
from gateway.turnstile import TurnstileServer
from tests.replay.gateway import settings

MANY = 300


async def turns_until_all_are_in() -> int:
    """How often the loop goes round until it has everybody."""
    given = settings()
    runner = build_runner(build_app(given, {}), given)
    await runner.setup()
    try:
        await runner.listen("127.0.0.1", 0)
        port = runner.addresses[0][1]
        # The kernel takes them; the loop does not run meanwhile.
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(MANY)]
        assert isinstance(runner.server, TurnstileServer)
        turns = 0
        while len(runner.server.connections) < MANY:
            turns += 1
            await asyncio.sleep(0)
        for one in waiting:
            one.close()
        return turns
    finally:
        await runner.cleanup()


def test_a_crowd_is_taken_in_at_once() -> None:
    assert uvloop.run(turns_until_all_are_in()) < MANY / 10


async def nobody_listens_after_the_end() -> bool:
    given = settings()
    runner = build_runner(build_app(given, {}), given)
    await runner.setup()
    await runner.listen("127.0.0.1", 0)
    port = runner.addresses[0][1]
    await runner.cleanup()
    with socket.socket() as late:
        return late.connect_ex(("127.0.0.1", port)) != 0


def test_a_server_that_ended_leaves_no_socket_listening() -> None:
    assert uvloop.run(nobody_listens_after_the_end())
