"""Tool calls as a client of Ollama writes them, and how we paired them with their results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chat.request import Message, ToolCall, ToolResult


def called(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls)}


def function(name: str, call_id: str | None = None, **arguments: Any) -> dict[str, Any]:
    call: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return call if call_id is None else {"id": call_id, **call}


def pairs(messages: Iterable[Message]) -> list[tuple[str, str]]:
    """(text of the result, what the call asked), for each result."""
    calls: dict[str, ToolCall] = {}
    found = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                assert part.id not in calls
                calls[part.id] = part
            elif isinstance(part, ToolResult):
                assert part.name == calls[part.call_id].name
                found.append((part.text, calls[part.call_id].arguments))
    return found
