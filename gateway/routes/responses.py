"""OpenAI's responses. Clients such as the AI SDK send back the id of an item where they could send
the item, so the items of an answer are kept for a while, each for the caller that it was for, in
the memory of this process.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import orjson
from aiohttp import web

from chat.errors import Draining
from chat.request import Json
from chat.trace import Trace
from dialects.openai.responses import ResponsesDialect
from gateway.engine.ports import Asked
from gateway.middleware import CALLER, REQUEST_ID
from gateway.routes.bodies import read_json
from gateway.routes.chat import answered
from gateway.services import SERVICES

MAX_BYTES = 32 * 2**20
"""Of all kept items; the oldest go first."""
KEEP_S = 3600.0


class ItemShelf:
    """`clock` is monotonic seconds."""

    def __init__(
        self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._size = 0
        self._items: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()

    def keep(self, caller: str, items: Sequence[Json]) -> None:
        for item in items:
            written = orjson.dumps(item)
            self._drop((caller, item["id"]))
            self._items[caller, item["id"]] = (self._clock() + KEEP_S, written)
            self._size += len(written)
        while self._items and (self._size > self._max_bytes or self._is_old()):
            self._drop(next(iter(self._items)))

    def find(self, caller: str, item_id: Json) -> Json | None:
        if not isinstance(item_id, str):
            return None
        until, written = self._items.get((caller, item_id), (0.0, b""))
        return orjson.loads(written) if until > self._clock() else None

    def _is_old(self) -> bool:
        return next(iter(self._items.values()))[0] <= self._clock()

    def _drop(self, key: tuple[str, str]) -> None:
        _, written = self._items.pop(key, (0.0, b""))
        self._size -= len(written)


SHELF = web.AppKey("items", ItemShelf)


def register(app: web.Application) -> None:
    app[SHELF] = ItemShelf()
    app.router.add_post("/v1/responses", responses)


async def responses(request: web.Request) -> web.StreamResponse:
    services = request.app[SERVICES]
    if services.draining:
        raise Draining("This gateway is stopping. Ask again.", retry_after=1)
    services.pressure.check(len(services.pipeline.running) + 1)
    question = await read_json(request)
    shelf, caller = request.app[SHELF], request[CALLER].id
    if isinstance(question, dict) and isinstance(question.get("input"), list):
        question["input"] = [_found(item, shelf, caller) for item in question["input"]]
    dialect = ResponsesDialect(partial(shelf.keep, caller))
    asked = Asked(dialect, dialect.parse_request(question), question)
    return await answered(request, asked, Trace(request[REQUEST_ID]))


def _found(item: Json, shelf: ItemShelf, caller: str) -> Json:
    """The item that is meant; one that is not known stays, and is refused by name."""
    if not isinstance(item, dict) or item.get("type") != "item_reference":
        return item
    return shelf.find(caller, item.get("id")) or item
