"""`contents` -> messages. A functionResponse finds its call by id, or by name where the client
sent no ids, as most do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
from dialects.addresses import public_url
from dialects.call_ids import new_id
from dialects.gemini.build import NAME, RAW_PART, RAW_RESPONSE, SIBLINGS
from dialects.gemini.media import type_of_url
from dialects.gemini.spelling import camel
from dialects.images import check_size, is_base64

IMAGE_TYPES = frozenset(
    [
        "image/png",
        "image/jpeg",
        "image/jpg",
        "image/webp",
        "image/gif",
        "image/heic",
        "image/heif",
        "image/avif",
        "image/bmp",
    ]
)
_URL_SAFE = str.maketrans("-_", "+/")


def many(
    body: Mapping[str, Json], field: str, path: str = ""
) -> Sequence[tuple[str, dict[str, Json]]]:
    """A list of objects; one object alone passes too, as protobuf's JSON lets it."""
    value = body.get(field)
    if isinstance(value, dict):
        return reading.objects({field: [value]}, field, path)
    return reading.objects(body, field, path)


@dataclass
class _Call:
    id: str
    name: str
    numbered: bool
    """Whether the client gave the id."""
    answered: bool = False


class Conversation:
    """Reads the contents in order; knows the calls so far."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def read(self, body: Mapping[str, Json]) -> list[Message]:
        messages: list[Message] = []
        contents = many(body, "contents")
        if not contents:
            reading.bad("contents", "must not be empty.")
        for path, content in contents:
            messages += self._content(content, path)
        if not messages:
            reading.bad("contents", "must not be empty.")
        return messages

    def _content(self, content: dict[str, Json], path: str) -> list[Message]:
        role = reading.optional_text(content, "role", path) or "user"
        if role not in ("user", "model", "function", "tool"):
            reading.bad(path + "role", f"must be 'user' or 'model', not {role!r}.")
        mine = role == "model"
        results: list[Message] = []
        parts: list[Part] = []
        items = many(content, "parts", path)
        if not items and not mine:
            reading.bad(path + "parts", "must not be empty.")
        for at, item in items:
            part = self._part(camel(item), at, mine)
            if isinstance(part, ToolResult):
                results.append(Message("tool", (part,)))
            else:
                parts.append(part)
        said = [Message("assistant" if mine else "user", tuple(parts))] if parts else []
        return results + said

    def _part(self, part: dict[str, Json], path: str, mine: bool) -> Part:
        beside = {name: part[name] for name in SIBLINGS if name in part} or None
        if part.get("text") is not None:
            text = reading.text(part, "text", path)
            if mine and reading.flag(part, "thought", path):
                # It is Gemini's own: another's is never shown to a caller of this dialect.
                signature = reading.optional_text(part, "thoughtSignature", path)
                return Reasoning(text, signature, vendor=NAME) if signature else Reasoning(text)
            return Text(text, beside)
        blob = reading.optional_object(part, "inlineData", path)
        if blob is not None:
            return _inline(camel(blob), path + "inlineData.", beside)
        link = reading.optional_object(part, "fileData", path)
        if link is not None:
            return _linked(camel(link), path + "fileData.", beside)
        call = reading.optional_object(part, "functionCall", path)
        if call is not None:
            if not mine:
                reading.bad(path + "functionCall", "must stand in a content of role 'model'.")
            signature = reading.optional_text(part, "thoughtSignature", path)
            return self._call(call, path + "functionCall.", signature)
        response = reading.optional_object(part, "functionResponse", path)
        if response is not None:
            if mine:
                reading.bad(path + "functionResponse", "must stand in a content of role 'user'.")
            return self._result(camel(response), path + "functionResponse.")
        return _working(part, path)

    def _call(self, call: dict[str, Json], path: str, signature: str | None) -> ToolCall:
        name = reading.text(call, "name", path)
        args = reading.optional_object(call, "args", path)
        given = reading.optional_text(call, "id", path)
        made = _Call(given or new_id(), name, bool(given))
        self._calls.append(made)
        return ToolCall(made.id, name, reading.json_text(args or {}, path + "args"), signature)

    def _result(self, told: dict[str, Json], path: str) -> ToolResult:
        name = reading.text(told, "name", path)
        call = self._called(reading.optional_text(told, "id", path), name, path)
        call.answered = True
        response = reading.optional_object(told, "response", path) or {}
        text, is_error, exact = _outcome(response, path + "response")
        parts: list[Text | Image] = [Text(text)]
        for at, piece in many(told, "parts", path):
            where = at + "inlineData."
            blob = reading.optional_object(camel(piece), "inlineData", at)
            image = _inline(camel(blob or {}), where, None)
            if not isinstance(image, Image):
                reading.bad(where + "mimeType", "must be an image's.")
            parts.append(image)
        opaque = None if exact else {RAW_RESPONSE: response}
        return ToolResult(call.id, tuple(parts), call.name, is_error, opaque)

    def _called(self, given: str | None, name: str, path: str) -> _Call:
        if given:
            # Clients that count anew in each turn repeat ids; the last call is meant.
            for call in reversed(self._calls):
                if call.id == given:
                    return call
        waiting = (call for call in self._calls if call.name == name and not call.answered)
        found = next((call for call in waiting if not (given and call.numbered)), None)
        if found is None:
            field = "id" if given else "name"
            reading.bad(path + field, f"answers no earlier function call: {given or name!r}.")
        return found


def _outcome(response: dict[str, Json], path: str) -> tuple[str, bool, bool]:
    """Text, whether it is an error, and whether the text says all that the object said."""
    if len(response) == 1:
        (key, value), *_ = response.items()
        if key in ("result", "output", "error"):
            exact = isinstance(value, str) and key != "output"
            text = value if isinstance(value, str) else reading.json_text(value, path)
            return text, key == "error", exact
    return reading.json_text(response, path), False, False


def _inline(blob: dict[str, Json], path: str, beside: Mapping[str, Json] | None) -> Image | File:
    media_type = reading.text(blob, "mimeType", path).partition(";")[0].strip().lower()
    data = _base64(reading.text(blob, "data", path), path + "data")
    kind = _kind(media_type, path)
    if kind == "image":
        check_size(data, path + "data")
        return Image(media_type=media_type, data=data, opaque=beside)
    name = reading.optional_text(blob, "displayName", path)
    return File(kind, media_type=media_type, data=data, name=name, opaque=beside)


def _linked(link: dict[str, Json], path: str, beside: Mapping[str, Json] | None) -> Image | File:
    url = _uri(reading.text(link, "fileUri", path), path + "fileUri")
    told = reading.optional_text(link, "mimeType", path)
    media_type = told or type_of_url(url)
    kind = _kind(media_type, path) if media_type else "document"
    if kind == "image":
        return Image(media_type=media_type, url=url, opaque=beside)
    return File(kind, media_type=told, url=url, opaque=beside)


def _uri(url: str, where: str) -> str:
    """A name of Google's own files has no scheme, or gs:."""
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if scheme in ("http", "https"):
        return public_url(url, where)
    if scheme not in ("", "gs"):
        reading.bad(where, "must begin with https:// or gs://, or be a file's name.")
    return url


def _kind(media_type: str, path: str) -> Literal["image", "audio", "document"]:
    if media_type in IMAGE_TYPES:
        return "image"
    main = media_type.partition("/")[0]
    if main not in ("audio", "application", "text", "video"):
        reading.bad(path + "mimeType", f"is not a media type that is known here: {media_type!r}.")
    return "audio" if main == "audio" else "document"


def _base64(data: str, path: str) -> str:
    """Standard base64 with padding; Google's SDK writes the URL-safe alphabet."""
    data = data.translate(_URL_SAFE) if "-" in data or "_" in data else data
    data += "=" * (-len(data) % 4)
    if not is_base64(data):
        reading.bad(path, "must be base64.")
    return data


def _working(part: dict[str, Json], path: str) -> Text:
    """Steps of a tool that Google ran: words to others, the very part to Gemini."""
    code = reading.optional_object(part, "executableCode", path)
    if code is not None:
        language = str(code.get("language", "")).lower()
        return Text(f"```{language}\n{code.get('code', '')}\n```", {RAW_PART: part})
    result = reading.optional_object(part, "codeExecutionResult", path)
    if result is not None:
        return Text(f"```\n{result.get('output', '')}\n```", {RAW_PART: part})
    signature = reading.optional_text(part, "thoughtSignature", path)
    if not signature:
        reading.bad(path.removesuffix("."), "has no content that is known here.")
    return Text("", {"thoughtSignature": signature})
