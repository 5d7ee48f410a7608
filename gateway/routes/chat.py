"""One handler for every dialect: the path's row names the language."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import orjson
from aiohttp import web
from multidict import CIMultiDict

from chat.errors import BadRequest, Draining, NotFound
from chat.request import Json
from chat.trace import Trace
from dialects.anthropic import AnthropicDialect
from dialects.base import InboundDialect
from dialects.complete import CompleteDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect, OllamaGenerateDialect
from dialects.openai import OpenAiDialect
from gateway.engine.ports import Asked
from gateway.middleware import REQUEST_ID
from gateway.services import SERVICES

OPENAI = OpenAiDialect()
GEMINI = GeminiDialect()

ROWS: dict[str, InboundDialect] = {
    "/complete": CompleteDialect(),
    "/v1/chat/completions": OPENAI,
    # Some builds of Copilot forget the /v1 (PROTOCOLS 0.2).
    "/chat/completions": OPENAI,
    "/v1/messages": AnthropicDialect(),
    "/api/chat": OllamaDialect(),
    "/api/generate": OllamaGenerateDialect(),
}
"""Path -> dialect. A new inbound dialect is one line here."""

GEMINI_VERSIONS = ("v1", "v1beta", "v1alpha")
GEMINI_METHODS = {"generateContent": False, "streamGenerateContent": True}

# No proxy on the way may keep a chunk back, pack it or store it.
STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}

JSON_TYPES = frozenset(
    (
        "",
        "application/json",
        "application/octet-stream",
        # curl -d says this of any body, and Ollama's clients send text/plain.
        "application/x-www-form-urlencoded",
        "text/plain",
        "text/json",
    )
)


def register(app: web.Application) -> None:
    for path, dialect in ROWS.items():
        app.router.add_post(path, serve_chat(dialect))
    for version in GEMINI_VERSIONS:
        app.router.add_post(f"/{version}/models/{{call:.+}}", serve_chat(GEMINI, gemini_question))


def dialect_of(path: str) -> InboundDialect | None:
    """The language in which an error at this path is told; None for our own."""
    known = ROWS.get(path)
    if known is None and "/models/" in path and ":" in path:
        return GEMINI
    return known


def gemini_question(request: web.Request, body: Json) -> Json:
    """The model and the kind of answer stand in Gemini's path, split at the last colon."""
    model, _, method = request.match_info["call"].rpartition(":")
    if method not in GEMINI_METHODS:
        raise NotFound(f"There is no method {method[:100]!r} of a model.")
    if isinstance(body, dict):
        body["model"] = model
        body["stream"] = GEMINI_METHODS[method]
    return body


def serve_chat(
    dialect: InboundDialect, completed: Callable[[web.Request, Json], Json] | None = None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """`completed` adds to the body what a language says elsewhere."""
    stream_type = dialect.framing.content_type

    async def handler(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        if services.draining:
            raise Draining("This gateway is stopping. Ask again.", retry_after=1)
        question = await read_json(request)
        if completed is not None:
            question = completed(request, question)
        asked = Asked(dialect, dialect.parse_request(question), question)
        trace = Trace(request[REQUEST_ID])
        if not asked.request.stream:
            body = await services.pipeline.whole(asked, trace)
            whole = _headers(trace, "application/json")
            return web.Response(body=body, headers=whole)
        async with aclosing(services.pipeline.stream(asked, trace)) as pieces:
            first = await anext(pieces)
            headers = _headers(trace, stream_type)
            headers.update(STREAM_HEADERS)
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            write = response.write
            await write(first)
            async for piece in pieces:
                await write(piece)
        await response.write_eof()
        return response

    return handler


def _headers(trace: Trace, content_type: str) -> CIMultiDict[str]:
    headers = CIMultiDict({"Content-Type": content_type, "X-Request-Id": trace.request_id})
    # A caller can write anything as a model; only what can stand in a header does.
    if trace.target.isascii() and trace.target.isprintable():
        headers["X-Pointsman-Target"] = trace.target
    return headers


async def read_json(request: web.Request) -> Json:
    """The body as JSON. Raises BadRequest: 400 for what is no JSON, 415 for another type."""
    content_type = request.headers.get("Content-Type", "")
    if content_type != "application/json":
        _check_type(content_type)
    raw = await request.read()
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as fault:
        raise BadRequest(_why(raw, fault), code="invalid_json") from None


def _check_type(content_type: str) -> None:
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    if kind not in JSON_TYPES and not kind.endswith("+json"):
        failure = BadRequest(
            f"The body must be application/json, not {kind[:100]}.", param="Content-Type"
        )
        failure.status = 415
        raise failure
    charset = parameters.partition("charset=")[2].strip(' "')
    if charset and charset not in ("utf-8", "utf8", "us-ascii"):
        failure = BadRequest("The body must be UTF-8.", param="Content-Type")
        failure.status = 415
        raise failure


def _why(raw: bytes, fault: orjson.JSONDecodeError) -> str:
    if not raw.strip():
        return "The body is empty; it must be a JSON object."
    try:
        raw.decode()
    except UnicodeDecodeError as broken:
        return f"The body is not UTF-8: byte {broken.start} cannot be decoded."
    return f"The body is not JSON: {fault.msg} (line {fault.lineno}, column {fault.colno})."
