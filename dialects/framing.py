"""SSE and NDJSON: bytes <-> whole frames.

The SSE decoder follows the WHATWG rules (UTF-8, one BOM, CR, LF or CRLF wherever the bytes were
cut, comments, multi-line data, unknown fields) and is liberal where upstreams are known to stray
(PROTOCOLS 1.2): a last event without its blank line, an `error:` field, a bare JSON body.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn, Protocol

from chat.errors import Broken

MAX_FRAME = 32 * 2**20
"""Bytes of one frame; more is an attack or a fault."""


class Frame(NamedTuple):
    """One SSE event (`data` with its lines joined by LF) or one line of NDJSON."""

    data: bytes
    event: bytes = b""


_NEW = tuple.__new__


class Decoder(Protocol):
    def feed(self, chunk: bytes) -> list[Frame]: ...

    def close(self) -> list[Frame]: ...


class Framing(Protocol):
    content_type: str

    def decoder(self) -> Decoder: ...

    def encode(self, frame: Frame) -> bytes: ...


class _Lines:
    """Bytes -> whole lines, wherever they were cut; keeps what has no end yet. Once it `started`,
    and with nothing `held` and not `after_cr`, no earlier chunk matters to the next one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held: list[bytes] = []
        self._size = 0
        self.after_cr = False
        self.started = False

    def feed(self, chunk: bytes) -> list[bytes]:
        if not chunk:
            return []
        if self.after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self.after_cr = False
            if not chunk:
                return []
        if b"\r" in chunk:
            self.after_cr = chunk[-1:] == b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            self.after_cr = False
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            self._hold(tail)
            return []
        if self.held:
            self.held.append(head)
            head = b"".join(self.held)
            self.held.clear()
            self._size = 0
        self._hold(tail)
        lines = self._without_bom(head).split(b"\n")
        self.started = True
        if len(head) > self._limit and len(max(lines, key=len)) > self._limit:
            self._too_long()
        return lines

    def rest(self) -> bytes:
        """The last line, which had no end."""
        rest = self._without_bom(b"".join(self.held))
        self.held.clear()
        self._size = 0
        return rest

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self.held.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            self._too_long()

    def _too_long(self) -> NoReturn:
        message = f"The upstream sent a line of more than {self._limit} bytes."
        raise Broken(message, code="malformed")

    def _without_bom(self, text: bytes) -> bytes:
        return text if self.started else text.removeprefix(b"\xef\xbb\xbf")


class SseDecoder:
    """Bytes -> SSE frames. `id` and `retry` mean nothing to us and are dropped."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._lines = _Lines(limit)
        self._limit = limit
        self._data: list[bytes] = []
        self._size = 0
        self._event = b""
        self._stray: list[bytes] = []
        self._stray_size = 0

    def feed(self, chunk: bytes) -> list[Frame]:
        lines = self._lines
        # The usual chunk, whole events of a data line each and perhaps a name before it, in a third
        # of the time.
        if (
            chunk[-2:] == b"\n\n"
            and lines.started
            and not (lines.held or lines.after_cr or self._data or self._event)
            and b"\r" not in chunk
            and len(chunk) <= self._limit
        ):
            frames: list[Frame] = []
            for block in chunk[:-2].split(b"\n\n"):
                name = b""
                if block[:7] == b"event: ":
                    name, _, block = block[7:].partition(b"\n")
                if block[:6] != b"data: " or b"\n" in block:
                    return self._by_lines(chunk)
                # As Frame(block[6:], name), which is a Python call.
                frames.append(_NEW(Frame, (block[6:], name)))
            return frames
        return self._by_lines(chunk)

    def close(self) -> list[Frame]:
        """The last event, also when its blank line is missing; and what was no SSE at all."""
        rest = self._lines.rest()
        if rest:
            self._line(rest)
        frames = [self._flush()] if self._data else []
        if self._stray:
            frames.append(Frame(b"\n".join(self._stray).strip(), b"error"))
            self._stray.clear()
        return frames

    def _by_lines(self, chunk: bytes) -> list[Frame]:
        frames: list[Frame] = []
        for line in self._lines.feed(chunk):
            if line:
                self._line(line)
            elif self._data:
                frames.append(self._flush())
            else:
                self._event = b""
        return frames

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._add(value)
            return
        if line[:1] == b":":
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._add(value)
        elif name == b"error":
            self._event = b"error"
            self._add(value)
        elif self._stray or line.lstrip()[:1] in (b"{", b"["):
            self._stray_size += len(line) + 1
            self._check(self._stray_size)
            self._stray.append(line)

    def _add(self, value: bytes) -> None:
        self._size += len(value) + 1
        self._check(self._size)
        self._data.append(value)

    def _check(self, size: int) -> None:
        if size > self._limit + 1:
            message = f"The upstream sent an event of more than {self._limit} bytes."
            raise Broken(message, code="malformed")

    def _flush(self) -> Frame:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        frame = Frame(data, self._event)
        self._data = []
        self._size = 0
        self._event = b""
        return frame


class NdjsonDecoder:
    """Bytes -> one frame for each line that is not blank."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._lines = _Lines(limit)

    def feed(self, chunk: bytes) -> list[Frame]:
        return [Frame(line) for line in self._lines.feed(chunk) if line.strip()]

    def close(self) -> list[Frame]:
        rest = self._lines.rest()
        return [Frame(rest)] if rest.strip() else []


class Sse:
    content_type = "text/event-stream; charset=utf-8"

    def decoder(self) -> SseDecoder:
        return SseDecoder()

    def encode(self, frame: Frame) -> bytes:
        data = frame.data
        if b"\n" in data:
            data = data.replace(b"\n", b"\ndata: ")
        if frame.event:
            return b"event: " + frame.event + b"\ndata: " + data + b"\n\n"
        return b"data: " + data + b"\n\n"


class Ndjson:
    content_type = "application/x-ndjson"

    def decoder(self) -> NdjsonDecoder:
        return NdjsonDecoder()

    def encode(self, frame: Frame) -> bytes:
        return frame.data + b"\n"


SSE = Sse()
NDJSON = Ndjson()
