"""A bare HTTP/1.1 client connection, cheap enough not to be what is measured.

It reads heads, lengths and chunks itself: a framework here would eat the core that the upstream
needs, and the figures would be the client's.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import cast


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole response, its body without the chunk framing; `failure` when it never ended."""

    status: int
    body: bytes
    failure: str = ""
    first_at: float = 0.0
    """When the first bytes of the body came, by time.perf_counter."""
    again: bool = False
    """It says when to come again (Retry-After)."""


class _State(Enum):
    HEAD = auto()
    FIXED = auto()
    SIZE = auto()
    DATA = auto()
    TRAILER = auto()


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time; `done` is called with each answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._done: Callable[[Answer], None] | None = None
        self._rest = b""
        self._clear()

    def _clear(self) -> None:
        self._state = _State.HEAD
        self._status = 0
        self._again = False
        self._need = 0
        self._pieces: list[bytes] = []
        self._first_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"the connection closed before the answer ended ({exc or 'EOF'})")

    def send(self, request: bytes, done: Callable[[Answer], None]) -> None:
        """Send one request; raises RuntimeError on a closed or busy connection."""
        if self._transport is None or self._done is not None:
            raise RuntimeError("the connection is closed or still waits for an answer")
        self._done = done
        self._transport.write(request)

    def close(self) -> None:
        """Close at once; what is under way fails."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self.close()  # an answer that nobody asked for: the next one would be read wrong
            return
        received = self._rest + data if self._rest else data
        try:
            taken = self._take(received)
        except ValueError as wrong:
            self._fail(f"not HTTP: {wrong}")
            self.close()
            return
        self._rest = received[taken:]

    def _take(self, received: bytes) -> int:
        """Read as far as whole parts go; the number of bytes used."""
        at = 0
        while at < len(received):
            if self._state is _State.HEAD:
                end = received.find(b"\r\n\r\n", at)
                if end < 0:
                    break
                self._state = self._read_head(received[at:end].lower())
                at = end + 4
                if self._state is _State.FIXED and not self._need:
                    self._succeed()
            elif self._state is _State.SIZE:
                end = received.find(b"\r\n", at)
                if end < 0:
                    break
                size = int(received[at:end].split(b";")[0], 16)
                at = end + 2
                # With the two bytes that close the chunk; they are cut off again below.
                self._need = size + 2
                self._state = _State.DATA if size else _State.TRAILER
            elif self._state is _State.TRAILER:
                end = received.find(b"\r\n", at)
                if end < 0:
                    break
                empty = end == at
                at = end + 2
                if empty:
                    self._succeed()
            else:
                at = self._take_body(received, at)
        return at

    def _take_body(self, received: bytes, at: int) -> int:
        if not self._pieces:
            self._first_at = time.perf_counter()
        piece = received[at : at + self._need]
        self._need -= len(piece)
        if self._state is _State.FIXED:
            self._pieces.append(piece)
            if self._need == 0:
                self._succeed()
        else:
            # What is still needed of the closing \r\n is not body.
            body = piece[: max(0, len(piece) + self._need - 2)] if self._need < 2 else piece
            if body:
                self._pieces.append(body)
            if self._need == 0:
                self._state = _State.SIZE
        return at + len(piece)

    def _read_head(self, head: bytes) -> _State:
        if not head.startswith(b"http/1.1 "):
            raise ValueError(f"the head starts with {head[:20]!r}")
        self._status = int(head[9:12])
        self._again = self._status == 503 and b"\r\nretry-after:" in head
        length = head.find(b"\r\ncontent-length:")
        if b"\r\ntransfer-encoding: chunked" in head:
            return _State.SIZE
        if length < 0:
            raise ValueError("neither a length nor chunks")
        self._need = int(head[length + 17 :].split(b"\r\n", 1)[0])
        return _State.FIXED

    def _succeed(self) -> None:
        answer = Answer(
            self._status, b"".join(self._pieces), first_at=self._first_at, again=self._again
        )
        self._finish(answer)

    def _fail(self, why: str) -> None:
        self._finish(Answer(self._status, b"".join(self._pieces), failure=why))

    def _finish(self, answer: Answer) -> None:
        done, self._done = self._done, None
        self._rest = b""
        self._clear()
        if done is not None:
            done(answer)
