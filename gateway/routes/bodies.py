"""A request's body as JSON, or a clear reason why it is none."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from chat.errors import BadRequest
from chat.request import Json
from gateway.no_http import BrokenBody
from gateway.services import SERVICES

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


async def read_json(request: web.Request) -> Json:
    """The body as JSON. Raises BadRequest: 400 for what is no JSON, 408 for what comes too
    slowly, 415 for another type."""
    content_type = request.headers.get("Content-Type", "")
    if content_type != "application/json":
        _check_type(content_type)
    raw = request._read_bytes
    if raw is None or len(raw) > request.client_max_size:
        raw = await read(request)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as fault:
        raise BadRequest(_why(raw, fault), code="invalid_json") from None


async def read(request: web.Request) -> bytes:
    """The body's bytes. Raises BadRequest with 408 when they take longer than server.body_s."""
    raw = request._read_bytes
    if raw is not None:
        # All of it came with the head: see direct.py.
        if len(raw) > request.client_max_size > 0:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size, len(raw))
        return raw
    limit = request.app[SERVICES].settings.server.body_s
    try:
        async with asyncio.timeout(limit):
            return await request.read()
    except TimeoutError:
        failure = BadRequest(
            f"The body did not come within {limit:g} s.", param="body", code="request_timeout"
        )
        failure.status = 408
        raise failure from None
    except BrokenBody as fault:
        raise BadRequest(str(fault), param="body", code="invalid_http") from None
    except web.RequestPayloadError:
        raise BadRequest(
            "The body is not packed as its Content-Encoding says.", param="Content-Encoding"
        ) from None


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
