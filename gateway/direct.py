"""The short way from a connection to the handler of a chat, and back.

aiohttp resolves each request anew, wakes a task for the connection and makes another one for the
handler. Where a path has one handler and the question is whole when it is read, none of that can
come out otherwise, and it was an eighth of a request's Python calls (docs/adr/0013). All else goes
aiohttp's own way, whose books are kept here as it keeps them: one answer at a time on a
connection, the caller who leaves, the shutdown, keep-alive.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import cached_property, partial
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_server import Server
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.heads import Head, head_in
from gateway.leaving import Leaving
from gateway.no_http import BrokenBody, why

HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
    f"Server: {SERVER_SOFTWARE}\r\n"
)
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Door = tuple[Handle, UrlMappingMatchInfo]
"""Who answers, middlewares around him, and what `request.match_info` is."""
Doors = Mapping[str, Door]
"""By the path of a POST."""
Make = Callable[[asyncio.Task[None]], "Whole"]
"""The request, of the task that answers it."""
UNSURE = -1


def doors_of(app: web.Application, paths: Collection[str]) -> Doors:
    """Of a frozen application without subapplications. `paths` have no pattern in them."""
    doors: dict[str, Door] = {}
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


class Whole(web.Request):
    """A question that was whole when it was read, and goes the short way."""

    @cached_property
    def _payload_writer(self) -> AbstractStreamWriter:  # type: ignore[override]
        # Of a head that came again: `Short` needs none.
        return StreamWriter(self._protocol, self._loop)


class Known:
    """A question of a connection, whose head may come again."""

    __slots__ = ("_fields", "door", "head", "message")

    def __init__(self, head: Head, door: Door, message: RawRequestMessage) -> None:
        self.head = head
        self.door = door
        self.message = message
        self._fields: dict[str, Any] | None = None
        """Of a request with this head, but for what each has of its own."""

    def request(self, by: Direct, body: bytes, task: asyncio.Task[None]) -> Whole:
        """With this head, and the length of `body`."""
        fields = self._fields
        if fields is None:
            fields = self._fields = {**vars(by.request(self.message, EMPTY_PAYLOAD, task))}
            del fields["_payload_writer"]
        again = Whole.__new__(Whole)
        again.__dict__ = {
            **fields,
            "_cache": {},
            "_state": {},
            "_task": task,
            "_read_bytes": body,
        }
        if len(body) != self.head.length:
            again._message = _of_length(self.message, len(body))
            again._headers = again._message.headers
        return again


def _of_length(message: RawRequestMessage, length: int) -> RawRequestMessage:
    headers = CIMultiDict(message.headers)
    headers[hdrs.CONTENT_LENGTH] = said = str(length)
    raw = tuple(
        (name, said.encode() if name.lower() == b"content-length" else value)
        for name, value in message.raw_headers
    )
    return message._replace(headers=CIMultiDictProxy(headers), raw_headers=raw)


class Short(web.StreamResponse):
    """A whole answer, 200, in JSON. To who asked in a `Whole` request of HTTP/1.1 it goes out in
    one write, and needs none of what a response may have, so nothing of that is set up: aiohttp's
    own way is five times as many calls. To all others it goes as what `full` makes of it.

    `body` is small enough to be kept until the caller takes it.
    """

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self._whole = body
        self._own = headers

    def ready(self) -> bytes:
        """All of it, from the status line on. Raises ValueError for what would break a line."""
        body, own = self._whole, self._own
        lines = "".join([f"{name}: {value}\r\n" for name, value in own.items()])
        if lines.count("\r") != len(own) or lines.count("\n") != len(own):
            raise ValueError("a header must not hold a line break")
        date = rfc822_formatted_time()
        head = f"{HEAD}{lines}Date: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def full(self) -> web.Response:
        return web.Response(body=self._whole, content_type="application/json", headers=self._own)


class Direct(Leaving):
    """A connection whose whole questions at `doors` take the short way.

    Meanwhile the connection's own task, `start`, goes on waiting for its next message, and is not
    woken for one that comes early.
    """

    __slots__ = ("_body", "_doors", "_due", "_head", "_known", "_resting")

    def __init__(self, manager: Server, doors: Doors, **given: Any) -> None:
        super().__init__(manager, **given)
        self._doors = doors
        self._resting: asyncio.Task[None] | None = None
        """`start`, while another task answers in its place."""
        self._body: StreamReader | None = None
        """Of the last question that was left to `start`: it may still be coming."""
        self._head: Head | None = None
        """Of the last question that the parser was given."""
        self._due = 0
        """Bytes of it that did not come yet. At 0 the next byte begins a question; UNSURE for ever
        behind what is not plain."""
        self._known: Known | None = None
        """Only where the next byte begins a question."""

    def connection_lost(self, exc: BaseException | None) -> None:
        self._known = None
        super().connection_lost(exc)

    def leave(self) -> None:
        self._known = None
        super().leave()

    @property
    def at_rest(self) -> bool:
        return self._resting is None and super().at_rest

    def data_received(self, data: bytes) -> None:
        waiter, known = self._waiter, self._known
        if known is not None:
            if (
                waiter is not None
                and self._resting is None
                and not (self._messages or self._close or self._force_close)
                and (body := known.head.body_in(data)) is not None
            ):
                self._request_count += 1
                if not self.turned_away(known.message, EMPTY_PAYLOAD):
                    self._answer(known.door, known.message, partial(known.request, self, body))
                return
            self._known = None
        if data:
            self._reads(data)
        if self._resting is None and (
            self._messages
            # Between two questions `start` waits; before the first it may not run yet.
            or (waiter is None and self._request_count)
        ):
            super().data_received(data)
            self._end_broken_body()
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
        self._end_broken_body()
        self._wake()

    def _reads(self, data: bytes) -> None:
        """Keeps the account of what the parser is given."""
        due = self._due
        if due == 0:
            head = self._head = head_in(data)
            due = UNSURE if head is None else head.size
        if due > 0:
            due -= len(data)
        self._due = max(due, UNSURE)

    def _end_broken_body(self) -> None:
        """Ends a body in the midst of which comes what is none: aiohttp has its handler wait for
        the rest, and its fault behind it."""
        if not self._messages:
            return
        message, payload = self._messages[-1]
        body = self._body
        if isinstance(message, RawRequestMessage):
            self._body = payload
        elif body is not None and not body.is_eof():
            self._messages.pop()
            self._body = None
            body.set_exception(BrokenBody(why(message.exc)))
            body.feed_eof()
            # Where another question would begin nobody knows.
            self.close()

    def log_exception(self, *args: Any, **named: Any) -> None:
        # Told already; here it is aiohttp that reads on behind an answer.
        if not isinstance(named.get("exc_info"), BrokenBody):
            super().log_exception(*args, **named)

    def taken(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        """Whether the one message that waits is answered here."""
        assert self._parser is not None
        if self.turned_away(message, payload):
            self._messages.clear()
            self._parser.message_consumed()
            return True
        door = self._doors.get(message.path)
        if (
            door is None
            or self._leaves_since is not None
            or message.method != hdrs.METH_POST
            or self._waiter is None
            or message.upgrade
            or not payload.is_eof()
            or hdrs.EXPECT in message.headers
        ):
            return False
        self._messages.clear()
        self._parser.message_consumed()
        head = self._head
        if self._due == 0 and head is not None and head.may_come_again and not message.compression:
            self._known = Known(head, door, message)
        self._answer(door, message, partial(self._asked, message, payload))
        return True

    def turned_away(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        """Whether a whole question was answered without being asked."""
        return False

    def request(
        self, message: RawRequestMessage, payload: StreamReader, task: asyncio.Task[None]
    ) -> Whole:
        factory, writer = self._request_factory, StreamWriter(self, self._loop)
        return factory(message, payload, self, writer, task, Whole)  # type: ignore[misc, call-arg, return-value]

    def _asked(
        self, message: RawRequestMessage, payload: StreamReader, task: asyncio.Task[None]
    ) -> Whole:
        request = self.request(message, payload, task)
        if not self._reading_paused and payload is not EMPTY_PAYLOAD:
            # All of it is here; by the stream's own way it is eight calls to it.
            buffer = payload._buffer
            request._read_bytes = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        return request

    def _answer(self, door: Door, message: RawRequestMessage, make: Make) -> None:
        self._resting = self._task_handler
        answered = self._answered(door, message, make)
        # Its task is what aiohttp cancels when the caller leaves, and waits for when it stops.
        if sys.version_info >= (3, 12):
            # It begins at once, and not in the loop's next turn.
            asyncio.Task(answered, loop=self._loop, eager_start=True)
        else:
            self._task_handler = self._loop.create_task(answered)

    async def _answered(self, door: Door, message: RawRequestMessage, make: Make) -> None:
        """What `start` does with one message."""
        manager, loop = self._manager, self._loop
        if sys.version_info >= (3, 12):
            self._task_handler = asyncio.current_task()
        task = self._task_handler
        if manager is None or task is None or self._request_factory is None:
            return
        manager.requests_count += 1
        handle, match = door
        request = make(task)
        request._match_info = match
        lost = True
        self._keepalive = False
        self._request_in_progress = True
        self._current_request = request
        try:
            try:
                response = await handle(request)
            except Exception as fault:
                response, lost = await self._handle_request(request, None, partial(_raise, fault))
                self._keepalive = bool(response.keep_alive)
            else:
                self._current_request = None
                transport = self.transport
                if (
                    type(response) is not Short
                    or message.should_close
                    or message.version != HttpVersion11
                ):
                    if type(response) is Short:
                        response = response.full()
                    response, lost = await self.finish_response(request, response, None)
                    self._keepalive = bool(response.keep_alive)
                elif transport is not None and not transport.is_closing():
                    transport.write(response.ready())
                    if self._paused:
                        await self._drain_helper()
                    self._keepalive, lost = True, False
        except asyncio.CancelledError:
            self.force_close()
            raise
        except ConnectionError:
            pass
        except Exception as fault:
            self.log_exception("Unhandled exception", exc_info=fault)
            self.force_close()
        finally:
            self._request_in_progress = False
            self._current_request = None
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
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


async def _raise(fault: Exception, request: web.BaseRequest) -> web.StreamResponse:
    raise fault
