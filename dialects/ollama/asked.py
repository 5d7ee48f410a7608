"""The bodies of POST /api/chat and /api/generate -> a request in our words (PROTOCOLS 5.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import orjson

from chat.request import (
    ChatRequest,
    Effort,
    Image,
    Json,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from dialects import reading
from dialects.images import check_size, image_type, is_base64, of_data_url
from dialects.ollama.pairing import Pairing

ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
LEVELS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "max": "max"}
SHARED = frozenset(("model", "stream", "format", "options", "think"))
CHAT = SHARED | {"messages", "tools"}
GENERATE = SHARED | {"prompt", "system", "images", "suffix", "template", "raw", "context"}
SAMPLING = frozenset(
    (
        *("temperature", "top_p", "top_k", "min_p", "num_predict", "stop", "seed"),
        *("presence_penalty", "frequency_penalty"),
    )
)
IMAGE_TYPES = frozenset(("image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp"))
UNNAMED_IMAGE = "image/png"
"""Ollama's wire names no media type, other wires want one."""


def parse_chat(body: Json) -> ChatRequest:
    """Raises BadRequest, `param` naming the field."""
    body = reading.body_object(body)
    model = reading.filled_text(body, "model")
    messages = _messages(body)
    if not messages:
        reading.bad("messages", "must not be empty.")
    return ChatRequest(model=model, messages=messages, tools=_tools(body), **_shared(body, CHAT))


def parse_generate(body: Json) -> ChatRequest:
    """One prompt as a conversation. Raises BadRequest also for what a chat cannot say: suffix,
    template, raw, context."""
    body = reading.body_object(body)
    model = reading.filled_text(body, "model")
    prompt = reading.optional_text(body, "prompt")
    if not prompt:
        reading.bad("prompt", "must not be empty.")
    for field in ("suffix", "template", "raw", "context"):
        if body.get(field):
            reading.bad(field, "is not served here: the prompt goes to a chat model as it is.")
    messages = [Message("user", (Text(prompt), *_images(body, "")))]
    system = reading.optional_text(body, "system")
    if system:
        messages.insert(0, Message("system", (Text(system),)))
    return ChatRequest(model=model, messages=tuple(messages), **_shared(body, GENERATE))


def _shared(body: Mapping[str, Json], known: frozenset[str]) -> dict[str, Any]:
    """The fields that both doors have, as arguments of ChatRequest."""
    stream = reading.flag(body, "stream")
    options = reading.optional_object(body, "options") or {}
    effort = _effort(body.get("think"))
    fields = {
        name: value for name, value in body.items() if name not in known and value is not None
    }
    others = {name: value for name, value in options.items() if name not in SAMPLING}
    if others:
        fields["options"] = others
    if body.get("think") is True:
        # A level is not what was asked; to Ollama itself it goes back as it came.
        fields["think"] = True
    return {
        "stream": True if stream is None else stream,
        "sampling": _sampling(options),
        "response_format": _format(body.get("format")),
        "effort": effort,
        "include_thoughts": None if effort is None else effort != "none",
        "extra": {"dialect": "ollama", "fields": fields} if fields else {},
    }


def _sampling(options: Mapping[str, Json]) -> Sampling:
    path = "options."
    longest = reading.integer(options, "num_predict", path)
    seed = reading.integer(options, "seed", path)
    return Sampling(
        temperature=reading.number(options, "temperature", path, low=0),
        top_p=reading.number(options, "top_p", path, low=0),
        top_k=reading.integer(options, "top_k", path, low=0),
        min_p=reading.number(options, "min_p", path, low=0),
        # Ollama reads 0, -1 and -2 as "no limit", and -1 as "any seed".
        max_tokens=longest if longest is not None and longest > 0 else None,
        stop=reading.texts(options, "stop", path),
        seed=seed if seed is not None and seed >= 0 else None,
        presence_penalty=reading.number(options, "presence_penalty", path),
        frequency_penalty=reading.number(options, "frequency_penalty", path),
    )


def _format(value: Json) -> ResponseFormat | None:
    if value is None or value == "":
        return None
    if value == "json":
        return ResponseFormat("json_object")
    if not isinstance(value, dict):
        reading.bad("format", 'must be "json" or a JSON Schema (an object).')
    return ResponseFormat("json_schema", schema=value, where="format")


def _effort(value: Json) -> Effort | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "medium" if value else "none"
    if not isinstance(value, str) or value not in LEVELS:
        reading.bad("think", "must be true, false, low, medium, high or max.")
    return LEVELS[value]


def _tools(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    tools = []
    for path, item in reading.objects(body, "tools"):
        kind = reading.optional_text(item, "type", path)
        if kind not in (None, "", "function"):
            reading.bad(path + "type", f"must be function, not {kind!r}.")
        function = reading.required_object(item, "function", path)
        path += "function."
        name = reading.filled_text(function, "name", path)
        tools.append(
            Tool(
                name,
                reading.optional_text(function, "description", path),
                reading.optional_object(function, "parameters", path),
            )
        )
    return tuple(tools)


def _messages(body: Mapping[str, Json]) -> tuple[Message, ...]:
    messages = []
    pairing = Pairing()
    for position, (path, item) in enumerate(reading.objects(body, "messages")):
        role = ROLES.get(reading.text(item, "role", path).lower())
        if role is None:
            reading.bad(path + "role", f"must be {', '.join(ROLES)}, not {item['role']!r}.")
        parts: list[Part] = []
        content = reading.optional_text(item, "content", path) or ""
        if role == "tool":
            call_id, name = pairing.answer(item, path)
            result = ToolResult(call_id, (Text(content), *_images(item, path)), name=name)
            messages.append(Message(role, (result,)))
            continue
        thinking = reading.optional_text(item, "thinking", path)
        if thinking and role == "assistant":
            parts.append(Reasoning(thinking))
        if content:
            parts.append(Text(content))
        parts += _images(item, path)
        calls = _calls(item, path, position, pairing)
        if calls and role != "assistant":
            reading.bad(path + "tool_calls", f"cannot stand in a message of role {role}.")
        parts += calls
        messages.append(Message(role, tuple(parts or (Text(""),))))
    return tuple(messages)


def _calls(
    item: Mapping[str, Json], path: str, position: int, pairing: Pairing
) -> Sequence[ToolCall]:
    calls = []
    for where, call in reading.objects(item, "tool_calls", path):
        function = reading.required_object(call, "function", where)
        name = reading.filled_text(function, "name", where + "function.")
        arguments = _arguments(function.get("arguments"), where + "function.arguments")
        given = reading.optional_text(call, "id", where)
        ours = pairing.call(position, given, name, arguments)
        calls.append(ToolCall(ours, name, arguments))
    return calls


def _arguments(value: Json, param: str) -> str:
    """An object; also JSON text of one, as clients of OpenAI write it."""
    if value is None or value == "":
        return ""
    text = value
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            reading.bad(param, "must be an object.")
    if not isinstance(value, dict):
        reading.bad(param, f"must be an object, not {reading.kind_of(value)}.")
    return text if isinstance(text, str) else reading.json_text(value, param)


def _images(item: Mapping[str, Json], path: str) -> Sequence[Image]:
    value = item.get("images")
    if value is None:
        return ()
    param = path + "images"
    if not isinstance(value, list):
        reading.bad(param, f"must be a list, not {reading.kind_of(value)}.")
    return [_image(image, f"{param}[{position}]") for position, image in enumerate(value)]


def _image(value: Json, param: str) -> Image:
    """Base64; the data: URLs that some clients send by mistake are understood too."""
    if not isinstance(value, str) or not value:
        reading.bad(param, "must be a string of base64.")
    media_type = None
    if value.startswith("data:"):
        found = of_data_url(value)
        if found is None:
            _not_base64(param)
        media_type, value = found
        if media_type not in IMAGE_TYPES:
            reading.bad(param, f"must be an image, not {media_type!r}.")
    data = "".join(value.split())
    if not is_base64(data):
        _not_base64(param)
    check_size(data, param)
    return Image(media_type or image_type(data) or UNNAMED_IMAGE, data)


def _not_base64(param: str) -> NoReturn:
    reading.bad(param, "must be base64 of an image; a URL is not fetched.")
