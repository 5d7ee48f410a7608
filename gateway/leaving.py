"""How a server that stops takes leave of connections that are kept.

aiohttp closes those at rest at once, and the others behind the answer that runs. Whoever asks again
on one at that moment has sent his question to nobody: he sees a connection that broke, and most
clients do not send a POST twice. It is rare on one connection and sure on a thousand. So nothing is
closed that was in use a moment ago: its next answer says that it is the last one (RFC 9112, 9.6),
and closed is what was not asked for a moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

MOMENT_S = 0.25
"""A caller who asks again right behind an answer does so within it, on the way around the world."""
LOOK_S = 0.02
"""Between two looks at who is at rest."""
LAST_S = 0.5
"""Of the time to stop, what aiohttp has to end those who did not end by themselves."""


class Leaving(RequestHandler):
    """A connection that can be told to go."""

    __slots__ = ("_leaves_since",)

    def __init__(self, manager: Server, **given: Any) -> None:
        super().__init__(manager, **given)
        self._leaves_since: float | None = None

    def leave(self) -> None:
        """The next answer is the last one."""
        if self._leaves_since is None:
            self._leaves_since = self._loop.time()

    @property
    def at_rest(self) -> bool:
        """It waits for a question."""
        return self._waiter is not None and not self._messages

    def was_asked_lately(self) -> bool:
        """Or came, or is answered now."""
        if not self.at_rest:
            return True
        now = self._loop.time()
        if not self._request_count:
            return self._leaves_since is None or now < self._leaves_since + MOMENT_S
        return now < self._next_keepalive_close_time - self._keepalive_timeout + MOMENT_S

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._leaves_since is not None and self._messages:
            # Answered as to one who asked for it.
            self._messages = deque(
                (
                    message._replace(should_close=True)
                    if isinstance(message, RawRequestMessage)
                    else message,
                    payload,
                )
                for message, payload in self._messages
            )


class LeavingServer(Server):
    """A server of such connections."""

    def pre_shutdown(self) -> None:
        for one in self.connections:
            assert isinstance(one, Leaving)
            one.leave()
        self._close_resting()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """`timeout`: half of the seconds there are, as aiohttp takes it twice."""
        loop = asyncio.get_running_loop()
        whole = 2 * (timeout or 0.0)
        began = loop.time()
        end = began + whole - min(LAST_S, whole / 4)
        # An event of each end would cost every answer; this costs a stopping gateway.
        while self._close_resting() and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        await super().shutdown(max(0.0, began + whole - loop.time()) / 2)

    def _close_resting(self) -> int:
        """How many connections are left."""
        for one in self.connections:
            assert isinstance(one, Leaving)
            if not one.was_asked_lately():
                # What was written to it goes out before.
                one.force_close()
        return len(self._connections)
