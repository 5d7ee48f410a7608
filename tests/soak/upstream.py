"""The soak's upstream: the bench's cheap one, which fails as the model's name says and counts it.

    python -m tests.soak.upstream

Prints `{"port": N}` when it listens; `GET /seen` tells what it saw, by kind.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import ClassVar

import orjson
import uvloop

from bench import script
from bench.upstream import Upstream

KIND = re.compile(rb'"model"\s*:\s*"(\w+)"')
STREAM = re.compile(rb'"stream"\s*:\s*true')
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n"
SSE = HEAD % b"text/event-stream" + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = script.script("burst-8")
assert GOOD is not None
OPENING = GOOD.writes[0]
GARBAGE = b"data: {not json\n\n"


def refusal(status: int) -> bytes:
    body = b'{"error": {"message": "no", "type": "t", "code": null}}'
    head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


class Failing(Upstream):
    seen: ClassVar[Counter[str]] = Counter()
    """Questions by kind."""
    open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        type(self).open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        type(self).open -= 1

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /seen "):
            said: dict[str, object] = {**self.seen, "open": type(self).open - 1}
            self._finish(script.response(200, said))
        else:
            super()._answer(head, body)

    def _answer_chat(self, body: bytes) -> None:
        found = KIND.search(body)
        kind = found[1].decode() if found else ""
        stream = STREAM.search(body) is not None
        self.seen[kind] += 1
        if kind == "good":
            super()._answer_chat(body.replace(b'"good"', b'"burst-8"'))
        elif kind in ("wrong", "broken"):
            self._finish(refusal(400 if kind == "wrong" else 500))
        elif kind == "empty":
            self._finish(HEAD % b"text/event-stream" + b"Content-Length: 0\r\n\r\n")
        elif kind == "endless":
            # Until the caller leaves.
            self._finish(OPENING)
        elif kind == "cut":
            self._closing = True
            whole = HEAD % b"application/json" + b"Content-Length: 1000\r\n\r\n{"
            self._finish(OPENING if stream else whole)
        elif kind == "garbage":
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GARBAGE), GARBAGE)
            whole = HEAD % b"application/json" + b"Content-Length: 2\r\n\r\n{["
            self._finish(OPENING + body if stream else whole)
        else:
            self._finish(script.error(404, "no such kind"))


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Failing, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(orjson.dumps({"port": port}).decode(), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
