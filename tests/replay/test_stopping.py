"""The servers of the tests leave no socket open that came as they stopped."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.replay.gateway import running, settings
from tests.replay.server import ReplayServer

SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[Any]]] = {
    "the gateway": lambda: running(settings()),
    "an upstream": ReplayServer,
}


@pytest.mark.parametrize("server", SERVERS)
async def test_who_connects_as_a_server_stops_is_closed(server: str) -> None:
    """He is accepted in the very turn of the loop in which the server is told to stop."""
    bell, button = socket.socketpair()
    with bell, button:
        async with SERVERS[server]() as made:
            rung: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().add_reader(bell, rung.set_result, None)
            port = int(made.url.rpartition(":")[2])
            # The loop hears of both at once, of the bell first.
            button.send(b"!")
            caller = socket.create_connection(("127.0.0.1", port))
            await rung
            asyncio.get_running_loop().remove_reader(bell)
        with caller:
            caller.settimeout(5.0)
            assert caller.recv(1) == b""
    # What was left open is told as a warning, and a warning is a failure.
    gc.collect()
