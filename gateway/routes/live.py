"""What happens now: WS /ws/monitoring, the same over SSE, a snapshot, and the last requests."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Mapping

import orjson
from aiohttp import WSCloseCode, web
from aiohttp_sse import EventSourceResponse, sse_response
from sqlalchemy.exc import SQLAlchemyError

from chat.errors import BadRequest, Draining, GatewayError, NotFound
from chat.request import Json
from dialects import reading
from gateway.engine.ports import Caller, Settlement
from gateway.middleware import CALLER
from gateway.monitor.hub import Hub, Sources, Watcher
from gateway.monitor.share import Share
from gateway.routes import books
from gateway.routes.outgoing import MarkedEvents
from gateway.routes.waiting import Waiting
from gateway.routes.wire import WIRES, Closed, Wire, first_of, told
from gateway.services import SERVICES, Services

HUB = web.AppKey("hub", Hub)
MOST = 200
LONGEST = 300
"""Characters of a filter."""
MARK = re.compile(r"[0-9]{1,19}|[0-9.]{1,18}~[A-Za-z0-9._-]{1,64}")


def register(app: web.Application) -> None:
    app.router.add_get("/ws/monitoring", watch)
    app.router.add_get("/monitoring", snapshot)
    app.router.add_get("/monitoring/events", events)
    app.router.add_get("/monitoring/requests", requests)
    app.router.add_get("/monitoring/requests/{request_id}", one)


async def hub(app: web.Application) -> AsyncGenerator[None, None]:
    """Lives as long as the parts that it looks at."""
    services = app[SERVICES]
    money = books.Money(services.database)
    # Not every gateway has a queue.
    jobs = getattr(services, "jobs", None)
    waiting = Waiting(jobs) if jobs is not None else None
    app[HUB] = live = Hub(
        _sources(services, money, waiting or (lambda: None)), catch_up=services.recorder.write
    )
    services.recorder.books.append(live.settled)
    tasks = [asyncio.create_task(live.run()), asyncio.create_task(money.run())]
    if waiting is not None:
        tasks.append(asyncio.create_task(waiting.run()))
    if services.redis is not None:
        tasks.append(asyncio.create_task(Share(live, services.redis).run()))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def watch(request: web.Request) -> web.StreamResponse:
    services = request.app[SERVICES]
    if services.draining:
        raise Draining
    wire = Wire(request, services, request.app[WIRES])
    try:
        await wire.open()
        await _Feed(wire, request.app[HUB]).run()
    except Closed as closed:
        await wire.close(closed)
    return wire.socket


class _Feed:
    """One watcher's socket."""

    def __init__(self, wire: Wire, live: Hub) -> None:
        self._wire = wire
        self._live = live
        self._going = asyncio.Event()
        self._going.set()
        self._watcher = live.watch(wire.caller)

    async def run(self) -> None:
        """Until the connection ends. Raises Closed."""
        await first_of(self._listen(), self._write(), self._stopped(), self._wire.ping())

    async def _listen(self) -> None:
        async for message in self._wire.messages():
            kind = message.get("type")
            if kind == "pause":
                self._going.clear()
            elif kind == "continue":
                self._watcher = self._live.watch(self._wire.caller)
                self._going.set()
            else:
                error = BadRequest(f"There is no message of type {str(kind)[:50]!r} here.")
                error.param = "type"
                await self._wire.send({"type": "error", **told(error)})

    async def _write(self) -> None:
        while True:
            await self._going.wait()
            message = await self._watcher.following()
            if self._going.is_set():
                await self._allowed()
                await self._wire.send(message)

    async def _allowed(self) -> None:
        """A code may have been revoked since. Raises Closed."""
        try:
            await self._wire.identify()
        except GatewayError as error:
            raise Closed(4401, error.message) from None

    async def _stopped(self) -> None:
        await self._wire.stopping.wait()
        raise Closed(WSCloseCode.GOING_AWAY)


async def events(request: web.Request) -> web.StreamResponse:
    """The socket's feed over SSE."""
    if request.app[SERVICES].draining:
        raise Draining
    watcher = request.app[HUB].watch(request[CALLER])
    stopping = asyncio.create_task(request.app[WIRES].stopping.wait())
    try:
        async with sse_response(request, response_cls=MarkedEvents) as response:
            while response.is_connected() and not stopping.done():
                await _told(response, watcher, stopping)
    finally:
        stopping.cancel()
    return response


async def _told(
    response: EventSourceResponse, watcher: Watcher, stopping: asyncio.Task[bool]
) -> None:
    following = asyncio.create_task(watcher.following())
    try:
        await asyncio.wait((following, stopping), return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            message = following.result()
            await response.send(orjson.dumps(message).decode(), event=message["type"])
    finally:
        following.cancel()


async def snapshot(request: web.Request) -> web.Response:
    return _json(request.app[HUB].watch(request[CALLER]).snapshot())


async def requests(request: web.Request) -> web.Response:
    """A page of the last requests, newest first: from the ledger, or from memory without it."""
    wanted = _wanted(request)
    mark = request.query.get("before")
    try:
        if mark is not None and "~" in mark:
            raise _Unknown
        rows, last = await books.page(request.app[SERVICES].database, wanted)
        following, source = None if last is None else str(last), "ledger"
    except (SQLAlchemyError, _Unknown):
        rows, following = _remembered(request.app[HUB].seen(wanted.scope), wanted, mark)
        source = "memory"
    return _json({"requests": rows, "next": following, "source": source})


async def one(request: web.Request) -> web.Response:
    """This process still knows more of it than the ledger, for a while."""
    asked, scope = request.match_info["request_id"], _scope(request[CALLER])
    for row in request.app[HUB].seen(scope):
        if row["request_id"] == asked:
            return _json(row)
    with contextlib.suppress(SQLAlchemyError):
        kept = await books.one(request.app[SERVICES].database, scope, asked)
        if kept is not None:
            return _json(kept)
    raise NotFound(f"No request {asked[:64]!r} is known.")


class _Unknown(Exception):
    """A mark of the memory's pages."""


def _scope(caller: Caller) -> str | None:
    return None if caller.admin else caller.id


def _wanted(request: web.Request) -> books.Wanted:
    """Raises BadRequest."""
    caller, query = request[CALLER], request.query
    known = {*books.FILTERS, "caller", "since", "until", "limit", "before"}
    for name in query:
        if name not in known:
            reading.bad(name[:50], f"is not known here; known: {', '.join(sorted(known))}.")
    for name, value in query.items():
        if "\0" in value or len(value) > LONGEST:
            reading.bad(name, f"must have at most {LONGEST} characters, none of them null.")
    if "caller" in query and not caller.admin:
        reading.bad("caller", "is an admin's filter.")
    before = query.get("before")
    if before is not None and not MARK.fullmatch(before):
        reading.bad("before", "must be the `next` of an answer from here.")
    return books.Wanted(
        scope=_scope(caller),
        exact={name: query[name] for name in books.FILTERS if name in query},
        caller=query.get("caller"),
        since=_number(query, "since", float, 0, 1e11),
        until=_number(query, "until", float, 0, 1e11),
        before=min(int(before), 2**63 - 1) if before is not None and "~" not in before else None,
        limit=int(_number(query, "limit", int, 1, MOST) or 50),
    )


def _remembered(
    rows: list[dict[str, Json]], wanted: books.Wanted, mark: str | None
) -> tuple[list[dict[str, Json]], str | None]:
    """A page of this process's own, and the mark of the one behind it."""
    kept = [row for row in rows if _fits(row, wanted)]
    start = 0
    if mark is not None:
        at = float(mark.partition("~")[0])
        names = [_mark(row) for row in kept]
        gone = next((number for number, row in enumerate(kept) if row["at"] < at), len(kept))
        start = names.index(mark) + 1 if mark in names else gone
    found = kept[start : start + wanted.limit]
    more = len(kept) > start + wanted.limit
    return found, _mark(found[-1]) if found and more else None


def _fits(row: dict[str, Json], wanted: books.Wanted) -> bool:
    return (
        all(row[field] == value for field, value in wanted.exact.items())
        and (wanted.since is None or row["at"] >= wanted.since)
        and (wanted.until is None or row["at"] < wanted.until)
        and (wanted.caller is None or wanted.caller in (row["caller"], row["caller_id"]))
    )


def _mark(row: dict[str, Json]) -> str:
    return f"{row['at']}~{row['request_id']}"


def _number(
    query: Mapping[str, str], name: str, kind: Callable[[str], float], low: float, high: float
) -> float | None:
    given = query.get(name)
    if given is None:
        return None
    try:
        value = kind(given)
    except ValueError:
        value = -1
    if not low <= value <= high:
        reading.bad(name, f"must be a number from {low:g} to {high:g}.")
    return value


def _sources(services: Services, money: books.Money, queue: Callable[[], Json]) -> Sources:
    def in_flight(caller: str | None) -> int:
        running = services.pipeline.running
        if caller is None:
            return len(running)
        return sum(run.asked.caller.id == caller for run in running)

    def targets() -> list[str]:
        found: dict[str, None] = {}
        for name in services.settings.routes:
            for tier in services.router.tiers(name).values():
                found.update(dict.fromkeys(target.name for target in tier))
        return list(found)

    def cost(settlement: Settlement) -> str | None:
        """Of all its attempts that were billed, as far as they are known."""
        nanos = [
            services.prices.nano(one.target.provider.name, one.target.model, one.usage)
            for one in settlement.attempts
            if one.outcome == "finished" or one.usage.total_tokens is not None
        ]
        known = [nano for nano in nanos if nano is not None]
        return books.amount(sum(known)) if known and len(known) == len(nanos) else None

    return Sources(
        in_flight=in_flight,
        targets=targets,
        resting=lambda name: services.rests.resting(name),
        queue=queue,
        money=money,
        cost=cost,
    )


def _json(body: Json) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "Vary": "Accept"},
    )
