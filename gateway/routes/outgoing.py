"""One streamed answer on its way to its caller, and the keep-alives before and within it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp_sse import EventSourceResponse
from multidict import CIMultiDict

from gateway.middleware import Mark
from gateway.services import SERVICES

LARGE = 64 * 1024
"""Bytes that are sent without waiting for the caller."""


def mark_by(app: web.Application) -> Mark:
    return lambda request, response: app[SERVICES].origins.mark(request, response)


async def prepare(request: web.Request, response: web.StreamResponse) -> None:
    """Sends the headers of an answer that is no web.Response."""
    request.app[SERVICES].origins.mark(request, response)
    await response.prepare(request)


class MarkedEvents(EventSourceResponse):
    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if not self.prepared and isinstance(request, web.Request):
            request.app[SERVICES].origins.mark(request, self)
        return await super().prepare(request)


class Outgoing:
    """`headers` is asked once, when the status goes out; `before` follows it at once. `write_s`:
    how long the caller may take nothing of what he was sent at the end, when the pipeline does not
    look any more."""

    def __init__(
        self,
        request: web.Request,
        headers: Callable[[], CIMultiDict[str]],
        write_s: float,
        before: bytes = b"",
    ) -> None:
        self._before = before
        self._write_s = write_s
        self._request = request
        self._headers = headers
        self._response: web.StreamResponse | None = None
        self._in_chunks = False
        self._protocol = request.protocol
        self._saying: asyncio.Task[None] | None = None

    def quiet(self, keepalive: bytes) -> None:
        """Sends the headers, if they did not go out yet, and the keep-alive. Called only while
        nothing else is being written."""
        if self._saying is None or self._saying.done():
            self._saying = asyncio.create_task(self._say(keepalive))

    async def open(self) -> web.StreamResponse:
        """The response, with its headers sent."""
        if self._saying is not None:
            await self._saying
        return await self._prepared()

    async def write(self, piece: bytes) -> None:
        """One chunk of the body, behind `open`. Waits for a caller who is behind. aiohttp's own
        way is four calls for each."""
        if not self._in_chunks:
            assert self._response is not None
            await self._response.write(piece)
            return
        if not piece:
            # It would say that this was all.
            return
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The caller left.")
        transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if protocol._paused:
            await protocol._drain_helper()

    def ready(self) -> bool:
        """The pipeline's Sink: a chunk can be written without waiting."""
        protocol = self._protocol
        if not self._in_chunks or protocol._paused:
            return False
        if self._saying is not None and not self._saying.done():
            return False
        transport = protocol.transport
        return transport is not None and not transport.is_closing()

    def put(self, piece: bytes) -> None:
        transport = self._protocol.transport
        assert transport is not None
        transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def give_up(self) -> None:
        """The caller left, or reads nothing: what waits for him must not stay in memory."""
        if self._saying is not None:
            self._saying.cancel()
        self._abort()

    async def whole(self, body: bytes) -> web.StreamResponse:
        """A large body in pieces, each of which the caller has to take in time."""
        headers = self._headers()
        headers["Content-Length"] = str(len(body))
        response = web.StreamResponse(headers=headers)
        await prepare(self._request, response)
        for start in range(0, len(body), LARGE):
            with self._deadline():
                await response.write(body[start : start + LARGE])
        await self.end(response)
        return response

    async def end(self, response: web.StreamResponse) -> None:
        with self._deadline():
            await response.write_eof()

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[None]:
        timer = asyncio.get_running_loop().call_later(self._write_s, self._abort)
        try:
            yield
        finally:
            timer.cancel()

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _say(self, keepalive: bytes) -> None:
        # Whoever left is noticed by the server, which cancels the handler.
        with contextlib.suppress(ConnectionError):
            response = await self._prepared()
            if keepalive:
                await response.write(keepalive)

    async def _prepared(self) -> web.StreamResponse:
        if self._response is None:
            response = web.StreamResponse(headers=self._headers())
            await prepare(self._request, response)
            if self._before:
                await response.write(self._before)
            self._response = response
            writer = response._payload_writer
            self._in_chunks = (
                isinstance(writer, StreamWriter) and writer.chunked and not writer._compress
            )
        return self._response
