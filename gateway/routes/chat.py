"""One handler for every dialect: the path's row names the language."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import orjson
from aiohttp import web
from multidict import CIMultiDict

from chat.errors import BadRequest, Draining
from chat.request import Json
from chat.trace import Trace
from dialects.base import InboundDialect
from dialects.complete import CompleteDialect
from gateway.engine.ports import Asked
from gateway.middleware import REQUEST_ID
from gateway.services import SERVICES

ROWS: dict[str, InboundDialect] = {
    "/complete": CompleteDialect(),
}
"""Path -> dialect. A new inbound dialect is one line here."""

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


def serve_chat(dialect: InboundDialect) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    stream_type = dialect.framing.content_type

    async def handler(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        if services.draining:
            raise Draining("This gateway is stopping. Ask again.", retry_after=1)
        question = await read_json(request)
        asked = Asked(dialect, dialect.parse_request(question), question)
        request_id = request[REQUEST_ID]
        trace = Trace(request_id)
        if not asked.request.stream:
            body = await services.pipeline.whole(asked, trace)
            return web.Response(
                body=body, headers={"X-Request-Id": request_id, "Content-Type": "application/json"}
            )
        async with aclosing(services.pipeline.stream(asked, trace)) as pieces:
            first = await anext(pieces)
            headers = CIMultiDict(STREAM_HEADERS)
            headers["X-Request-Id"] = request_id
            headers["Content-Type"] = stream_type
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            write = response.write
            await write(first)
            async for piece in pieces:
                await write(piece)
        await response.write_eof()
        return response

    return handler


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
