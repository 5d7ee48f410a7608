"""Around every handler: the request's id, and errors in the caller's own dialect."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from chat.errors import (
    BadRequest,
    GatewayError,
    LimitReached,
    MethodNotAllowed,
    NotFound,
    TooLarge,
)
from dialects.base import InboundDialect
from dialects.complete import CompleteDialect

REQUEST_ID = web.RequestKey("request_id", str)
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
OWN = CompleteDialect()
MAX_RETRY_AFTER = 60.0
"""Seconds. Some SDKs sleep as long as they are told, without a limit (PROTOCOLS 3.3)."""

log = logging.getLogger("pointsman.door")


def door(dialect_of: Callable[[str], InboundDialect | None]) -> Middleware:
    """`dialect_of`: path -> the language in which its errors are told; None for our own."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-Id")
        request_id = (
            given
            if given is not None and GIVEN_ID.fullmatch(given)
            # A name, not a secret.
            else f"{random.getrandbits(96):024x}"
        )
        request[REQUEST_ID] = request_id
        try:
            return await handler(request)
        except GatewayError as error:
            failure = error
        except web.HTTPException as answer:
            if answer.status < 400:
                raise
            failure = _of_http(answer, request)
        except Exception:
            log.exception("a fault of ours", extra={"fields": {"request_id": request_id}})
            failure = GatewayError("The gateway failed. The log has the request's id.")
        return error_response(failure, dialect_of(request.path) or OWN, request_id)

    return around


def error_response(error: GatewayError, dialect: InboundDialect, request_id: str) -> web.Response:
    headers = {"X-Request-Id": request_id}
    if error.retry_after is not None:
        wait = min(error.retry_after, MAX_RETRY_AFTER)
        headers["Retry-After"] = str(max(1, round(wait)))
    if isinstance(error, MethodNotAllowed) and error.code:
        headers["Allow"] = error.code
    return web.Response(
        status=error.status,
        body=orjson.dumps(dialect.render_error(error)),
        content_type="application/json",
        headers=headers,
    )


def _of_http(answer: web.HTTPException, request: web.Request) -> GatewayError:
    if isinstance(answer, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(answer.allowed_methods))
        return MethodNotAllowed(
            f"{request.path} takes {allowed}, not {request.method}.", code=allowed
        )
    if isinstance(answer, web.HTTPRequestEntityTooLarge):
        return TooLarge("The body is too large.", param="body")
    if answer.status == 404:
        return NotFound(f"There is nothing at {request.path}.")
    if answer.status == 429:
        return LimitReached(answer.reason)
    failure = BadRequest(answer.reason)
    failure.status = answer.status
    return failure
