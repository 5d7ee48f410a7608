"""What callers say of answers; what is kept of them, exported and deleted."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web

from chat.request import Json
from dialects import reading
from gateway.feedback.keeper import Said
from gateway.middleware import CALLER
from gateway.routes.access import require_admin
from gateway.routes.bodies import read_json
from gateway.routes.outgoing import prepare
from gateway.services import SERVICES

VALUES = ("good", "bad", "other_tier", "score")
FIELDS = frozenset(("request_id", "value", "score", "better_model", "comment"))
MAX_COMMENT = 4000
MAX_ID = 64


def register(app: web.Application) -> None:
    app.router.add_post("/feedback", say)
    app.router.add_get("/feedback/export", export)
    app.router.add_delete("/feedback/{request_id}", forget)
    app.router.add_delete("/feedback", forget_caller)


async def say(request: web.Request) -> web.Response:
    keeper = request.app[SERVICES].feedback
    said = read_said(reading.body_object(await read_json(request)))
    await keeper.say(said, request[CALLER])
    return _json({"status": "ok", "request_id": said.request_id})


async def export(request: web.Request) -> web.StreamResponse:
    """JSON lines, for `make train`."""
    require_admin(request)
    wish = request.query.get("labelled", "true")
    if wish not in ("true", "false"):
        reading.bad("labelled", "must be true or false.")
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    keeper = request.app[SERVICES].feedback
    await prepare(request, response)
    async for row in keeper.export(labelled_only=wish == "true"):
        await response.write(orjson.dumps(row) + b"\n")
    await response.write_eof()
    return response


async def forget(request: web.Request) -> web.Response:
    request_id = request.match_info["request_id"]
    _id(request_id, "request_id")
    count = await request.app[SERVICES].feedback.forget(request_id, request[CALLER])
    return _json({"status": "ok", "deleted": count})


async def forget_caller(request: web.Request) -> web.Response:
    """All that was kept of one caller: of himself, or, for the operator, of anybody."""
    caller = request[CALLER]
    wanted = request.query.get("caller", caller.id)
    _id(wanted, "caller")
    if wanted != caller.id:
        require_admin(request)
    count = await request.app[SERVICES].feedback.forget_caller(wanted)
    return _json({"status": "ok", "deleted": count})


def _id(text: str, param: str) -> None:
    """PostgreSQL knows no null characters. Raises BadRequest."""
    if not 1 <= len(text) <= MAX_ID or not text.isprintable():
        reading.bad(param, f"must be 1 to {MAX_ID} printable characters.")


def read_said(body: Mapping[str, Json]) -> Said:
    """Raises BadRequest naming the field."""
    unknown = sorted(set(body) - FIELDS)
    if unknown:
        reading.bad(unknown[0][:50], f"is not one of {', '.join(sorted(FIELDS))}.")
    request_id = reading.filled_text(body, "request_id")
    _id(request_id, "request_id")
    score = reading.number(body, "score", low=0, high=1)
    value = reading.optional_text(body, "value") or ("score" if score is not None else None)
    if value is None:
        reading.bad("value", f"is required: one of {', '.join(VALUES)}.")
    if value not in VALUES:
        reading.bad("value", f"must be one of {', '.join(VALUES)}, not {value[:50]!r}.")
    if (value == "score") is not (score is not None):
        reading.bad("score", "belongs to the value score, and is required there.")
    better = reading.optional_text(body, "better_model")
    if better is not None and (len(better) > 200 or not better.isprintable() or not better):
        reading.bad("better_model", "must be 1 to 200 printable characters.")
    comment = reading.optional_text(body, "comment")
    if comment is not None and (len(comment) > MAX_COMMENT or "\0" in comment):
        reading.bad("comment", f"must be at most {MAX_COMMENT} characters without null bytes.")
    return Said(request_id, value, score, better, comment)


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
