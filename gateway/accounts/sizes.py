"""How many tokens a question is, before anybody counted them.

`most` is meant never to be passed: a token has at least one byte in every vocabulary that we
know, and templates, pictures and files are taken at a high figure. `likely` is what it seems to
be: four bytes a token.
"""

from __future__ import annotations

import orjson

from chat.request import ChatRequest, File, Image, Part, Reasoning, Text, ToolCall, ToolResult

MESSAGE_MOST = 16
"""What a template may write round a turn."""
TOOLS_MOST = 700
"""What a vendor tells a model of the fact that there are tools."""
PICTURE_MOST, PICTURE_LIKELY = 5000, 1000
FILE_BYTES_PER_TOKEN = 2
"""Of a document or a sound in base64."""
FAR_FILE = 100_000
"""One that only the upstream can fetch."""


def sizes(request: ChatRequest) -> tuple[int, int]:
    """(most, likely), at least 1."""
    text = 0
    most = MESSAGE_MOST
    likely = 0
    for message in request.messages:
        most += MESSAGE_MOST
        likely += 3
        for part in message.parts:
            if type(part) is Text:
                text += length(part.text)
            else:
                more, seems = _other(part)
                most += more
                likely += seems
    if request.tools:
        most += TOOLS_MOST
        for tool in request.tools:
            text += len(tool.name) + length(tool.description or "") + 30
            text += len(orjson.dumps(dict(tool.parameters or {})))
    shape = request.response_format
    if shape is not None and shape.schema:
        text += len(orjson.dumps(dict(shape.schema)))
    return most + text, max(1, likely + (text + 3) // 4)


def length(text: str) -> int:
    """Bytes of UTF-8, without making them where it can be known."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _other(part: Part) -> tuple[int, int]:
    match part:
        case Reasoning():
            size = length(part.text) + len(part.signature or "") + len(part.redacted or "")
            return size, size // 4
        case ToolCall():
            size = len(part.name) + length(part.arguments) + 30
            return size, size // 4
        case ToolResult():
            found = [_other(one) for one in part.parts]
            return sum(one[0] for one in found) + 10, sum(one[1] for one in found) + 5
        case Image():
            return PICTURE_MOST, PICTURE_LIKELY
        case File():
            size = len(part.data) // FILE_BYTES_PER_TOKEN if part.data else FAR_FILE
            return size, size // 8
        case _:
            size = length(part.text)
            return size, size // 4
