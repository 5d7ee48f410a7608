"""Around every handler: the request's id, and errors in the caller's own dialect."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from time import monotonic

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from chat.errors import (
    BadRequest,
    BudgetReached,
    GatewayError,
    LimitReached,
    MethodNotAllowed,
    NoTargetLeft,
    NotFound,
    QueueFull,
    TooLarge,
    UpstreamError,
)
from dialects.ascii_json import ascii_json
from dialects.base import InboundDialect
from dialects.complete import CompleteDialect
from dialects.retry_after import MAX_WAIT_S
from gateway.direct import Short, Whole
from gateway.engine.ports import OPEN, Caller
from gateway.monitor.access import Visit
from gateway.store.faults import is_of_the_store

REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
OWN = CompleteDialect()
OVERLOADED = {"anthropic": 529}
"""A language's own status for "come back later", which its SDK has a class for; 503 elsewhere
(PROTOCOLS 6.7)."""

CHATS = frozenset(
    (
        *("/complete", "/v1/chat/completions", "/chat/completions", "/chat/completions/stream"),
        *("/v1/responses", "/v1/messages", "/api/chat", "/api/generate"),
    )
)
"""Doors of chats: a POST route each, without a pattern, which asks `Pressure` before all else."""
QUESTIONS = CHATS | {"/v1/embeddings", "/api/embed", "/api/embeddings"}
"""Paths whose answers are settled, and so have their line in the access log."""
QUESTION_PATTERNS = frozenset(
    (
        *("/v1/models/{call}", "/v1beta/models/{call}", "/v1alpha/models/{call}"),
        *("/v1beta/{call}", "/chat/{provider}"),
    )
)
NAMES = frozenset(path[1:] for path in QUESTIONS)
"""As clients ask for them whose base URL ends in a slash."""

STORE_AGAIN_S = 2.0

log = logging.getLogger("pointsman.door")

Identify = Callable[[web.Request], Caller]
"""Who asks. Raises NotIdentified or NotAllowed."""


Early = Callable[[web.Request], web.StreamResponse | None]
"""What is answered before anybody is known. Raises GatewayError."""
Mark = Callable[[web.Request, web.StreamResponse], None]
"""Adds the headers that every answer has. What sends its headers by itself calls it before."""


def anybody(request: web.Request) -> Caller:
    return OPEN


def nothing(request: web.Request) -> None:
    return None


def plain(request: web.Request, response: web.StreamResponse) -> None:
    return None


def new_request_id() -> str:
    """24 hex digits: the milliseconds since 1970, then chance; a name, not a secret. In the order
    of time, as the ledger has an index of them: with random ones a row costs twice the CPU."""
    return f"{time.time_ns() // 1_000_000 << 48 | random.getrandbits(48):024x}"


def door(
    dialect_of: Callable[[web.Request], InboundDialect | None],
    identify: Identify = anybody,
    early: Early = nothing,
    mark: Mark = plain,
    visited: Callable[[Visit], None] | None = None,
) -> Middleware:
    """The only middleware, as each one costs every request 2 µs. `dialect_of`: request -> the
    language in which its errors are told; None for our own. `visited` is told of each request that
    no settlement tells of."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-Id")
        request_id = given if given is not None and GIVEN_ID.fullmatch(given) else new_request_id()
        request[REQUEST_ID] = request_id
        began = monotonic()
        try:
            response = early(request)
            if response is None:
                request[CALLER] = identify(request)
                if type(request) is not Whole and request.path.startswith("//"):
                    handler = await _one_slash(request)
                response = await handler(request)
        except GatewayError as error:
            failure = error
        except web.HTTPException as given_up:
            if given_up.status < 400:
                mark(request, given_up)
                raise
            failure = _of_http(given_up, request)
        except Exception as fault:
            failure = _of_ours(fault, request)
        else:
            if type(response) is Short:
                if type(request) is Whole and hdrs.ORIGIN not in request.headers:
                    # All that it has to say is in it.
                    return response
                response = response.full()
            # Cheaper than aiohttp's signal, which is awaited for each answer. What streams marks
            # itself before it begins.
            if type(response) is web.Response:
                mark(request, response)
            if visited is not None and request.path not in QUESTIONS:
                _visit(visited, request, response.status, None, began)
            return response
        # Its frames hold it, as this one does.
        failure.__traceback__ = None
        told = error_response(failure, dialect_of(request) or OWN, request_id)
        mark(request, told)
        if visited is not None and not failure.settled:
            _visit(visited, request, told.status, failure, began)
        return told

    return around


def error_response(error: GatewayError, dialect: InboundDialect, request_id: str) -> web.Response:
    headers = {"X-Request-Id": request_id, "Request-Id": request_id}
    tried = isinstance(error, UpstreamError | NoTargetLeft) and error.status not in (429, 503)
    if tried or isinstance(error, BudgetReached):
        # We asked again already, or it would not help. SDKs that ask again by themselves would
        # multiply the attempts by three.
        headers["X-Should-Retry"] = "false"
    if error.retry_after is not None:
        wait = min(error.retry_after, MAX_WAIT_S)
        headers["Retry-After"] = str(max(1, round(wait)))
    headers.update(error.headers)
    if isinstance(error, MethodNotAllowed) and error.code:
        headers["Allow"] = error.code
    return web.Response(
        status=OVERLOADED.get(dialect.name, 503) if error.kind == "overloaded" else error.status,
        body=ascii_json(dialect.render_error(error)),
        content_type="application/json",
        headers=headers,
    )


def _visit(
    visited: Callable[[Visit], None],
    request: web.Request,
    status: int,
    failure: GatewayError | None,
    began: float,
) -> None:
    place = _place(request)
    if failure is None and (place in QUESTION_PATTERNS or request.path.lstrip("/") in NAMES):
        return
    visited(
        Visit(
            request[REQUEST_ID],
            request.method,
            place,
            status,
            request[CALLER].id if CALLER in request else None,
            failure.kind if failure is not None else None,
            1000 * (monotonic() - began),
        )
    )


def _place(request: web.Request) -> str:
    """The pattern of its route; "" for none."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _of_ours(fault: Exception, request: web.Request) -> GatewayError:
    fields = {
        "request_id": request[REQUEST_ID],
        "method": request.method,
        "route": _place(request),
        "caller": request[CALLER].id if CALLER in request else "",
    }
    if is_of_the_store(fault):
        said = (str(fault).splitlines() or [type(fault).__name__])[0][:200]
        log.error("a store failed", extra={"fields": {**fields, "error": said}})
        return QueueFull(
            "What this needs cannot be read or written just now. Ask again.",
            code="store_unavailable",
            retry_after=STORE_AGAIN_S,
        )
    log.error("a fault of ours", exc_info=fault, extra={"fields": fields})
    return GatewayError("The gateway failed. The log has the request's id.")


async def _one_slash(request: web.Request) -> Handler:
    """The handler of //path as of /path: so it comes from clients whose base URL ends in a slash
    (PROTOCOLS 5.1)."""
    single = request.clone(rel_url=request.rel_url.with_path("/" + request.path.lstrip("/")))
    match = await request.app.router.resolve(single)
    request.match_info.update(match)
    return match.handler


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
