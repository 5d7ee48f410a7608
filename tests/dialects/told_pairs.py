"""One question of each caller, sent on to each upstream: what docs/dialects.md is held against."""

from __future__ import annotations

from typing import Any

import orjson

from chat.request import Json
from dialects.anthropic import AnthropicDialect
from dialects.base import InboundDialect, RelayDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect
from dialects.openai.responses import ResponsesDialect

UPSTREAMS: dict[str, RelayDialect] = {
    "openai": OpenAiDialect(),
    "anthropic": AnthropicDialect(),
    "gemini": GeminiDialect(),
    "ollama": OllamaDialect(),
}
CALLERS: dict[str, InboundDialect] = {**UPSTREAMS, "responses": ResponsesDialect()}
MODELS = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-2.5-flash",
    "ollama": "qwen3",
}
CITY: dict[str, Json] = {"type": "object", "properties": {"city": {"type": "string"}}}
PNG = "iVBORw0KGgo="
PDF = "JVBERi0="
HI = {"role": "user", "content": "Hi"}


def question(caller: str, **more: Json) -> dict[str, Any]:
    """The least that he may ask, and `more` of its fields."""
    body: dict[str, Any] = {"model": "m"}
    if caller == "gemini":
        body["contents"] = [{"role": "user", "parts": [{"text": "Hi"}]}]
    elif caller == "responses":
        body["input"] = "Hi"
    else:
        body["messages"] = [HI]
    if caller == "anthropic":
        body["max_tokens"] = 20000
    return {**body, **more}


def heard(caller: str, upstream: str, body: Json, model: str | None = None) -> dict[str, Any]:
    """The body that the upstream is asked with."""
    request = CALLERS[caller].parse_request(body)
    sent = UPSTREAMS[upstream].build_request(request, model or MODELS[upstream])
    told: dict[str, Any] = orjson.loads(orjson.dumps(sent))
    return told


def others(caller: str) -> list[str]:
    """The upstreams that do not speak his language."""
    return [name for name in UPSTREAMS if name != caller]


def said(caller: str, *history: Json) -> dict[str, Json]:
    """What was said before his question."""
    field = "contents" if caller == "gemini" else "messages"
    return {field: [*history, *question(caller)[field]]}


def tool(caller: str, **more: Json) -> Json:
    if caller == "anthropic":
        return {"name": "f", "input_schema": CITY, **more}
    if caller == "gemini":
        return {"functionDeclarations": [{"name": "f", "parametersJsonSchema": CITY, **more}]}
    function = {"name": "f", "parameters": CITY, **more}
    return {"type": "function", "function": function}
