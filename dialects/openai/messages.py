"""The messages of a caller, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.request import (
    File,
    Image,
    Json,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from dialects import reading
from dialects.addresses import is_address, public_url
from dialects.images import Data, check_size, is_base64, of_data_url
from dialects.reading import bad, kind_of

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


def read_messages(items: Sequence[tuple[str, dict[str, Json]]]) -> tuple[Message, ...]:
    """`items` as reading.objects gives them. Raises BadRequest naming the field."""
    calls: dict[str, str] = {}
    return tuple([_message(path, item, calls) for path, item in items])


def _message(path: str, item: Mapping[str, Json], calls: dict[str, str]) -> Message:
    """`calls`: name by id of the tool calls made so far; an assistant's message adds to them."""
    role = item.get("role")
    if not isinstance(role, str):
        role = reading.text(item, "role", path)
    name = reading.optional_text(item, "name", path) if "name" in item else None
    if role == "system" or role == "developer":
        return Message("system", _texts(item, path), name)
    if role == "user":
        content = item.get("content")
        if content and isinstance(content, str):
            # Nearly all of them, and long talks have hundreds.
            return Message("user", (Text(content),), name)
        return Message("user", _user_parts(item, path), name)
    if role == "assistant":
        return Message("assistant", _assistant_parts(item, path, calls), name)
    if role == "tool":
        return Message("tool", (_result(item, path, calls),))
    if role == "function":
        bad(path + "role", 'must be "tool": "function" is the retired form.')
    return bad(path + "role", f"must be system, developer, user, assistant or tool, not {role!r}.")


def _parts_of(
    item: Mapping[str, Json], path: str, *, required: bool = True
) -> Sequence[tuple[str, dict[str, Json]]]:
    """Content as a list of parts; a string is one of them."""
    content = item.get("content")
    if isinstance(content, str):
        return ((path + "content.", {"type": "text", "text": content}),) if content else ()
    if content is None:
        if required:
            bad(path + "content", "is required.")
        return ()
    if not isinstance(content, list):
        bad(path + "content", f"must be a string or a list of parts, not {kind_of(content)}.")
    return reading.objects(item, "content", path)


def _texts(item: Mapping[str, Json], path: str) -> tuple[Text, ...]:
    return tuple(_text(part, where) for where, part in _parts_of(item, path))


def _text(part: Mapping[str, Json], path: str) -> Text:
    kind = part.get("type")
    if kind != "text":
        bad(path + "type", f'must be "text" here, not {kind!r}.')
    mark = part.get("cache_control")
    opaque = {"cache_control": mark} if isinstance(mark, dict) else None
    return Text(reading.text(part, "text", path), opaque)


def _user_parts(item: Mapping[str, Json], path: str) -> tuple[Part, ...]:
    return tuple(_user_part(part, where) for where, part in _parts_of(item, path))


def _user_part(part: Mapping[str, Json], path: str) -> Text | Image | File:
    kind = part.get("type")
    if kind == "text":
        return _text(part, path)
    if kind == "image_url":
        return _image(part, path)
    if kind == "input_audio":
        return _audio(part, path)
    if kind == "file":
        return _file(part, path)
    return bad(path + "type", f"must be text, image_url, input_audio or file, not {kind!r}.")


def _image(part: Mapping[str, Json], path: str) -> Image:
    """An object with a url, or, as Ollama's clients write it, the url itself."""
    told = part.get("image_url")
    if isinstance(told, str):
        told = {"url": told}
        where = path + "image_url"
    else:
        told = reading.required_object(part, "image_url", path)
        where = path + "image_url.url"
        reading.text(told, "url", path + "image_url.")
    detail = reading.optional_text(told, "detail", path + "image_url.")
    return image_of(told["url"], where, detail)


def image_of(url: str, where: str, detail: str | None) -> Image:
    if url[:5].lower() != "data:":
        if not is_address(url):
            bad(where, "must be a data: or https: URL.")
        return Image(url=public_url(url, where), detail=detail)
    media_type, data = data_of(url, where)
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    if media_type not in IMAGE_TYPES:
        bad(where, f"has the type {media_type!r}; images may be {', '.join(IMAGE_TYPES)}.")
    check_size(data, where)
    return Image(media_type, data, detail=detail)


def _audio(part: Mapping[str, Json], path: str) -> File:
    told = reading.required_object(part, "input_audio", path)
    path += "input_audio."
    kind = reading.text(told, "format", path)
    if kind not in _AUDIO_TYPES:
        bad(path + "format", f"must be wav or mp3, not {kind!r}.")
    data = reading.text(told, "data", path)
    _check_base64(data, path + "data")
    return File("audio", _AUDIO_TYPES[kind], data)


def _file(part: Mapping[str, Json], path: str) -> File:
    told = reading.required_object(part, "file", path)
    path += "file."
    name = reading.optional_text(told, "filename", path)
    file_id = reading.optional_text(told, "file_id", path)
    if file_id is not None:
        return File("document", name=name, opaque={"dialect": "openai", "file_id": file_id})
    url = reading.text(told, "file_data", path)
    media_type, data = data_of(url, path + "file_data")
    return File("document", media_type or "application/pdf", data, name=name)


def data_of(url: str, where: str) -> Data:
    found = of_data_url(url)
    if found is None:
        bad(where, "must be a data: URL with base64.")
    _check_base64(found.data, where)
    return found


def _check_base64(data: str, where: str) -> None:
    if not data:
        bad(where, "has no data.")
    if not is_base64(data):
        bad(where, "is not base64.")


def _assistant_parts(
    item: Mapping[str, Json], path: str, calls: dict[str, str]
) -> tuple[Part, ...]:
    parts: list[Part] = []
    for field in ("reasoning_content", "reasoning"):
        thought = item.get(field)
        if thought and isinstance(thought, str):
            parts.append(Reasoning(thought))
            break
    for where, part in _parts_of(item, path, required=False):
        if part.get("type") == "refusal":
            parts.append(Text(reading.text(part, "refusal", where)))
        else:
            parts.append(_text(part, where))
    refusal = reading.optional_text(item, "refusal", path)
    if refusal:
        parts.append(Text(refusal))
    if item.get("function_call"):
        bad(path + "function_call", "is the retired form; use tool_calls.")
    for where, call in reading.objects(item, "tool_calls", path):
        parts.append(_call(call, where))
    calls.update((part.id, part.name) for part in parts if isinstance(part, ToolCall))
    return tuple(parts)


def _call(call: Mapping[str, Json], path: str) -> ToolCall:
    kind = call.get("type", "function")
    if kind != "function":
        bad(path + "type", f'must be "function", not {kind!r}.')
    call_id = reading.filled_text(call, "id", path)
    function = reading.required_object(call, "function", path)
    path += "function."
    name = reading.filled_text(function, "name", path)
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = reading.json_text(arguments, path + "arguments")
    if arguments is not None and not isinstance(arguments, str):
        bad(path + "arguments", f"must be a string of JSON, not {kind_of(arguments)}.")
    return ToolCall(call_id, name, arguments or "")


def _result(item: Mapping[str, Json], path: str, calls: Mapping[str, str]) -> ToolResult:
    call_id = reading.text(item, "tool_call_id", path)
    if call_id not in calls:
        bad(path + "tool_call_id", f"is {call_id!r}, which no tool call before it has.")
    parts: list[Text | Image] = []
    for where, part in _parts_of(item, path):
        parts.append(_image(part, where) if part.get("type") == "image_url" else _text(part, where))
    return ToolResult(call_id, tuple(parts), calls[call_id])
