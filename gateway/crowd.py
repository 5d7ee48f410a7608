"""Connections that wait are taken in together.

libuv takes in one connection in each turn of the loop. While there is much to do a turn is long,
and so who comes anew would wait for seconds, and then be dropped by the kernel with its queue
full, though all others are answered at once. Behind each connection that the loop takes in, this
takes in whoever waits, too.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable

MOST = 128
"""In one turn: those who are here already have theirs, too."""


class Crowd:
    """`listening` are descriptors of sockets that a server listens on, which stay its own;
    `protocol` makes what speaks with one connection."""

    def __init__(self, listening: Iterable[int], protocol: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = [socket.socket(fileno=os.dup(number)) for number in listening]
        for one in self._sockets:
            one.setblocking(False)
        self._protocol = protocol
        self._coming: set[asyncio.Task[object]] = set()
        self._looks = False

    def came(self) -> None:
        """The loop took in one."""
        if not self._looks:
            self._looks = True
            self._loop.call_soon(self._look)

    def close(self) -> None:
        """Before the server stops: a copy of its socket would go on listening."""
        for one in self._sockets:
            one.close()
        self._sockets.clear()

    def _look(self) -> None:
        self._looks = False
        for listening in self._sockets:
            for _ in range(MOST):
                try:
                    connection, _ = listening.accept()
                except OSError:
                    # Nobody waits, he left already, or no more files may be open.
                    break
                connection.setblocking(False)
                task = self._loop.create_task(self._taken_in(connection))
                self._coming.add(task)
                task.add_done_callback(self._coming.discard)
            else:
                self.came()

    async def _taken_in(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:
            connection.close()
