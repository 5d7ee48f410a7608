"""Anthropic's words that both directions use: block types, stop reasons, usage, signatures.

Figures and names: PROTOCOLS 3 and 6, and the official SDK 2.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from chat.events import Finish, Usage
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
from dialects.answers import count

NAME: Final = "anthropic"

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

FORCED: Final = ("any", "tool")
"""Kinds of tool_choice that leave the model no choice."""

_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_PLAIN: Final = frozenset({"end_turn", "stop_sequence", "tool_use", "max_tokens", "refusal"})
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def finish_of(stop_reason: str | None, stop_sequence: str | None, calls: int) -> Finish:
    """`calls`: how many tool calls came. A reason that we do not know is an ordinary stop with
    its word in `detail`."""
    detail = stop_reason if stop_reason not in _PLAIN else None
    reason = _REASONS.get(stop_reason or "", "stop")
    if reason == "length":
        return Finish("length", detail=detail)
    if reason == "content_filter":
        return Finish("content_filter", detail=detail)
    return Finish("tool_calls" if calls else "stop", stop_sequence, detail)


def stop_reason_of(finish: Finish, *, refused: bool = False) -> str:
    """The wire's word; `detail` is used where it is Anthropic's own and says the same."""
    if finish.reason == "length":
        if finish.detail == "model_context_window_exceeded":
            return finish.detail
        return "max_tokens"
    if finish.reason == "tool_calls":
        return "tool_use"
    if finish.reason == "content_filter" or refused:
        return "refusal"
    if finish.detail == "pause_turn":
        return finish.detail
    return "end_turn" if finish.stop_sequence is None else "stop_sequence"


def usage_of(wire: Mapping[str, Json]) -> Usage | None:
    """The wire's input_tokens leave cached tokens out; ours count them. None: nothing is said."""
    fresh = count(wire.get("input_tokens"))
    read = count(wire.get("cache_read_input_tokens"))
    written = count(wire.get("cache_creation_input_tokens"))
    output = count(wire.get("output_tokens"))
    details = wire.get("output_tokens_details")
    thoughts = count(details.get("thinking_tokens")) if isinstance(details, dict) else None
    known = [tokens for tokens in (fresh, read, written) if tokens is not None]
    if not known and output is None and thoughts is None:
        return None
    return Usage(sum(known) if known else None, output, read, written, thoughts)


def wire_usage(usage: Usage, *, input_guess: int | None, output_guess: int) -> dict[str, Json]:
    """Our usage in the wire's words. output_tokens is always there, since clients fail without
    it (PROTOCOLS 3.2); the guesses stand in for what nobody said."""
    wire: dict[str, Json] = {}
    if usage.input_tokens is not None:
        cached = (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)
        wire["input_tokens"] = max(usage.input_tokens - cached, 0)
    elif input_guess is not None:
        wire["input_tokens"] = input_guess
    if usage.cache_write_tokens is not None:
        wire["cache_creation_input_tokens"] = usage.cache_write_tokens
    if usage.cached_tokens is not None:
        wire["cache_read_input_tokens"] = usage.cached_tokens
    known = usage.output_tokens
    wire["output_tokens"] = output_guess if known is None else known
    if usage.reasoning_tokens is not None:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return wire


def is_signed(signature: Json) -> bool:
    """Whether it can be a signature of Anthropic's: base64 that is whole. One of another vendor
    may look the same; one that we would have to invent never does."""
    return (
        isinstance(signature, str)
        and len(signature) % 4 == 0
        and _SIGNATURE.fullmatch(signature) is not None
    )


def tokens_of_request(request: ChatRequest) -> int:
    """An estimate: characters / 4, at least 1. Pictures and files count nothing."""
    characters = sum(_characters(message.parts) for message in request.messages)
    for tool in request.tools:
        characters += len(tool.name) + len(tool.description or "")
        if tool.parameters:
            characters += len(orjson.dumps(tool.parameters))
    if request.response_format is not None and request.response_format.schema:
        characters += len(orjson.dumps(request.response_format.schema))
    return max(1, characters // 4)


def _characters(parts: Iterable[Part]) -> int:
    total = 0
    for part in parts:
        if isinstance(part, Text | Reasoning):
            total += len(part.text)
        elif isinstance(part, ToolCall):
            total += len(part.name) + len(part.arguments)
        elif isinstance(part, ToolResult):
            total += _characters(part.parts)
        elif not isinstance(part, Image | File):
            raise TypeError(f"no such part: {part!r}")
    return total
