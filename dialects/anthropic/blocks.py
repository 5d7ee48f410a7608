"""A caller's content blocks -> parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
from dialects.addresses import public_url
from dialects.anthropic.words import IMAGE_TYPES, NAME
from dialects.images import check_size, is_base64
from dialects.reading import (
    bad,
    flag,
    json_text,
    kind_of,
    objects,
    optional_text,
    required_object,
    text,
)

_OWN: Final = frozenset({"server_tool_use", "mcp_tool_use", "container_upload", "compaction"})
_OWN_IN_RESULTS: Final = frozenset({"tool_reference", "browser_state"})


class Reader:
    """Reads the messages of one request in order, and knows the calls so far."""

    def __init__(self) -> None:
        self._calls: dict[str, str] = {}

    def assistant(self, message: Mapping[str, Json], path: str) -> Message:
        parts: list[Part] = []
        for where, block in objects(message, "content", path):
            kind = text(block, "type", where)
            if kind == "text":
                parts.append(text_block(block, where))
            elif kind == "thinking":
                parts.append(_thought(block, where))
            elif kind == "redacted_thinking":
                parts.append(Reasoning(redacted=text(block, "data", where), vendor=NAME))
            elif kind == "tool_use":
                parts.append(self._call(block, where))
            elif kind in _OWN or kind.endswith("_tool_result"):
                parts.append(_ridden(block))
            else:
                bad(f"{where}type", f"{kind!r} cannot be read in an assistant's message.")
        return Message("assistant", tuple(parts))

    def user(self, message: Mapping[str, Json], path: str) -> list[Message]:
        """Results of tools as messages of their own, then the rest, as the wire orders them."""
        messages: list[Message] = []
        parts: list[Part] = []
        for where, block in objects(message, "content", path):
            kind = text(block, "type", where)
            if kind == "text":
                parts.append(text_block(block, where))
            elif kind == "tool_result":
                messages.append(Message("tool", (self._result(block, where),)))
            elif kind == "image":
                parts.append(_image(block, where))
            elif kind == "document":
                parts.append(_document(block, where))
            elif kind == "search_result":
                parts.append(_search_result(block, where))
            elif kind in _OWN or kind.endswith("_tool_result"):
                parts.append(_ridden(block, f"(A {kind} that only its own provider can read.)"))
            else:
                bad(f"{where}type", f"{kind!r} cannot be read in a user's message.")
        if parts or not messages:
            messages.append(Message("user", tuple(parts)))
        return messages

    def _call(self, block: Mapping[str, Json], where: str) -> ToolCall:
        identity = text(block, "id", where)
        name = text(block, "name", where)
        given = required_object(block, "input", where)
        self._calls[identity] = name
        return ToolCall(identity, name, json_text(given, f"{where}input"))

    def _result(self, block: Mapping[str, Json], where: str) -> ToolResult:
        identity = text(block, "tool_use_id", where)
        name = self._calls.get(identity)
        if name is None:
            bad(f"{where}tool_use_id", f"{identity!r} answers no tool_use before it.")
        return ToolResult(
            identity,
            _result_parts(block, where),
            name,
            flag(block, "is_error", where) or False,
            _marks(block, "cache_control"),
        )


def _thought(block: Mapping[str, Json], where: str) -> Reasoning:
    """A signature is Anthropic's own: another's is never shown to a caller of this dialect."""
    words = optional_text(block, "thinking", where) or ""
    signature = optional_text(block, "signature", where)
    return Reasoning(words, signature, vendor=NAME) if signature else Reasoning(words)


def text_block(block: Mapping[str, Json], where: str) -> Text:
    kind = text(block, "type", where)
    if kind != "text":
        bad(f"{where}type", f"must be text, not {kind!r}.")
    return Text(text(block, "text", where), _marks(block, "cache_control"))


def _result_parts(block: Mapping[str, Json], where: str) -> tuple[Text | Image, ...]:
    content = block.get("content")
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        bad(f"{where}content", f"must be a string or a list of blocks, not {kind_of(content)}.")
    parts: list[Text | Image] = []
    for place, inner in objects(block, "content", where):
        kind = text(inner, "type", place)
        if kind == "text":
            parts.append(text_block(inner, place))
        elif kind == "image":
            parts.append(_image(inner, place))
        elif kind == "search_result":
            parts.append(_search_result(inner, place))
        elif kind == "document":
            document = _document(inner, place)
            words = "(A document that only its own provider can read here.)"
            parts.append(document if isinstance(document, Text) else _ridden(inner, words))
        elif kind in _OWN_IN_RESULTS:
            parts.append(_ridden(inner))
        else:
            bad(f"{place}type", f"{kind!r} cannot be read in a tool's result.")
    return tuple(parts)


def _ridden(block: Mapping[str, Json], words: str = "") -> Text:
    """A block that goes back to Anthropic as it came; `words` stand for it elsewhere."""
    return Text(words, {"block": block})


def _marks(block: Mapping[str, Json], *names: str) -> dict[str, Json] | None:
    return {name: block[name] for name in names if block.get(name) is not None} or None


def _image(block: Mapping[str, Json], where: str) -> Image:
    source = required_object(block, "source", where)
    opaque = _marks(block, "cache_control")
    inner = f"{where}source."
    kind = text(source, "type", inner)
    if kind == "url":
        return Image(url=_address(source, inner), opaque=opaque)
    if kind == "file":
        return Image(opaque={**(opaque or {}), "source": source})
    if kind != "base64":
        bad(f"{inner}type", f"must be base64, url or file, not {kind!r}.")
    media_type = text(source, "media_type", inner)
    if media_type not in IMAGE_TYPES:
        bad(f"{inner}media_type", f"must be one of {', '.join(sorted(IMAGE_TYPES))}.")
    data = _base64(source, inner)
    check_size(data, f"{inner}data")
    return Image(media_type, data, opaque=opaque)


def _document(block: Mapping[str, Json], where: str) -> File | Text:
    """Words as Text, so that every vendor can read them; else a file."""
    source = required_object(block, "source", where)
    inner = f"{where}source."
    kind = text(source, "type", inner)
    title = optional_text(block, "title", where)
    if kind == "text":
        return Text(_titled(title, text(source, "data", inner)), {"block": block})
    if kind == "content":
        return Text(_titled(title, _words_of(source, inner)), {"block": block})
    opaque = _marks(block, "cache_control", "citations", "context")
    if kind == "url":
        return File("document", url=_address(source, inner), name=title, opaque=opaque)
    if kind == "file":
        return File("document", name=title, opaque={**(opaque or {}), "source": source})
    if kind != "base64":
        bad(f"{inner}type", f"must be base64, text, content, url or file, not {kind!r}.")
    media_type = text(source, "media_type", inner)
    if media_type != "application/pdf":
        bad(f"{inner}media_type", "must be application/pdf.")
    return File("document", media_type, _base64(source, inner), name=title, opaque=opaque)


def _search_result(block: Mapping[str, Json], where: str) -> Text:
    title = f"{text(block, 'title', where)} ({text(block, 'source', where)})"
    return Text(_titled(title, _words_of(block, where)), {"block": block})


def _words_of(carrier: Mapping[str, Json], where: str) -> str:
    """The text of `content`, a string or blocks."""
    content = carrier.get("content")
    if isinstance(content, str):
        return content
    words = []
    for place, block in objects(carrier, "content", where):
        if text(block, "type", place) == "text":
            words.append(text(block, "text", place))
    return "\n".join(words)


def _titled(title: str | None, words: str) -> str:
    return f"{title}\n\n{words}" if title else words


def _address(source: Mapping[str, Json], where: str) -> str:
    return public_url(text(source, "url", where), f"{where}url")


def _base64(source: Mapping[str, Json], where: str) -> str:
    data = text(source, "data", where)
    if not is_base64(data):
        bad(f"{where}data", "must be base64.")
    return data
