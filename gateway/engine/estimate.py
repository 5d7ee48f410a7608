"""How many tokens a question has, before anybody counted them.

UTF-8 bytes / 4, a thousand for a picture: right within a quarter for English and code.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from chat.request import (
    ChatRequest,
    File,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 3
"""What a template writes round each turn."""
PICTURE_TOKENS = 1000
FILE_BYTES_PER_TOKEN = 16


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
