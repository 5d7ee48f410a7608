"""One handler for every dialect: the path's row names the language."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import orjson
from aiohttp import web
from multidict import CIMultiDict

from chat.errors import Draining
from chat.request import Json
from chat.trace import Trace
from dialects import reading
from dialects.anthropic import AnthropicDialect
from dialects.base import InboundDialect
from dialects.complete import CompleteDialect
from dialects.ollama import OllamaDialect, OllamaGenerateDialect
from dialects.openai import OpenAiDialect
from gateway.direct import Short
from gateway.engine.ports import Asked
from gateway.middleware import CALLER, REQUEST_ID
from gateway.routes.bodies import read_json
from gateway.routes.ollama import loaded
from gateway.routes.outgoing import LARGE, Outgoing
from gateway.services import STANDING, Services

ROWS: dict[str, InboundDialect] = {
    "/complete": CompleteDialect(),
    "/v1/chat/completions": OpenAiDialect(),
    "/v1/messages": AnthropicDialect(),
}
"""Path -> dialect. A new inbound dialect is one line here. Ollama's doors answer questions that
say nothing by themselves; Gemini's model stands in the path: see gemini.py; and /chat/completions
has more to say: see seeds.py."""

OLLAMA_ROWS: dict[str, InboundDialect] = {
    "/api/chat": OllamaDialect(),
    "/api/generate": OllamaGenerateDialect(),
}

MAX_NAMES = 8
"""In a caller's `models`."""
# No proxy on the way may keep a chunk back, pack it or store it.
STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


def register(app: web.Application) -> None:
    for path, dialect in ROWS.items():
        app.router.add_post(path, serve_chat(app, dialect))
    for path, dialect in OLLAMA_ROWS.items():
        app.router.add_post(path, serve_chat(app, dialect, says_nothing=loaded))


def serve_chat(
    app: web.Application,
    dialect: InboundDialect,
    completed: Callable[[web.Request, Json], Json] | None = None,
    says_nothing: Callable[[Services, Json], Json | None] | None = None,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """`completed` adds to the body what a language says elsewhere; `says_nothing` has the whole
    answer to a body that needs no upstream."""

    standing = app[STANDING]

    async def handler(request: web.Request) -> web.StreamResponse:
        services = standing.services
        if services.late:
            raise Draining
        # Before the body is read: saying no must cost next to nothing.
        services.pressure.admit(len(services.pipeline.running) + 1)
        question = await read_json(request)
        if completed is not None:
            question = completed(request, question)
        if says_nothing is not None:
            reply = says_nothing(services, question)
            if reply is not None:
                return web.Response(body=orjson.dumps(reply), content_type="application/json")
        behind = fallbacks_in(question) if dialect.name == "openai" else ()
        asked = Asked(dialect, dialect.parse_request(question), question, behind)
        return await answered(services, request, asked, Trace(request[REQUEST_ID]))

    return handler


def fallbacks_in(body: Json) -> tuple[str, ...]:
    """OpenRouter's `models`: whom to ask behind `model`, or in its place. It is taken out of the
    body, since no upstream knows these names. Raises BadRequest."""
    if not isinstance(body, dict) or "models" not in body:
        return ()
    models = reading.texts(body, "models")
    if len(models) > MAX_NAMES:
        reading.bad("models", f"has {len(models)} names; {MAX_NAMES} pass.")
    del body["models"]
    if models and body.get("model") is None:
        body["model"], models = models[0], models[1:]
    return models


async def answered(
    services: Services, request: web.Request, asked: Asked, trace: Trace, before: bytes = b""
) -> web.StreamResponse:
    """The pipeline's answer. `before` stands in front of a stream. Raises GatewayError only
    before the first bytes are sent."""
    asked.caller = request[CALLER]
    pipeline = services.pipeline
    write_s = pipeline.walker.settings.write_s
    if not asked.request.stream:
        body = await pipeline.whole(asked, trace)
        if len(body) > LARGE:
            json = {"Content-Type": "application/json", **_headers(asked, trace)}
            return await Outgoing(request, lambda: CIMultiDict(json), write_s).whole(body)
        return Short(body, _headers(asked, trace))

    def headers() -> CIMultiDict[str]:
        kind = {"Content-Type": asked.dialect.framing.content_type}
        return CIMultiDict({**kind, **_headers(asked, trace), **STREAM_HEADERS})

    out = Outgoing(request, headers, write_s, before)
    try:
        async with aclosing(pipeline.stream(asked, trace, out.quiet, out)) as pieces:
            first = await anext(pieces)
            response = await out.open()
            write = out.write
            await write(first)
            async for piece in pieces:
                await write(piece)
    except asyncio.CancelledError:
        out.give_up()
        raise
    await out.end(response)
    return response


def _headers(asked: Asked, trace: Trace) -> dict[str, str]:
    # Anthropic's clients read the second one.
    headers = {"X-Request-Id": trace.request_id, "Request-Id": trace.request_id}
    # A caller can write anything as a model; only what can stand in a header does.
    if trace.target.isascii() and trace.target.isprintable():
        headers["X-Pointsman-Target"] = trace.target
    if trace.headers:
        headers.update(trace.headers)
    if asked.grant is not None:
        headers.update(asked.grant.headers)
    return headers
