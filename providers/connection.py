"""One connection of the HTTP/1.1 client, and the answer that is read from it.

Everything that goes wrong is a Fault; its `kind` is one of dns, refused, tls, connect_timeout,
disconnected, idle, cut, malformed.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, Protocol

import httptools

KEEPALIVE_S = 30.0
"""A connection that was idle for longer is not used again: its server may just be closing it."""
BUFFERED = 256 * 1024
"""Bytes read ahead of the caller before the socket is paused."""
MAX_HEAD = 64 * 1024

FaultKind = Literal[
    "dns", "refused", "tls", "connect_timeout", "disconnected", "idle", "cut", "malformed"
]


Through = Callable[[bytes], bool]
"""Takes at once what came while a reader waits for it. False: he is to read it. What it raises
is raised to him."""


class Fault(Exception):
    """The transport failed. `kind` says how; the text holds nothing of the request."""

    def __init__(self, kind: FaultKind) -> None:
        super().__init__(kind)
        self.kind: FaultKind = kind


class Origin(NamedTuple):
    """Where to connect. A tuple, as it is looked up for each request."""

    host: str
    port: int
    tls: bool


class Pool(Protocol):
    """Who keeps the connections."""

    def made(self, connection: Connection) -> None:
        """It is open."""

    def free(self, connection: Connection) -> None:
        """Its answer was read to the end; it may be asked again."""

    def gone(self, connection: Connection) -> None:
        """It is closed, or about to be."""


class Answer:
    """One answer. Whoever has it must call `let_go`, which gives the connection back when the
    answer was read to its end, and closes it when not."""

    __slots__ = ("_connection", "_inflate", "let_go", "plain", "read", "status")

    read: Callable[[], Awaitable[bytes]]
    """What came since the last time, waiting for it; b"" at the end. Raises Fault."""
    let_go: Callable[[], None]

    def __init__(self, connection: Connection, status: int) -> None:
        self._connection = connection
        self.status = status
        coding = connection.coding
        # Nothing between the connection and its reader: each call counts for each chunk.
        self.read = connection.read
        self.let_go = connection.let_go
        self.plain = coding in (b"", b"identity")
        if not self.plain:
            if coding not in (b"gzip", b"x-gzip", b"deflate"):
                raise Fault("malformed")
            # We ask for identity; some answer packed all the same (PROTOCOLS F16).
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
            self.read = self._inflated

    def header(self, name: bytes) -> bytes:
        """A header's value by its lower-case name; b"" when it is not there."""
        for key, value in self._connection.headers:
            if key.lower() == name:
                return value
        return b""

    def headers(self) -> dict[str, str]:
        """All headers, by lower-case name; the last one wins."""
        return {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in self._connection.headers
        }

    def content_type(self) -> bytes:
        """Without parameters, in lower case."""
        return self.header(b"content-type").partition(b";")[0].strip().lower()

    @property
    def ended(self) -> bool:
        """All of it was read."""
        return self._connection.complete and not self._connection.chunks

    def lead(self, through: Through | None) -> None:
        """Body bytes to `through` from now on, where nothing has to be unpacked; None: to the
        reader again."""
        if self.plain:
            self._connection.through = through

    def enough(self) -> None:
        """The reader who waits is told that this was the end."""
        self._connection.enough()

    def whole(self, limit: int) -> bytes | None:
        """The body without waiting, when all of it came and is at most `limit` bytes: the reader's
        way is three calls more."""
        connection = self._connection
        if not (self.plain and connection.complete) or connection.buffered > limit:
            return None
        if connection.paused:
            connection.resume()
        chunks, connection.chunks = connection.chunks, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _inflated(self) -> bytes:
        while True:
            chunk = await self._connection.read()
            if not chunk:
                if not self._inflate.eof:
                    raise Fault("cut")
                return chunk
            try:
                chunk = self._inflate.decompress(chunk, BUFFERED)
                # One read gives a bounded piece; the rest waits its turn.
                if self._inflate.unconsumed_tail:
                    self._connection.chunks.insert(0, self._inflate.unconsumed_tail)
            except zlib.error:
                raise Fault("malformed") from None
            if chunk:
                return chunk


class Connection(asyncio.Protocol):
    """One socket, one request at a time."""

    def __init__(self, pool: Pool, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self.origin = origin
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle_s = 0.0
        self._last = 0.0
        self._busy = False
        self.paused = False
        self._seen = 0
        self._framed = False
        self.coding = b""
        """Of the answer's body, as its header has it."""
        self._interim = False
        self._started = False
        self._keep = False
        self._fault: FaultKind | None = None
        self._enough = False
        self._raised: Exception | None = None
        self.through: Through | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.buffered = 0
        self.complete = False

    # What a client does with it.

    async def ask(self, request: bytes, idle_s: float) -> Answer:
        transport = self._transport
        if transport is None:
            raise Fault("disconnected")
        parser = self._parser = httptools.HttpResponseParser(self)
        self.headers = []
        self.chunks = []
        self.buffered = 0
        self._seen = 0
        self.complete = self._framed = self._started = self._keep = False
        self._fault = self._raised = self.through = None
        self._enough = False
        self._busy = True
        self._idle_s = idle_s
        self._last = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(idle_s, self._look)
        try:
            transport.write(request)
            while not self._started:
                waiter = self._waiter = self._loop.create_future()
                await waiter
                if self._fault is not None:
                    self._woken()
            return Answer(self, parser.get_status_code())
        except BaseException:
            self.drop()
            raise

    async def read(self) -> bytes:
        while not self.chunks:
            if self.complete:
                return b""
            await self._silence()
            if self._fault is not None or self._raised is not None:
                self._woken()
            if self._enough:
                self._enough = False
                return b""
        chunks = self.chunks
        chunk = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.chunks = []
        self.buffered = 0
        if self.paused:
            self.resume()
        return chunk

    def resume(self) -> None:
        if self.paused and self._transport is not None:
            self.paused = False
            self._transport.resume_reading()

    def let_go(self) -> None:
        if not self._busy:
            return
        self._busy = False
        # It holds the caller's connection.
        self.through = None
        if self.complete and self._keep and self._transport is not None and not self.chunks:
            self._last = self._loop.time()
            self._pool.free(self)
        else:
            self.drop()

    def enough(self) -> None:
        self._enough = True
        self._wake()

    def fresh(self) -> bool:
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and self._loop.time() - self._last < KEEPALIVE_S
        )

    def drop(self) -> None:
        self._busy = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()
        self._pool.gone(self)

    def _silence(self) -> asyncio.Future[None]:
        """What ends when something comes. Raises Fault."""
        if self._fault is not None:
            raise Fault(self._fault)
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _woken(self) -> None:
        if self._raised is not None:
            raise self._raised
        # What arrived before the fault is read first.
        if self._fault is not None and not self.chunks and not self.complete:
            raise Fault(self._fault)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """One timer for the life of a connection, instead of one for each read."""
        self._timer = None
        if self._transport is None:
            return
        quiet = self._loop.time() - self._last
        if not self._busy:
            if quiet >= KEEPALIVE_S:
                self.drop()
                return
            self._timer = self._loop.call_later(KEEPALIVE_S - quiet, self._look)
        elif self.paused or quiet < self._idle_s:
            # A paused socket is silent because the caller does not read.
            left = self._idle_s if self.paused else self._idle_s - quiet
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._failed("idle")

    def _failed(self, kind: FaultKind) -> None:
        if self._fault is None and not self.complete:
            self._fault = kind
        if self._transport is not None:
            self._transport.close()
        self._wake()

    # What the loop does with it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._pool.made(self)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self.complete or self._parser is None:
            # Bytes that nobody asked for: the next answer could not be trusted.
            self.drop()
            return
        self._last = self._loop.time()
        self._seen += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._failed("malformed")
            return
        if not self._started and self._seen > MAX_HEAD:
            self._failed("malformed")
            return
        through, waiter = self.through, self._waiter
        # The last bytes are left to the reader, who has to see the end in any case.
        if through is not None and waiter is not None and not waiter.done() and not self.complete:
            chunks = self.chunks
            if chunks:
                chunk = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                try:
                    led = through(chunk)
                except Exception as raised:
                    self._raised = raised
                    waiter.set_result(None)
                    led = True
                if led:
                    chunks.clear()
                    self.buffered = 0
                    return
        if self.buffered > BUFFERED and not self.paused and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        # Each holds the other.
        self._parser = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._busy and not self.complete:
            if self._started and not self._framed and error is None:
                # Neither a length nor chunks: the end of the connection is the end of the body.
                self.complete = True
            elif self._fault is None:
                self._fault = "cut" if self._seen else "disconnected"
            self._wake()
        self._pool.gone(self)

    # What the parser does with it.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second answer to one question")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._interim = self._parser.get_status_code() < 200
        if self._interim:
            self.headers = []
            return
        self.coding = b""
        for name, value in self.headers:
            name = name.lower()
            if name == b"content-length" or name == b"transfer-encoding":
                self._framed = True
            elif name == b"content-encoding" and not self.coding:
                self.coding = value
        self._started = True

    def on_body(self, data: bytes) -> None:
        self.chunks.append(data)
        self.buffered += len(data)

    def on_message_complete(self) -> None:
        if self._interim:
            return
        assert self._parser is not None
        self.complete = True
        self._keep = self._parser.should_keep_alive()
