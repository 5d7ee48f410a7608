"""WS /ws/chat: several conversations on one socket (docs/websockets.md)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

from aiohttp import WSCloseCode, web

from chat.errors import BadRequest, Draining, GatewayError, LimitReached, NotFound
from chat.events import Usage
from chat.request import Json
from chat.trace import Trace
from gateway.engine.ports import Asked
from gateway.routes.answers import Answers, Place, Readable
from gateway.routes.books import amount
from gateway.routes.far import Far
from gateway.routes.seeds import provider_named
from gateway.routes.socket_dialect import SocketDialect, completed
from gateway.routes.wire import WIRES, Closed, Wire, Wires, first_of, told
from gateway.services import SERVICES, Services

DIALECT = SocketDialect()
ID = re.compile(r"[A-Za-z0-9._-]{16,64}")
READS_MODELS = frozenset(("ollama", "llamacpp", "vllm"))
ANSWERS = web.AppKey("answers", Answers)
FAR = web.AppKey("far", Far)
"""Where there is a Redis."""


def register(app: web.Application) -> None:
    app.router.add_get("/ws/chat", chat)
    app[WIRES] = Wires()
    app.on_shutdown.append(_stop)


async def answers(app: web.Application) -> AsyncGenerator[None, None]:
    """Lives as long as the parts that it asks."""
    services = app[SERVICES]
    kept = Answers(
        services.pipeline,
        services.settings.web,
        lambda target: _loads(services, target),
        lambda trace, usage: _cost(services, trace, usage),
    )
    app[ANSWERS] = kept
    services.recorder.listeners.append(kept.settled)
    hearing: list[asyncio.Task[None]] = []
    if services.redis is not None:
        app[FAR] = far = Far(kept, services.redis)
        hearing.append(asyncio.create_task(far.run()))
    yield
    for task in hearing:
        task.cancel()
    await asyncio.gather(*hearing, return_exceptions=True)
    await kept.close()


async def chat(request: web.Request) -> web.StreamResponse:
    services, wires = request.app[SERVICES], request.app[WIRES]
    if services.draining:
        raise Draining
    wire = Wire(request, services, wires)
    try:
        socket = await wire.open()
    except Closed as closed:
        await wire.close(closed)
        return wire.socket
    session = Session(wire, request.app[ANSWERS], request.app.get(FAR))
    try:
        await session.run()
    except Closed as closed:
        await wire.close(closed)
    finally:
        session.leave()
    return socket


class Session:
    """One socket: what it reads, and a place in each of its answers."""

    def __init__(self, wire: Wire, kept: Answers, far: Far | None) -> None:
        self._wire = wire
        self._far = far
        self._answers = kept
        self._places: dict[str, Place] = {}
        self._news = asyncio.Event()
        self._wrote_all = asyncio.Event()

    async def run(self) -> None:
        """Until the connection ends. Raises Closed."""
        await first_of(self._listen(), self._write(), self._stopped(), self._wire.ping())

    def leave(self) -> None:
        for place in self._mine():
            place.answer.left()
        self._places.clear()

    def _mine(self) -> list[Place]:
        """Those that no other socket took over."""
        return [one for one in self._places.values() if one.answer.reader == self._news.set]

    async def _listen(self) -> None:
        async for message in self._wire.messages():
            answer_id = message.get("id")
            try:
                await self._heard(message, answer_id)
            except GatewayError as error:
                named = {"id": answer_id} if isinstance(answer_id, str) else {}
                await self._wire.send({"type": "error", **named, **told(error)})

    async def _heard(self, message: dict[str, Json], answer_id: Json) -> None:
        kind = message.get("type")
        if kind not in ("start", "stop", "resume"):
            raise BadRequest(f"There is no message of type {str(kind)[:50]!r} here.", param="type")
        if not isinstance(answer_id, str) or ID.fullmatch(answer_id) is None:
            raise BadRequest("id must have 16 to 64 letters, digits, '.', '_' or '-'.", param="id")
        if kind == "start":
            await self._start(message, answer_id)
        elif kind == "resume":
            offset = message.get("offset", 0)
            if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
                raise BadRequest("offset must be an integer, 0 or more.", param="offset")
            self._attach(await self._found(answer_id, offset), offset)
        else:
            answer = await self._found(answer_id, 0)
            if answer.last is not None:
                self._attach(answer, len(answer.pieces))
            answer.stop()

    async def _start(self, message: dict[str, Json], answer_id: str) -> None:
        services = self._wire.services
        caller = await self._wire.identify()
        if self._answers.find(caller.id, answer_id) is not None:
            raise BadRequest("This id is in use; make one for each answer.", code="id_taken")
        running = sum(place.answer.last is None for place in self._mine())
        if running >= services.settings.web.running:
            raise LimitReached(
                f"{running} answers run on this socket already.",
                code="too_many_answers",
                retry_after=1,
            )
        body = provider_named(self._wire.request, completed(message))
        asked = Asked(DIALECT, DIALECT.parse_request(body), body, caller=caller)
        self._attach(self._answers.start(asked, Trace(answer_id)), 0)

    async def _found(self, answer_id: str, offset: int) -> Readable:
        """Here, on this socket already, or at another process. Raises NotFound."""
        place, owner = self._places.get(answer_id), self._wire.caller.id
        answer: Readable | None = self._answers.find(owner, answer_id)
        if (
            answer is None
            and place is not None
            and place.answer.pieces[offset : offset + 1] != [{}]
        ):
            answer = place.answer
        if answer is None and self._far is not None:
            answer = await self._far.find(owner, answer_id, offset)
        if answer is None:
            raise NotFound("No answer with this id is kept. Ask anew.", code="unknown_id")
        return answer

    def _attach(self, answer: Readable, offset: int) -> None:
        self._places[answer.id] = Place(answer, offset)
        answer.attach(self._news.set)
        self._news.set()

    async def _write(self) -> None:
        """All answers in turn, a message each, so that a long one holds no other up."""
        while True:
            await self._news.wait()
            self._news.clear()
            waiting = list(self._places.values())
            while waiting:
                waiting = [place for place in waiting if await self._wrote(place)]
            self._wrote_all.set()

    async def _wrote(self, place: Place) -> bool:
        """False when there is nothing more for now."""
        answer = place.answer
        if answer.reader != self._news.set:
            # Another socket took it over.
            if self._places.get(answer.id) is place:
                del self._places[answer.id]
            return False
        message = place.following()
        if message is None:
            return False
        await self._wire.send(message)
        if place.over and self._places.get(answer.id) is place:
            answer.reader = None
            del self._places[answer.id]
        return not place.over

    async def _stopped(self) -> None:
        """When the gateway stops, what runs may end for a while; nothing more is heard."""
        await self._wire.stopping.wait()
        await self._wire.send({"type": "draining"})
        while running := [place.answer.task for place in self._mine() if not place.answer.last]:
            await asyncio.wait(running)
        while self._mine():
            await self._wrote_all.wait()
            self._wrote_all.clear()
        raise Closed(WSCloseCode.GOING_AWAY)


def _loads(services: Services, target: str) -> bool:
    provider = services.registry.providers.get(target.partition("/")[0])
    return provider is not None and (
        provider.row.kind in READS_MODELS or provider.name in READS_MODELS
    )


def _cost(services: Services, trace: Trace, usage: dict[str, Json]) -> Json:
    counted = Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cached_tokens=usage["cached_tokens"],
        reasoning_tokens=usage["reasoning_tokens"],
    )
    nano = services.prices.nano(trace.provider, trace.model, counted)
    return None if nano is None else {"amount": amount(nano), "currency": "USD"}


async def _stop(app: web.Application) -> None:
    app[WIRES].stopping.set()
