"""OpenAI's responses. Clients such as the AI SDK send back the id of an item where they could send
the item, so the items of an answer are kept for a while, unless the caller says `store: false`.
"""

from __future__ import annotations

from functools import partial

from aiohttp import web

from chat.errors import Draining
from chat.request import Json
from chat.trace import Trace
from dialects.openai.responses import ResponsesDialect
from gateway.cache.items import Items
from gateway.engine.ports import Asked
from gateway.middleware import CALLER, REQUEST_ID
from gateway.routes.bodies import read_json
from gateway.routes.chat import answered
from gateway.services import SERVICES


def register(app: web.Application) -> None:
    app.router.add_post("/v1/responses", responses)


async def responses(request: web.Request) -> web.StreamResponse:
    services, caller = request.app[SERVICES], request[CALLER].id
    if services.late:
        raise Draining
    services.pressure.admit(len(services.pipeline.running) + 1)
    question = await read_json(request)
    if isinstance(question, dict) and isinstance(question.get("input"), list):
        await _find(question["input"], services.items, caller)
    stored = not isinstance(question, dict) or question.get("store") is not False
    dialect = ResponsesDialect(partial(services.items.keep, caller) if stored else None)
    asked = Asked(dialect, dialect.parse_request(question), question)
    return await answered(services, request, asked, Trace(request[REQUEST_ID]))


async def _find(asked: list[Json], items: Items, caller: str) -> None:
    """Puts items where their ids stood. The first that is not known stays, and is refused by
    name."""
    for place, item in enumerate(asked):
        if isinstance(item, dict) and item.get("type") == "item_reference":
            found = await items.find(caller, item.get("id"))
            if found is None:
                return
            asked[place] = found
