"""GET /complete: our own stream for a page's EventSource, which can only GET.

An EventSource connects again by itself when a stream ends or breaks, and would ask and pay twice.
So the stream begins with an id, which it sends back as Last-Event-ID, and whoever sends one is
told 204, after which it asks no more. The last event has `done`: a page closes it then.
"""

from __future__ import annotations

import contextlib

from aiohttp import hdrs, web

from chat.errors import BadRequest, Draining, NotAllowed
from chat.request import Json
from chat.trace import Trace
from dialects.complete import CompleteDialect
from gateway.engine.ports import Asked
from gateway.middleware import REQUEST_ID
from gateway.routes.chat import answered
from gateway.services import SERVICES

DIALECT = CompleteDialect()
NUMBERS = {"max_tokens": int, "temperature": float}


def register(app: web.Application) -> None:
    # A HEAD must not ask a model.
    app.router.add_get("/complete", complete, allow_head=False)


async def complete(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Last-Event-ID"):
        return web.Response(status=204)
    _check(request)
    services = request.app[SERVICES]
    if services.late:
        raise Draining
    question: Json = {name: _value(name, text) for name, text in request.query.items()}
    asked = Asked(DIALECT, DIALECT.parse_request(question), question)
    return await answered(services, request, asked, Trace(request[REQUEST_ID]), _id(request))


def _id(request: web.Request) -> bytes:
    """A block of its own: it holds from the first byte on and is no event."""
    return b"id: %b\n\n" % request[REQUEST_ID].encode()


def _check(request: web.Request) -> None:
    """Any page can make a browser send a GET, as a picture or a link; none of them asks for an
    event stream, and a fetch that does says whence it comes. Raises BadRequest, NotAllowed."""
    headers = request.headers
    if "text/event-stream" not in headers.get(hdrs.ACCEPT, ""):
        failure = BadRequest(
            "GET /complete is for an EventSource: send Accept: text/event-stream, or POST.",
            param="Accept",
        )
        failure.status = 406
        raise failure
    if hdrs.ORIGIN in headers:
        # origins.py knows this one.
        return
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise NotAllowed("A page of another site may not ask here.", code="origin_not_allowed")


def _value(name: str, text: str) -> Json:
    """What is no number stays text, and is refused by name."""
    kind = NUMBERS.get(name)
    if kind is not None:
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
