"""What is decided where a question is read, before aiohttp's own way to a handler.

Whole questions at the doors of chats go straight to their handler: see direct.py. And callers whom
there is too much to do for are turned away here.

A 503 on the whole way through the server costs a good part of an answer, and so over the knee
most of the CPU would go into saying no. Here it is ready bytes behind the parser: no task, no
handler, no row. Only whole questions at the doors of chats are answered so; a body that comes
later, a web page's question and all other paths take the usual way, where `Pressure.admit`
says the same.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from chat.errors import QueueFull
from gateway.crowd import Crowd
from gateway.direct import Direct, Doors, doors_of
from gateway.engine.pressure import RETRY_S
from gateway.leaving import LeavingServer
from gateway.middleware import CHATS, GIVEN_ID, OWN, error_response, new_request_id
from gateway.no_http import refused
from gateway.room import most_connections
from gateway.routes.languages import language_of
from gateway.services import SERVICES, Services

BACKLOG = 4096
"""Connections that may wait to be taken in; the kernel has a limit of its own."""
NO_ROOM = "This gateway has no room for more connections. Ask again."
"""His own is closed behind it."""


class Refusals:
    """What is said to whom. The words of a reason are written once for each path."""

    def __init__(self, services: Services) -> None:
        self._pressure = services.pressure
        self._running = services.pipeline.running
        self._ready: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self._most = most_connections(self._pressure.max_running)
        self.open = 0
        """Connections, without those that are being closed behind such an answer."""

    @property
    def asked(self) -> bool:
        """Whether anybody may have to be turned away."""
        return self._pressure.tight or len(self._running) >= self._pressure.max_running

    @property
    def crowded(self) -> bool:
        """There are more connections than there is room for."""
        return self.open > self._most

    def answer(
        self, message: RawRequestMessage, payload: StreamReader, crowded: bool
    ) -> bytes | None:
        """The whole response; None for who is let in and for what takes the usual way."""
        path = message.path.partition("?")[0]
        if (
            path not in CHATS
            or message.method != "POST"
            or message.should_close
            or message.upgrade
            or not payload.is_eof()
            or "Origin" in message.headers
        ):
            return None
        if crowded:
            why: str | None = NO_ROOM
            self._pressure.shed += 1
        else:
            why = self._pressure.turns_away(len(self._running) + 1)
        if why is None:
            return None
        found = self._ready.get((path, why))
        if found is None:
            if len(self._ready) > 4 * len(CHATS):
                # The words name a limit, which a reload may change.
                self._ready.clear()
            found = self._ready[path, why] = _written(path, why)
        given = message.headers.get("X-Request-Id")
        if given is None or not GIVEN_ID.fullmatch(given):
            given = new_request_id()
        named = given.encode()
        return b"%b%b\r\nRequest-Id: %b%b" % (found[0], named, named, found[1])


def _written(path: str, why: str) -> tuple[bytes, bytes]:
    """The response before the request's id, and behind it."""
    failure = QueueFull(why, retry_after=RETRY_S)
    response = error_response(failure, language_of(path) or OWN, "")
    body = response.body
    assert isinstance(body, bytes)
    headers = {**response.headers, "Content-Length": str(len(body))}
    headers["X-Content-Type-Options"] = "nosniff"
    if why is NO_ROOM:
        headers["Connection"] = "close"
    for name in ("X-Request-Id", "Request-Id"):
        del headers[name]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {response.status} {response.reason}\r\n{lines}X-Request-Id: "
    return head.encode(), b"\r\n\r\n" + body


class Turnstile(Direct):
    """A connection of the server's. aiohttp has no public place before the handler."""

    __slots__ = ("_leaves", "_refusals")

    def __init__(self, manager: Server, doors: Doors, refusals: Refusals, **given: Any) -> None:
        super().__init__(manager, doors, **given)
        self._refusals = refusals
        self._leaves = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._refusals.open += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._left()
        super().connection_lost(exc)

    def _left(self) -> None:
        if not self._leaves:
            self._leaves = True
            self._refusals.open -= 1

    def turned_away(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        # Who does not read gets no more.
        crowded = self._refusals.crowded
        if (crowded or self._refusals.asked) and not self._paused:
            answer = self._refusals.answer(message, payload, crowded)
            if answer is not None:
                self._turn_away(answer, crowded)
                return True
        return False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if exc is None or not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        response = error_response(refused(request, exc), OWN, new_request_id())
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.force_close()
        return response

    def _turn_away(self, answer: bytes, closes: bool) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self.transport is not None:
            self.transport.write(answer)
            if closes:
                self._left()
                self.transport.close()


class TurnstileServer(LeavingServer):
    """Makes such connections."""

    def __init__(self, beside: Server, doors: Doors, refusals: Refusals) -> None:
        super().__init__(
            beside.request_handler,
            request_factory=beside.request_factory,
            handler_cancellation=beside.handler_cancellation,
            loop=beside._loop,
            **beside._kwargs,
        )
        self._doors = doors
        self._refusals = refusals
        self.crowd: Crowd | None = None

    def __call__(self) -> RequestHandler:
        """What speaks with the connection that the loop takes in."""
        if self.crowd is not None:
            self.crowd.came()
        return self.one()

    def one(self) -> Turnstile:
        return Turnstile(self, self._doors, self._refusals, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    async def _make_server(self) -> Server:
        server = await super()._make_server()
        return TurnstileServer(server, doors_of(self.app, CHATS), Refusals(self.app[SERVICES]))

    async def listen(self, host: str, port: int, shared: bool = False) -> None:
        """`shared`: several processes listen on the port, and the kernel deals out."""
        site = web.TCPSite(self, host, port, backlog=BACKLOG, reuse_port=shared or None)
        await site.start()
        server = self.server
        assert isinstance(server, TurnstileServer)
        # uvloop's servers are no subclass of asyncio's.
        listener = cast(asyncio.Server, site._server)
        server.crowd = Crowd([one.fileno() for one in listener.sockets], server.one)

    async def cleanup(self) -> None:
        if isinstance(self.server, TurnstileServer) and self.server.crowd is not None:
            self.server.crowd.close()
        await super().cleanup()
