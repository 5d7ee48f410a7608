"""An upstream that plays raw bytes, well or badly, and counts what it saw.

A play is a list of steps: bytes are sent, a number is a pause in seconds, and a Step ends or
stalls the connection. Each connection that asks takes the play anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.replay.server import reset_on_close

TLS = Path(__file__).parents[1] / "providers/tls"


class Step(Enum):
    STALL = "nothing more comes"
    CLOSE = "the connection ends politely"
    RESET = "the connection is reset"


@dataclass(frozen=True)
class Endless:
    """The same bytes until the other side leaves, a moment apart."""

    piece: bytes
    pause_s: float = 0.0


Play = Sequence[bytes | float | Step | Endless]


class RawUpstream:
    """`asked`: whole requests that came; `open`: connections that are there now."""

    def __init__(self, stream: Play, whole: Play) -> None:
        self._plays = {True: stream, False: whole}
        self.asked = 0
        self.sent = 0
        """Bytes of endless streams."""
        self.open = 0
        self.busy = 0
        self.port = 0
        self.tls_port = 0
        """The same, with a certificate that nobody trusts."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    await self._one(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                body = await reader.readexactly(int(line.partition(b":")[2]))
        if head.startswith(b"GET"):
            listed = b'{"data":[]}'
            writer.write(answer(listed, "application/json"))
            await writer.drain()
            return
        self.asked += 1
        self.busy += 1
        try:
            for step in self._plays[b'"stream":true' in body]:
                await self._played(step, reader, writer)
        finally:
            self.busy -= 1

    async def _played(
        self,
        step: bytes | float | Step | Endless,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif isinstance(step, float):
            # Whoever leaves meanwhile frees this side at once.
            with contextlib.suppress(TimeoutError):
                if not await asyncio.wait_for(reader.read(1), step):
                    raise ConnectionResetError
        elif isinstance(step, Endless):
            while not reader.at_eof():
                writer.write(step.piece)
                await writer.drain()
                self.sent += len(step.piece)
                await asyncio.sleep(step.pause_s)
            raise ConnectionResetError
        elif step is Step.STALL:
            await reader.read()
            raise ConnectionResetError
        elif step is Step.RESET:
            # What was written must leave before the connection is reset.
            await asyncio.sleep(0.02)
            reset_on_close(writer.transport)
            writer.transport.abort()
            raise ConnectionResetError
        else:
            writer.close()


@asynccontextmanager
async def upstream(stream: Play, whole: Play) -> AsyncGenerator[RawUpstream, None]:
    made = RawUpstream(stream, whole)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, limit=2**20)
    untrusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    untrusted.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    over_tls = await asyncio.start_server(made.handle, "127.0.0.1", 0, ssl=untrusted)
    made.port = server.sockets[0].getsockname()[1]
    made.tls_port = over_tls.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        over_tls.close()
        async with asyncio.timeout(5):
            # Those whose client is closed by now end by themselves.
            while made.open:
                await asyncio.sleep(0.005)
        await server.wait_closed()
        await over_tls.wait_closed()


def head(status: int, content_type: str, *lines: str) -> bytes:
    fields = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", *lines, "", ""]
    return "\r\n".join(fields).encode("latin-1")


def answer(body: bytes, content_type: str, status: int = 200, *lines: str) -> bytes:
    """A whole answer with its length."""
    return head(status, content_type, f"Content-Length: {len(body)}", *lines) + body


def opening(content_type: str, *lines: str) -> bytes:
    return head(200, content_type, "Transfer-Encoding: chunked", *lines)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


END = b"0\r\n\r\n"


def chunked(body: bytes, content_type: str, *lines: str) -> bytes:
    """A whole stream, ended as HTTP wants it."""
    return opening(content_type, *lines) + chunk(body) + END
