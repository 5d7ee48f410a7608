"""Questions that are answered later: put in, looked at, followed, cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace

import orjson
from aiohttp import web
from aiohttp_sse import sse_response

from chat.errors import BadRequest, Draining, GatewayError, ModelNotFound, NotAllowed, TooLarge
from chat.request import ChatRequest, Json, Text, ToolResult
from dialects import reading
from dialects.complete import error_object
from gateway.engine.ports import Caller
from gateway.jobs.job import STATES, Job, Search
from gateway.jobs.question import DIALECTS
from gateway.jobs.service import Asking, shown
from gateway.middleware import CALLER
from gateway.routes import bodies
from gateway.routes.bodies import read_json
from gateway.routes.chat import fallbacks_in
from gateway.routes.listing import target_of
from gateway.routes.outgoing import MarkedEvents
from gateway.services import SERVICES, Services
from providers.guard import RefusedAddressError, resolve_public

HEADER = "X-Pointsman-Dialect"
KEY = re.compile(r"[\x21-\x7e]{1,200}")
LAST = re.compile(r"([0-9]{1,9})(\.end)?")
MAX_TEXT = 200
NDJSON_TYPES = ("application/x-ndjson", "application/jsonl", "application/ndjson")


def register(app: web.Application) -> None:
    app.router.add_post("/jobs", put)
    app.router.add_get("/jobs", search)
    app.router.add_post("/jobs/batch", batch)
    app.router.add_get("/jobs/{id}", look)
    app.router.add_delete("/jobs/{id}", cancel)
    app.router.add_get("/jobs/{id}/events", events)


async def put(request: web.Request) -> web.Response:
    """202 with the job; 200 when its Idempotency-Key is known."""
    services = _open(request)
    body = await read_json(request)
    given = await asking(services, request, body, _key(request))
    ((job_id, new),) = await services.jobs.put(given)
    told = await _told(services, await services.jobs.get(job_id, None))
    headers = {"Location": f"/jobs/{job_id}"}
    if not new:
        headers["Idempotent-Replayed"] = "true"
    return _json(told, 202 if new else 200, headers)


async def batch(request: web.Request) -> web.Response:
    """A list, {"requests": [...]}, or a line each: what cannot be is told by itself, the others
    are put in together."""
    services = _open(request)
    items = await _items(request)
    limit = services.settings.jobs.batch_limit
    if not items:
        raise BadRequest("The batch is empty.", param="requests")
    if len(items) > limit:
        raise BadRequest(
            f"The batch has {len(items)} requests; this gateway takes {limit}.", param="requests"
        )
    key = _key(request)
    rows: list[dict[str, Json]] = []
    good: list[tuple[dict[str, Json], Asking]] = []
    for index, item in enumerate(items):
        row: dict[str, Json] = {"index": index}
        rows.append(row)
        try:
            if isinstance(item, GatewayError):
                raise item
            one = await asking(services, request, item, f"{key}#{index}" if key else None)
            good.append((row, one))
        except GatewayError as error:
            row["error"] = error_object(error)
        if index % 50 == 49:
            # A long list must not keep others' streams waiting.
            await asyncio.sleep(0)
    if good:
        found = await services.jobs.put(*(one for _, one in good))
        for (row, _), (job_id, new) in zip(good, found, strict=True):
            row.update({"id": job_id, "status": "queued" if new else "known"})
    return _json({"object": "list", "data": rows, "queued": len(good)}, 202 if good else 400)


async def look(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    job = await services.jobs.get(request.match_info["id"], request[CALLER])
    return _json(await _told(services, job))


async def cancel(request: web.Request) -> web.Response:
    """The job as it is then: one that had ended stays as it ended."""
    services = request.app[SERVICES]
    job = await services.jobs.get(request.match_info["id"], request[CALLER])
    return _json(shown(await services.jobs.cancel(job), None))


async def search(request: web.Request) -> web.Response:
    services, caller = request.app[SERVICES], request[CALLER]
    jobs = await services.jobs.search(_search(request.query, caller))
    return _json(
        {
            "object": "list",
            "data": [{"number": job.seq, **shown(job, None)} for job in jobs],
            "next_before": jobs[-1].seq if jobs else None,
        }
    )


async def events(request: web.Request) -> web.StreamResponse:
    """SSE from the first event, or from the one behind Last-Event-ID, to the job's end."""
    services = request.app[SERVICES]
    job_id = request.match_info["id"]
    await services.jobs.get(job_id, request[CALLER])
    after, ended = _after(request)
    if ended:
        # An EventSource asks no more after this one.
        return web.Response(status=204)
    async with sse_response(
        request, headers={"X-Job-Id": job_id}, response_cls=MarkedEvents
    ) as out:
        async for name, number, data in services.jobs.follow(job_id, after):
            await out.send(orjson.dumps(data).decode(), id=number, event=name)
            if services.draining:
                break
    return out


async def asking(services: Services, request: web.Request, body: Json, key: str | None) -> Asking:
    """Raises BadRequest, TooLarge, ModelNotFound or NotAllowed."""
    body = dict(reading.body_object(body))
    named = reading.optional_text(body, "dialect") or request.headers.get(HEADER) or "complete"
    body.pop("dialect", None)
    if named not in DIALECTS:
        reading.bad("dialect", f"must be one of {', '.join(DIALECTS)}, not {named[:50]!r}.")
    webhook = reading.optional_text(body, "webhook")
    body.pop("webhook", None)
    if webhook is not None:
        await _check_webhook(services, webhook)
    try:
        digest = hashlib.sha256(
            orjson.dumps([named, webhook, body], option=orjson.OPT_SORT_KEYS)
        ).hexdigest()
    except orjson.JSONEncodeError:
        raise BadRequest("The body is nested too deep.") from None
    models = fallbacks_in(body) if named == "openai" else ()
    if named == "gemini":
        reading.filled_text(body, "model")
        body.setdefault("stream", False)
    question = DIALECTS[named].parse_request(body)
    _measure(question, services.settings.server.message_limit)
    _check_model(services, question)
    return Asking(
        caller=request[CALLER],
        door="jobs",
        type=question.model.replace("\0", "")[:MAX_TEXT],
        dialect=named,
        body=body,
        request=replace(question, stream=True),
        models=models,
        webhook=webhook,
        idem_key=key,
        digest=digest,
    )


def _open(request: web.Request) -> Services:
    services = request.app[SERVICES]
    if services.draining:
        raise Draining
    return services


async def _told(services: Services, job: Job) -> dict[str, Json]:
    return shown(job, await services.jobs.place(job))


async def _check_webhook(services: Services, url: str) -> None:
    settings = services.settings.jobs
    if not settings.webhook_secret:
        reading.bad("webhook", "cannot be told: this gateway has no jobs.webhook_secret.")
    try:
        await resolve_public(url, settings.webhook_allow)
    except RefusedAddressError as refused:
        reading.bad("webhook", f"cannot be used: {refused}.")


def _check_model(services: Services, question: ChatRequest) -> None:
    """A name that nobody has is a mistake now; a provider that is off may be on by then."""
    try:
        target_of(services, question.model)
    except ModelNotFound:
        raise
    except GatewayError:
        return


def _measure(question: ChatRequest, limit: int) -> None:
    size = sum(
        len(part.text)
        for message in question.messages
        for part in message.parts
        if isinstance(part, Text | ToolResult)
    )
    if size > limit:
        raise TooLarge(
            f"The messages have {size} characters; this gateway takes {limit}.", param="messages"
        )


def _key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        reading.bad("Idempotency-Key", "must have 1 to 200 printable ASCII characters.")
    return key


async def _items(request: web.Request) -> list[Json]:
    """The requests of a batch; a line that is no JSON stands there as its error."""
    kind = request.content_type.lower()
    if kind not in NDJSON_TYPES:
        whole = await read_json(request)
        if isinstance(whole, dict):
            whole = whole.get("requests")
        if not isinstance(whole, list):
            reading.bad("requests", f"must be a list, not {reading.kind_of(whole)}.")
        return whole
    found: list[Json] = []
    for line in (await bodies.read(request)).splitlines():
        if not line.strip():
            continue
        try:
            found.append(orjson.loads(line))
        except orjson.JSONDecodeError as fault:
            found.append(BadRequest(f"The line is not JSON: {fault.msg}.", code="invalid_json"))
    return found


def _search(query: Mapping[str, str], caller: Caller) -> Search:
    for name in query:
        if name not in ("status", "app", "q", "limit", "before"):
            reading.bad(name[:50], "is not known; there are status, app, q, limit and before.")
    status = query.get("status") or None
    if status is not None and status not in STATES:
        reading.bad("status", f"must be one of {', '.join(STATES)}, not {status[:50]!r}.")
    app = query.get("app") or None
    if not caller.admin:
        if app is not None and app != caller.id:
            raise NotAllowed("Only the admin sees the jobs of others.", param="app")
        app = caller.id
    text = query.get("q") or None
    if text is not None and (len(text) > MAX_TEXT or "\0" in text):
        reading.bad("q", f"must have at most {MAX_TEXT} characters, none of them null.")
    if app is not None and (len(app) > MAX_TEXT or "\0" in app):
        reading.bad("app", f"must have at most {MAX_TEXT} characters, none of them null.")
    return Search(
        app_id=app,
        status=status,
        text=text,
        limit=_number(query, "limit", 50, 1, 200),
        before=_number(query, "before", 2**62, 1, 2**62),
    )


def _number(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    given = query.get(name)
    if not given:
        return default
    if not given.isascii() or not given.isdecimal() or len(given) > 19:
        reading.bad(name, "must be a whole number.")
    if not low <= int(given) <= high:
        reading.bad(name, f"must be from {low} to {high}.")
    return int(given)


def _after(request: web.Request) -> tuple[int, bool]:
    """The number of the last event that was seen, and whether it was the end."""
    given = request.headers.get("Last-Event-ID") or request.query.get("last_event_id") or "0"
    match = LAST.fullmatch(given)
    if match is None:
        reading.bad("Last-Event-ID", "must be the id of an event of this job.")
    return int(match[1]), match[2] is not None


def _json(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers=headers,
    )
