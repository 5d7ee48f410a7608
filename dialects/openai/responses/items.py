"""`instructions` and `input` -> messages.

The items of one assistant's turn (thoughts, texts, calls) stand side by side in `input`; they
are one message here, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping

from chat.request import File, Image, Json, Message, Part, Reasoning, Text, ToolCall, ToolResult
from dialects import reading
from dialects.addresses import public_url
from dialects.openai.messages import data_of, image_of
from dialects.reading import bad, kind_of

_ROLES = ("user", "assistant", "system", "developer")


def read_input(body: Mapping[str, Json]) -> tuple[Message, ...]:
    """Raises BadRequest naming the field."""
    messages: list[Message] = []
    instructions = reading.optional_text(body, "instructions")
    if instructions:
        messages.append(Message("system", (Text(instructions),)))
    given = body.get("input")
    if given is None:
        bad("input", "is required.")
    if isinstance(given, str):
        if not given:
            bad("input", "must not be empty.")
        return (*messages, Message("user", (Text(given),)))
    items = reading.objects(body, "input")
    if not items:
        bad("input", "must not be empty.")
    turn: list[Part] = []
    calls: dict[str, str] = {}
    for path, item in items:
        parts = _assistants(path, item)
        if parts is not None:
            turn += parts
            calls.update((part.id, part.name) for part in parts if isinstance(part, ToolCall))
            continue
        if turn:
            messages.append(Message("assistant", tuple(turn)))
            turn = []
        messages.append(_others(path, item, calls))
    if turn:
        messages.append(Message("assistant", tuple(turn)))
    return tuple(messages)


def _kind(path: str, item: Mapping[str, Json]) -> str:
    kind = item.get("type")
    if kind is None and "role" in item:
        return "message"
    if not isinstance(kind, str):
        bad(path + "type", "is required.")
    return kind


def _assistants(path: str, item: Mapping[str, Json]) -> list[Part] | None:
    """What the assistant said in this item; None when somebody else did."""
    kind = _kind(path, item)
    if kind == "reasoning":
        thought = _thought(path, item)
        return [Reasoning(thought)] if thought else []
    if kind == "function_call":
        return [
            ToolCall(
                reading.filled_text(item, "call_id", path),
                reading.filled_text(item, "name", path),
                reading.optional_text(item, "arguments", path) or "",
            )
        ]
    if kind == "message" and item.get("role") == "assistant":
        return [_said(where, part) for where, part in _parts(path, item)]
    return None


def _thought(path: str, item: Mapping[str, Json]) -> str:
    """The thought itself, or else its summary. What is encrypted is another server's."""
    for field in ("content", "summary"):
        texts = [reading.text(part, "text", at) for at, part in reading.objects(item, field, path)]
        if texts:
            return "\n\n".join(texts)
    return ""


def _said(path: str, part: Mapping[str, Json]) -> Text:
    kind = part.get("type")
    if kind == "refusal":
        return Text(reading.text(part, "refusal", path))
    if kind in ("output_text", "input_text", "text"):
        return Text(reading.text(part, "text", path))
    return bad(path + "type", f"must be output_text or refusal, not {kind!r}.")


def _others(path: str, item: Mapping[str, Json], calls: Mapping[str, str]) -> Message:
    kind = _kind(path, item)
    if kind == "function_call_output":
        return Message("tool", (_result(path, item, calls),))
    if kind == "item_reference":
        bad(path + "id", "names no item of an answer of the last hour; send the item itself.")
    if kind != "message":
        bad(
            path + "type",
            "must be message, function_call, function_call_output or reasoning, "
            f"not {kind!r}: no other tools are run here.",
        )
    role = reading.text(item, "role", path)
    if role not in _ROLES:
        bad(path + "role", f"must be one of {', '.join(_ROLES)}, not {role!r}.")
    if role == "user":
        return Message("user", tuple(_asked(where, part) for where, part in _parts(path, item)))
    texts = []
    for where, part in _parts(path, item):
        if part.get("type") != "input_text":
            bad(where + "type", "must be input_text here.")
        texts.append(Text(reading.text(part, "text", where)))
    return Message("system", tuple(texts))


def _parts(path: str, item: Mapping[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    """Content as parts; a string is one of them."""
    content = item.get("content")
    if isinstance(content, str):
        where = path + "content."
        return [(where, {"type": "input_text", "text": content})] if content else []
    if content is None:
        bad(path + "content", "is required.")
    if not isinstance(content, list):
        bad(path + "content", f"must be a string or a list of parts, not {kind_of(content)}.")
    return list(reading.objects(item, "content", path))


def _asked(path: str, part: Mapping[str, Json]) -> Text | Image | File:
    kind = part.get("type")
    if kind == "input_text":
        return Text(reading.text(part, "text", path))
    if kind == "input_image":
        return _image(path, part)
    if kind == "input_file":
        return _file(path, part)
    return bad(path + "type", f"must be input_text, input_image or input_file, not {kind!r}.")


def _image(path: str, part: Mapping[str, Json]) -> Image:
    if part.get("file_id") is not None:
        bad(path + "file_id", "is not supported: files are not kept here; send image_url.")
    url = reading.text(part, "image_url", path)
    return image_of(url, path + "image_url", reading.optional_text(part, "detail", path))


def _file(path: str, part: Mapping[str, Json]) -> File:
    if part.get("file_id") is not None:
        bad(path + "file_id", "is not supported: files are not kept here; send file_data.")
    name = reading.optional_text(part, "filename", path)
    if part.get("file_url") is not None:
        url = public_url(reading.text(part, "file_url", path), path + "file_url")
        return File("document", url=url, name=name)
    media_type, data = data_of(reading.text(part, "file_data", path), path + "file_data")
    return File("document", media_type or "application/pdf", data, name=name)


def _result(path: str, item: Mapping[str, Json], calls: Mapping[str, str]) -> ToolResult:
    call_id = reading.text(item, "call_id", path)
    if call_id not in calls:
        bad(path + "call_id", f"is {call_id!r}, which no function call before it has.")
    given = item.get("output")
    if isinstance(given, str):
        return ToolResult(call_id, (Text(given),), calls[call_id])
    if given is None:
        bad(path + "output", "is required.")
    parts: list[Text | Image] = []
    for where, part in reading.objects(item, "output", path):
        if part.get("type") == "input_image":
            parts.append(_image(where, part))
        elif part.get("type") == "input_text":
            parts.append(Text(reading.text(part, "text", where)))
        else:
            bad(where + "type", "must be input_text or input_image.")
    return ToolResult(call_id, tuple(parts), calls[call_id])
