"""How many tokens a question has, for clients that ask before they send it.

It is our own estimate, since no upstream need be asked and a route has several: UTF-8 bytes / 4,
a thousand for a picture. The header X-Pointsman-Estimate says so.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

from chat.request import (
    ChatRequest,
    File,
    Image,
    Json,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from dialects import reading
from dialects.anthropic import AnthropicDialect
from dialects.gemini import GeminiDialect
from gateway.middleware import REQUEST_ID
from gateway.routes.bodies import read_json
from gateway.routes.listing import target_of
from gateway.services import SERVICES

ANTHROPIC = AnthropicDialect()
GEMINI = GeminiDialect()
BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 3
"""What a template writes round each turn."""
PICTURE_TOKENS = 1000
FILE_BYTES_PER_TOKEN = 16


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


def estimate(question: ChatRequest) -> int:
    """Tokens of the whole question, at least 1."""
    size = 0
    for message in question.messages:
        size += MESSAGE_TOKENS * BYTES_PER_TOKEN + _size(message.parts)
    for tool in question.tools:
        size += len(tool.name) + len((tool.description or "").encode())
        size += len(orjson.dumps(dict(tool.parameters or {})))
    shape = question.response_format
    if shape is not None and shape.schema:
        size += len(orjson.dumps(dict(shape.schema)))
    return max(1, -(-size // BYTES_PER_TOKEN))


def _size(parts: Iterable[Part]) -> int:
    """Bytes, or what stands for them."""
    total = 0
    for part in parts:
        match part:
            case Text() | Reasoning():
                total += len(part.text.encode())
            case ToolCall():
                total += len(part.name) + len(part.arguments.encode())
            case ToolResult():
                total += _size(part.parts)
            case Image():
                total += PICTURE_TOKENS * BYTES_PER_TOKEN
            case File():
                total += len(part.data or "") * BYTES_PER_TOKEN // FILE_BYTES_PER_TOKEN
    return total


async def _counted(request: web.Request, question: ChatRequest, field: str) -> web.Response:
    await target_of(request.app[SERVICES], question.model, request[REQUEST_ID])
    counted: Json = {field: estimate(question)}
    return web.Response(
        body=orjson.dumps(counted),
        content_type="application/json",
        headers={"X-Pointsman-Estimate": "true"},
    )
