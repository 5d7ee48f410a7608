"""Messages in our words -> the body that an Anthropic upstream is asked with."""

from __future__ import annotations

import orjson

from chat.request import ChatRequest, Json, Message, Part, Role, Text
from dialects.anthropic import AnthropicDialect

MODEL = "claude-sonnet-4-6"


def said(role: Role, *parts: Part | str) -> Message:
    return Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts))


def build(*messages: Message, model: str = MODEL, **more: Json) -> dict[str, Json]:
    body = AnthropicDialect().build_request(ChatRequest("auto", messages, **more), model)
    orjson.dumps(body)
    return body


def conversation(*messages: Message) -> list[Json]:
    turns: list[Json] = build(*messages)["messages"]
    return turns
