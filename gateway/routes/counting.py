"""How many tokens a question has, for clients that ask before they send it.

It is our own estimate, since no upstream need be asked and a route has several: UTF-8 bytes / 4,
a thousand for a picture. The header X-Pointsman-Estimate says so.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from chat.request import ChatRequest, Json
from dialects import reading
from dialects.anthropic import AnthropicDialect
from dialects.gemini import GeminiDialect
from gateway.engine.estimate import estimate
from gateway.routes.admitted import admitted, limits_of
from gateway.routes.bodies import read_json
from gateway.routes.listing import target_of
from gateway.services import SERVICES

ANTHROPIC = AnthropicDialect()
GEMINI = GeminiDialect()


def register(app: web.Application) -> None:
    app.router.add_post("/v1/messages/count_tokens", anthropic)


async def anthropic(request: web.Request) -> web.Response:
    body = reading.body_object(await read_json(request))
    # The question is the one of /v1/messages without the fields that say how to answer.
    return await _counted(
        request, ANTHROPIC.parse_request({**body, "max_tokens": 1}), "input_tokens"
    )


async def gemini(request: web.Request, model: str) -> web.Response:
    """Takes `contents`, or a whole `generateContentRequest`."""
    body = reading.body_object(await read_json(request))
    whole = body.get("generateContentRequest", body.get("generate_content_request"))
    question = whole if isinstance(whole, dict) else body
    return await _counted(
        request, GEMINI.parse_request({**question, "model": model, "stream": False}), "totalTokens"
    )


async def _counted(request: web.Request, question: ChatRequest, field: str) -> web.Response:
    ticket = await admitted(request, anthropic=field == "input_tokens")
    try:
        target = target_of(request.app[SERVICES], question.model)
        if ticket is not None and target is not None:
            ticket.check(question.model, (target,))
    finally:
        if ticket is not None:
            # It costs a request and no tokens.
            ticket.settle(())
    counted: Json = {field: estimate(question)}
    return web.Response(
        body=orjson.dumps(counted),
        content_type="application/json",
        headers={"X-Pointsman-Estimate": "true", **limits_of(request)},
    )
