"""The cheap upstream: OpenAI's chat API from ready bytes, on a bare uvloop Protocol.

    python -m bench.upstream --port 0

Prints `{"port": N}` when it listens. It is cheap so that the subjects are measured and not it:
no framework, no JSON, one regular expression a question.
"""

import argparse
import asyncio
import re
from collections.abc import Iterator
from typing import cast

import orjson
import uvloop

from bench import script

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
# A quote inside a prompt arrives as \" and so never matches these.
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,100})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_USAGE = re.compile(rb'"include_usage"\s*:\s*true')

MAX_REQUEST = 1 << 20


class Upstream(asyncio.Protocol):
    """One connection: HTTP/1.1, kept alive, one request after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._writes: Iterator[bytes] | None = None
        self._interval_s = 0.0
        self._due = 0.0
        self._timer: asyncio.Handle | None = None
        self._paused = False
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = self._writes = self._timer = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._writes is not None and self._timer is None:
            self._step()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > MAX_REQUEST:
            self._refuse(400, "the request is longer than 1 MiB")
            return
        while self._writes is None and self._received and self._transport is not None:
            if not self._take_request():
                return

    def _take_request(self) -> bool:
        """Answer the first whole request received so far; False when none is whole."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._received[:end]
        if _CHUNKED.search(head):
            self._refuse(411, "send Content-Length")
            return False
        length = _LENGTH.search(head)
        size = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < size:
            return False
        body, self._received = self._received[end + 4 : size], self._received[size:]
        self._closing = _CLOSE.search(head) is not None
        self._answer(head, body)
        return True

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST /v1/chat/completions "):
            self._answer_chat(body)
        elif head.startswith(b"GET /v1/models "):
            self._finish(script.models())
        else:
            self._finish(script.error(404, "no such path"))

    def _answer_chat(self, body: bytes) -> None:
        model = _MODEL.search(body)
        if model is None:
            self._finish(script.error(400, "model: must be given"))
            return
        said = script.script(model[1].decode("ascii", "replace"))
        if said is None:
            self._finish(script.error(404, "model: no script has that name"))
        elif _STREAM.search(body) is None:
            self._finish(said.document)
        else:
            last = said.last_with_usage if _USAGE.search(body) else said.last
            self._writes = iter((*said.writes, last))
            self._interval_s = said.interval_s
            self._due = self._loop.time()
            self._step()

    def _step(self) -> None:
        """Write one piece of the stream and arrange for the next."""
        self._timer = None
        if self._writes is None or self._transport is None or self._paused:
            return
        piece = next(self._writes, None)
        if piece is None:
            self._writes = None
            self._finish(b"")
            self.data_received(b"")
            return
        self._transport.write(piece)
        if self._interval_s:
            # From the plan and not from now: a late write does not delay the later ones.
            self._due += self._interval_s
            self._timer = self._loop.call_at(self._due, self._step)
        else:
            # The next turn of the loop: two writes in one turn would leave as one.
            self._timer = self._loop.call_soon(self._step)

    def _finish(self, data: bytes) -> None:
        if self._transport is None:
            return
        if data:
            self._transport.write(data)
        if self._closing:
            self._transport.close()

    def _refuse(self, status: int, message: str) -> None:
        self._closing = True
        self._received = b""
        self._finish(script.error(status, message))


async def serve(port: int) -> None:
    """Listen on 127.0.0.1 until the process is ended."""
    for name in script.NAMES:
        script.script(name)
    server = await asyncio.get_running_loop().create_server(
        Upstream, "127.0.0.1", port, backlog=1024
    )
    print(orjson.dumps({"port": server.sockets[0].getsockname()[1]}).decode(), flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
