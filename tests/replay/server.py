"""A real upstream that plays recorded bytes, well or badly, as told.

Each request takes the next Play of the script; the last one stays. What arrived is kept, and
when each caller left is known, so that tests can see a socket being freed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

SSE = "text/event-stream"


@dataclass
class Play:
    """One answer. Bytes are sent in pieces of `chunk` (all at once when None), `delay_s` apart.

    `cut`: after that many bytes the connection ends, cleanly or by reset.
    `stall`: after that many bytes nothing more comes until the caller leaves.
    `held`: nothing is sent before it is set.
    """

    body: bytes = b""
    status: int = 200
    content_type: str = SSE
    headers: dict[str, str] = field(default_factory=dict)
    chunk: int | None = None
    delay_s: float = 0.0
    before_s: float = 0.0
    held: asyncio.Event | None = None
    cut: int | None = None
    clean: bool = False
    stall: int | None = None


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: Any
    left_at: float | None = None
    """Monotonic seconds at which the caller went away before the end."""


class ReplayServer:
    def __init__(self, *script: Play) -> None:
        self.script: list[Play] = list(script)
        self.received: list[Received] = []
        self.open = self.most_open = 0
        """Answers now, and the most at once."""
        self.answers: dict[str, bytes] = {}
        """JSON for a GET or /api/show, by path; an empty list of models for any other."""
        self.shown: list[str] = []
        """Models that POST /api/show was asked about."""
        self.look_status = 200
        """Status of every GET."""
        self.connections: set[int] = set()
        """Source ports of the callers."""
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def play(self, *script: Play) -> None:
        """Sets the script anew."""
        self.script = list(script)

    async def start(self) -> ReplayServer:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # Cancelled handlers are how this server sees that a caller left.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await let_nobody_in(self._runner)
            await self._runner.cleanup()

    async def __aenter__(self) -> ReplayServer:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def until_left(self, count: int = 1, limit_s: float = 5.0) -> None:
        """Waits until `count` callers have gone away before their answer's end."""
        async with asyncio.timeout(limit_s):
            while sum(one.left_at is not None for one in self.received) < count:
                await asyncio.sleep(0.005)

    async def until_received(self, count: int = 1, limit_s: float = 5.0) -> None:
        async with asyncio.timeout(limit_s):
            while len(self.received) < count:
                await asyncio.sleep(0.005)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        received = Received(
            request.path_qs,
            {name.lower(): value for name, value in request.headers.items()},
            orjson.loads(raw) if raw else None,
        )
        if request.method != "POST" or request.path == "/api/show":
            told = self.answers.get(request.path, b'{"data": [], "models": []}')
            status = self.look_status
            if request.method == "POST":
                # An Ollama is asked what each of its models can do: what the test says of it.
                self.shown.append(received.body["model"])
                status = status if request.path in self.answers else 404
            return web.Response(status=status, body=told, content_type="application/json")
        self.received.append(received)
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername")[1])
        play = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._played(request, play)
        except asyncio.CancelledError:
            received.left_at = time.monotonic()
            raise
        finally:
            self.open -= 1

    async def _played(self, request: web.Request, play: Play) -> web.StreamResponse:
        await asyncio.sleep(play.before_s)
        if play.held is not None:
            await play.held.wait()
        response = web.StreamResponse(
            status=play.status, headers={"Content-Type": play.content_type, **play.headers}
        )
        await response.prepare(request)
        end = min(x for x in (play.cut, play.stall, len(play.body)) if x is not None)
        for piece in _pieces(play.body[:end], play.chunk):
            await response.write(piece)
            if play.delay_s:
                await asyncio.sleep(play.delay_s)
        if play.stall is not None:
            await asyncio.sleep(60)
        if play.cut is not None and not play.clean:
            assert request.transport is not None
            # What was written must leave before the connection is reset.
            await asyncio.sleep(0.02)
            reset_on_close(request.transport)
            request.transport.abort()
            return response
        await response.write_eof()
        return response


async def let_nobody_in(runner: web.AppRunner) -> None:
    """Before a server stops, whoever is at its door is inside or not. asyncio leaves a socket
    unclosed that it accepted in the turn of the loop in which its server closes (gh-109564); Node
    connects once more just after it has aborted a request."""
    loop = asyncio.get_running_loop()
    for site in runner.sites:
        assert isinstance(site, web.TCPSite)
        assert isinstance(site._server, asyncio.Server)
        for listening in site._server.sockets:
            loop.remove_reader(listening.fileno())
    for _ in range(3):
        await asyncio.sleep(0)


def reset_on_close(transport: asyncio.BaseTransport) -> None:
    """Without it a closed socket ends politely, also an aborted one."""
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


def _pieces(body: bytes, size: int | None) -> Sequence[bytes]:
    if size is None:
        return [body] if body else []
    return [body[start : start + size] for start in range(0, len(body), size)]


def openai_stream(*texts: str, usage: bool = True, finish: str | None = "stop") -> bytes:
    """Bytes of a chat.completion.chunk stream as OpenAI sends it."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def frame(choices: list[Any], **more: Any) -> bytes:
        return b"data: " + orjson.dumps({**head, "choices": choices, **more}) + b"\n\n"

    def choice(delta: dict[str, Any], reason: str | None = None) -> list[Any]:
        return [{"index": 0, "delta": delta, "finish_reason": reason}]

    frames = [frame(choice({"role": "assistant", "content": ""}))]
    frames += [frame(choice({"content": text})) for text in texts]
    if finish is not None:
        frames.append(frame(choice({}, finish)))
        if usage:
            counts = {"prompt_tokens": 3, "completion_tokens": len(texts)}
            frames.append(frame([], usage={**counts, "total_tokens": 3 + len(texts)}))
        frames.append(b"data: [DONE]\n\n")
    return b"".join(frames)


@asynccontextmanager
async def answering(handler: Handler) -> AsyncGenerator[str]:
    """The address of a server that answers everything so."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await let_nobody_in(runner)
        await runner.cleanup()


def openai_body(text: str) -> bytes:
    """One chat.completion."""
    return orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
    )


def openai_error(status: int, message: str = "no", **headers: str) -> Play:
    body = {"error": {"message": message, "type": "t", "param": None, "code": None}}
    return Play(orjson.dumps(body), status, "application/json", headers=headers)
