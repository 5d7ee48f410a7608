"""What happens now: WS /ws/monitoring, the same over SSE, a snapshot, and the last requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

import orjson
from aiohttp import WSCloseCode, web
from aiohttp_sse import EventSourceResponse, sse_response

from chat.errors import BadRequest, Draining, GatewayError, NotFound
from chat.request import Json
from dialects import reading
from gateway.engine.ports import Caller, Settlement
from gateway.middleware import CALLER
from gateway.monitor.hub import Hub, Sources, Watcher
from gateway.monitor.share import Share
from gateway.routes.wire import WIRES, Closed, Wire, told
from gateway.services import SERVICES, Services

HUB = web.AppKey("hub", Hub)
MOST = 200
FILTERS = ("outcome", "error", "door", "route", "target", "provider", "model", "tier")


def register(app: web.Application) -> None:
    app.router.add_get("/ws/monitoring", watch)
    app.router.add_get("/monitoring", snapshot)
    app.router.add_get("/monitoring/events", events)
    app.router.add_get("/monitoring/requests", requests)
    app.router.add_get("/monitoring/requests/{request_id}", one)


async def hub(app: web.Application) -> AsyncGenerator[None, None]:
    """Lives as long as the parts that it looks at."""
    services = app[SERVICES]
    app[HUB] = live = Hub(_sources(services))
    services.recorder.listeners.append(live.settled)
    tasks = [asyncio.create_task(live.run())]
    if services.redis is not None:
        tasks.append(asyncio.create_task(Share(live, services.redis).run()))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def watch(request: web.Request) -> web.StreamResponse:
    services = request.app[SERVICES]
    if services.draining:
        raise Draining("This gateway is stopping. Ask again.", retry_after=1)
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
        works = (self._listen(), self._write(), self._stopped(), self._wire.ping())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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
        raise Draining("This gateway is stopping. Ask again.", retry_after=1)
    watcher = request.app[HUB].watch(request[CALLER])
    stopping = asyncio.create_task(request.app[WIRES].stopping.wait())
    try:
        async with sse_response(request, headers={"X-Accel-Buffering": "no"}) as response:
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
    """A page of the last requests, newest first."""
    caller, query = request[CALLER], request.query
    known = {*FILTERS, "caller", "since", "until", "limit", "before"}
    for name in query:
        if name not in known:
            reading.bad(name, f"is not known here; known: {', '.join(sorted(known))}.")
    limit = int(_number(query, "limit", int, 1, MOST) or 50)
    keep = _wanted(query, caller)
    rows = [row for row in request.app[HUB].seen(_scope(caller)) if keep(row)]
    start = _after(rows, query.get("before"))
    page = rows[start : start + limit]
    more = len(rows) > start + limit
    return _json(
        {
            "requests": page,
            "next": _mark(page[-1]) if page and more else None,
            "source": "memory",
        }
    )


async def one(request: web.Request) -> web.Response:
    asked = request.match_info["request_id"]
    for row in request.app[HUB].seen(_scope(request[CALLER])):
        if row["request_id"] == asked:
            return _json(row)
    raise NotFound(f"No request {asked[:64]!r} is known; it may be too long ago.")


def _scope(caller: Caller) -> str | None:
    return None if caller.admin else caller.id


def _wanted(query: Mapping[str, str], caller: Caller) -> Callable[[dict[str, Json]], bool]:
    exact = {name: query[name] for name in FILTERS if name in query}
    since = _number(query, "since", float, 0, 1e11)
    until = _number(query, "until", float, 0, 1e11)
    name = query.get("caller")
    if name is not None and not caller.admin:
        reading.bad("caller", "is an admin's filter.")

    def keep(row: dict[str, Json]) -> bool:
        return (
            all(row[field] == value for field, value in exact.items())
            and (since is None or row["at"] >= since)
            and (until is None or row["at"] < until)
            and (name is None or name in (row["caller"], row["caller_id"]))
        )

    return keep


def _mark(row: dict[str, Json]) -> str:
    return f"{row['at']}~{row['request_id']}"


def _after(rows: list[dict[str, Json]], before: str | None) -> int:
    """The place behind the row that the mark names, or behind its time when it is gone."""
    if before is None:
        return 0
    text, _, _ = before.partition("~")
    try:
        at = float(text)
    except ValueError:
        reading.bad("before", "must be the `next` of an answer from here.")
    for number, row in enumerate(rows):
        if _mark(row) == before:
            return number + 1
    return next((number for number, row in enumerate(rows) if row["at"] < at), len(rows))


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


def _sources(services: Services) -> Sources:
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
        return None

    return Sources(
        in_flight=in_flight,
        targets=targets,
        resting=lambda name: services.rests.resting(name),
        queue=lambda: None,
        money=lambda caller: None,
        cost=cost,
    )


def _json(body: Json) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "Vary": "Accept"},
    )
