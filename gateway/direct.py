"""The short way from a connection to the handler of a chat, and back.

aiohttp resolves each request anew, wakes a task for the connection and makes another one for the
handler. Where a path has one handler and the question is whole when it is read, none of that can
come out otherwise, and it was an eighth of a request's Python calls (docs/adr/0013). All else goes
aiohttp's own way, whose books are kept here as it keeps them: one answer at a time on a
connection, the caller who leaves, the shutdown, keep-alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter, _serialize_headers
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from multidict import CIMultiDict

OK = "HTTP/1.1 200 OK"
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Doors = Mapping[str, tuple[Handle, UrlMappingMatchInfo]]
"""Path -> who answers a POST to it, middlewares around him, and what `request.match_info` is."""


def doors_of(app: web.Application, paths: Collection[str]) -> Doors:
    """Of a frozen application without subapplications. `paths` have no pattern in them."""
    doors: dict[str, tuple[Handle, UrlMappingMatchInfo]] = {}
    for route in app.router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        if route.method != hdrs.METH_POST or path not in paths:
            continue
        handler = route.handler
        for middleware in reversed(app.middlewares):
            handler = partial(middleware, handler=handler)
        # Nothing is written to it, so it is the same for all.
        match = UrlMappingMatchInfo({}, route)
        match.add_app(app)
        match.freeze()
        doors[path] = (cast(Handle, handler), match)
    return doors


class Short(web.StreamResponse):
    """A whole answer, 200, that goes out in one write and needs none of what a response may
    have: aiohttp's own way is three times as many calls. `headers` are the response's from now on;
    `body` is small enough to be kept until the caller takes it."""

    def __init__(self, body: bytes, headers: CIMultiDict[str]) -> None:
        super().__init__(_real_headers=headers)
        self._rest = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._eof_sent or self._payload_writer is not None:
            return self._payload_writer
        body, headers = self._rest, self._headers
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        message = request._message
        if message.should_close or message.version != HttpVersion11:
            return await super().prepare(request)
        headers[hdrs.DATE] = rfc822_formatted_time()
        headers[hdrs.SERVER] = SERVER_SOFTWARE
        protocol = request.protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The caller left.")
        transport.write(_serialize_headers(OK, headers) + body)
        self._keep_alive = self._eof_sent = True
        self._body_length = len(body)
        if protocol._paused:
            await protocol._drain_helper()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._eof_sent:
            await super().write_eof(self._rest)


class Direct(RequestHandler):
    """A connection whose whole questions at `doors` take the short way.

    Meanwhile the connection's own task, `start`, goes on waiting for its next message, and is not
    woken for one that comes early.
    """

    __slots__ = ("_doors", "_resting")

    def __init__(self, manager: Server, doors: Doors, **given: Any) -> None:
        super().__init__(manager, **given)
        self._doors = doors
        self._resting: asyncio.Task[None] | None = None
        """`start`, while another task answers in its place."""

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if self._resting is None and (
            self._messages
            # Between two questions `start` waits; before the first it may not run yet.
            or (waiter is None and self._request_count)
        ):
            super().data_received(data)
            return
        # `start` is woken only for what is left to it.
        self._waiter = None
        super().data_received(data)
        self._waiter = waiter
        if self._resting is not None or not self._messages:
            return
        message, payload = self._messages[0]
        if (
            len(self._messages) == 1
            and isinstance(message, RawRequestMessage)
            and self.taken(message, payload)
        ):
            return
        self._wake()

    def taken(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        """Whether the one message that waits is answered here."""
        door = self._doors.get(message.path)
        if (
            door is None
            or message.method != hdrs.METH_POST
            or self._waiter is None
            or message.upgrade
            or not payload.is_eof()
            or hdrs.EXPECT in message.headers
        ):
            return False
        self._messages.clear()
        assert self._parser is not None
        self._parser.message_consumed()
        self._resting = self._task_handler
        # What aiohttp cancels when the caller leaves, and waits for when it stops.
        self._task_handler = self._loop.create_task(self._answered(door, message, payload))
        return True

    async def _answered(
        self,
        door: tuple[Handle, UrlMappingMatchInfo],
        message: RawRequestMessage,
        payload: StreamReader,
    ) -> None:
        """What `start` does with one message."""
        manager, task, loop = self._manager, self._task_handler, self._loop
        if manager is None or task is None or self._request_factory is None:
            return
        manager.requests_count += 1
        writer = StreamWriter(self, loop)
        request = self._request_factory(message, payload, self, writer, task)
        assert isinstance(request, web.Request)
        if not self._reading_paused and payload is not EMPTY_PAYLOAD:
            # All of it is here; by the stream's own way it is eight calls to it.
            buffer = payload._buffer
            request._read_bytes = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        handle, request._match_info = door
        lost = True
        try:
            response, lost = await self._handle_request(request, None, handle)
            self._keepalive = bool(response.keep_alive)
        except asyncio.CancelledError:
            self.force_close()
            raise
        except ConnectionError:
            pass
        except Exception as fault:
            self.log_exception("Unhandled exception", exc_info=fault)
            self.force_close()
        finally:
            # As aiohttp does: a cycle that would keep it all in memory.
            request._task = None  # type: ignore[assignment]
            if self._task_handler is task:
                self._task_handler = self._resting
            self._resting = None
        if lost or self._close or not self._keepalive:
            if not self._force_close:
                self.force_close()
            return
        self._next_keepalive_close_time = close_time = loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = loop.call_at(close_time, self._process_keepalive)
        if self._messages:
            self._wake()

    def _process_keepalive(self) -> None:
        if self._resting is None:
            super()._process_keepalive()
        else:
            # It waits for nobody's question now.
            self._keepalive_handle = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
