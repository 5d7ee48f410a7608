"""Messages -> turns of Anthropic's: one system prompt, then user and assistant by turns."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from dialects import arguments
from dialects.addresses import is_address
from dialects.anthropic.words import IMAGE_TYPES, NAME, is_signed
from dialects.images import image_type
from dialects.upstream_errors import unsupported

PLACEHOLDER: Final = "(no content)"
"""Stands where the wire wants words and there are none."""

_NOT_IN_AN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_THOUGHTS: Final = ("thinking", "redacted_thinking")


@dataclass
class _Turn:
    """Consecutive messages of one role. Results of tools stand first, as the wire wants."""

    role: str
    results: list[Json] = field(default_factory=list)
    blocks: list[Json] = field(default_factory=list)

    def content(self) -> Json:
        blocks = self.results + self.blocks
        if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
            return blocks[0]["text"]
        return blocks


class _Ids:
    """Ids of tool calls as the wire takes them: only [a-zA-Z0-9_-], no two calls the same. A
    result finds the call it belongs to, also where two calls had one id."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, str] = {}
        self._waiting: dict[str, list[str]] = {}

    def next_turn(self) -> None:
        """What was called before is answered by now, or never."""
        self._waiting.clear()

    def of_call(self, identity: str) -> str:
        clean = wanted = _NOT_IN_AN_ID.sub("_", identity) or "call"
        number = 1
        while clean in self._taken:
            number += 1
            clean = f"{wanted}_{number}"
        self._taken.add(clean)
        self._last[identity] = clean
        self._waiting.setdefault(identity, []).append(clean)
        return clean

    def of_result(self, identity: str) -> str:
        waiting = self._waiting.get(identity)
        if waiting:
            return waiting.pop(0)
        return self._last.get(identity) or _NOT_IN_AN_ID.sub("_", identity) or "call"


def without_foreign_thoughts(messages: Json) -> Json:
    """The same list, or a copy without thoughts that carry no signature of Anthropic's: another
    vendor's answer in the history of a caller who was routed elsewhere before."""
    if not isinstance(messages, list):
        return messages
    kept = []
    changed = False
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list) or message.get("role") != "assistant":
            kept.append(message)
            continue
        blocks = [block for block in content if not _is_foreign_thought(block)]
        if len(blocks) == len(content):
            kept.append(message)
            continue
        changed = True
        if blocks:
            kept.append({**message, "content": blocks})
    return kept if changed else messages


def _is_foreign_thought(block: Json) -> bool:
    if not isinstance(block, dict):
        return False
    if block.get("type") == "thinking":
        return not is_signed(block.get("signature"))
    return block.get("type") == "redacted_thinking" and not is_signed(block.get("data"))


def conversation(messages: Sequence[Message]) -> tuple[Json, list[Json]]:
    """The system prompt (a string, blocks, or [] for none) and turns that alternate."""
    system: list[Json] = []
    turns: list[_Turn] = []
    ids = _Ids()
    leading = True
    last_system = max((at for at, m in enumerate(messages) if m.role == "system"), default=-1)
    only_system = all(message.role == "system" for message in messages)
    for at, message in enumerate(messages):
        if message.role == "system" and leading and not (only_system and at == last_system):
            system += _words(message.parts)
            continue
        leading = False
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role))
            if role == "assistant":
                ids.next_turn()
        turn = turns[-1]
        if message.role == "system":
            turn.blocks += _words(message.parts) if only_system else _folded(message)
            continue
        for part in message.parts:
            if isinstance(part, ToolResult):
                turn.results.append(_result(part, ids))
            else:
                turn.blocks += _blocks(part, ids)
    wire = [{"role": turn.role, "content": turn.content()} for turn in _alternating(turns)]
    if len(system) == 1 and system[0].keys() == {"type", "text"}:
        return system[0]["text"], wire
    return system, wire


def _alternating(turns: Iterable[_Turn]) -> list[_Turn]:
    """No turn is empty, the first is the user's, and no two of one role meet."""
    kept: list[_Turn] = []
    for turn in turns:
        if turn.role == "assistant":
            while turn.blocks and turn.blocks[-1]["type"] in _THOUGHTS:
                turn.blocks.pop()
            if not turn.blocks:
                continue
        if kept and kept[-1].role == turn.role:
            kept[-1].results += turn.results
            kept[-1].blocks += turn.blocks
        else:
            kept.append(turn)
    if not kept or kept[0].role == "assistant":
        kept.insert(0, _Turn("user"))
    for turn in kept:
        if not turn.results and not turn.blocks:
            turn.blocks.append({"type": "text", "text": PLACEHOLDER})
    last = kept[-1].blocks[-1:]
    if kept[-1].role == "assistant" and last[0]["type"] == "text":
        # A prefill must not end with space.
        kept[-1].blocks[-1] = {**last[0], "text": last[0]["text"].rstrip()}
    return kept


def _words(parts: Iterable[Part]) -> list[Json]:
    blocks = [block for part in parts if isinstance(part, Text) for block in _text(part)]
    return [block for block in blocks if block["type"] == "text"]


def _folded(message: Message) -> list[Json]:
    """A system message amid the conversation, in the user's turn."""
    return [
        {**block, "text": f"<system>\n{block['text']}\n</system>"}
        for block in _words(message.parts)
    ]


def _blocks(part: Part, ids: _Ids) -> list[Json]:
    if isinstance(part, Text):
        return _text(part)
    if isinstance(part, Image):
        return [_image(part)]
    if isinstance(part, Reasoning):
        return _thought(part)
    if isinstance(part, ToolCall):
        call = {"type": "tool_use", "id": ids.of_call(part.id), "name": part.name}
        return [{**call, "input": arguments.as_object(part.arguments)}]
    if isinstance(part, File):
        return [_document(part)]
    return []


def _text(part: Text) -> list[Json]:
    """Nothing for blank words, which the wire refuses."""
    block = marks_of(part.opaque, "block").get("block")
    if isinstance(block, dict) and isinstance(block.get("type"), str):
        return [block]
    if not part.text.strip():
        return []
    return [{"type": "text", "text": part.text, **marks_of(part.opaque, "cache_control")}]


def marks_of(opaque: Mapping[str, Json] | None, *names: str) -> dict[str, Json]:
    """What rode along and is Anthropic's own."""
    if not opaque or opaque.get("dialect", NAME) != NAME:
        return {}
    return {name: opaque[name] for name in names if name in opaque}


def _thought(part: Reasoning) -> list[Json]:
    """Nothing for what Anthropic did not sign: it is never invented."""
    if part.vendor != NAME:
        return []
    if part.redacted is not None:
        return (
            [{"type": "redacted_thinking", "data": part.redacted}]
            if is_signed(part.redacted)
            else []
        )
    if not is_signed(part.signature):
        return []
    return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]


def _image(part: Image) -> Json:
    marks = marks_of(part.opaque, "cache_control")
    source = marks_of(part.opaque, "source").get("source")
    if part.data is not None:
        media_type = part.media_type or image_type(part.data)
        if media_type not in IMAGE_TYPES:
            raise unsupported(f"a picture of type {media_type}")
        source = {"type": "base64", "media_type": media_type, "data": part.data}
    elif part.url is not None and is_address(part.url):
        source = {"type": "url", "url": part.url}
    if not isinstance(source, dict):
        raise unsupported("a picture without data, or one that only another vendor has")
    return {"type": "image", "source": source, **marks}


def _document(part: File) -> Json:
    if part.kind != "document":
        raise unsupported("sound")
    marks = marks_of(part.opaque, "cache_control", "citations", "context")
    title = {"title": part.name} if part.name else {}
    source = marks_of(part.opaque, "source").get("source")
    if part.data is not None and part.media_type == "text/plain":
        try:
            text = base64.b64decode(part.data).decode("utf-8", "replace")
        except binascii.Error:
            raise unsupported("a document that is not base64") from None
        source = {"type": "text", "media_type": "text/plain", "data": text}
    elif part.data is not None:
        media_type = part.media_type or "application/pdf"
        source = {"type": "base64", "media_type": media_type, "data": part.data}
    elif part.url is not None and is_address(part.url):
        source = {"type": "url", "url": part.url}
    if not isinstance(source, dict):
        raise unsupported("a document without data, or one that only another vendor has")
    return {"type": "document", "source": source, **title, **marks}


def _result(part: ToolResult, ids: _Ids) -> Json:
    block: dict[str, Json] = {"type": "tool_result", "tool_use_id": ids.of_result(part.call_id)}
    content: list[Json] = []
    for piece in part.parts:
        content += _text(piece) if isinstance(piece, Text) else [_image(piece)]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        block["content"] = content[0]["text"]
    elif content:
        block["content"] = content
    if part.is_error:
        block["is_error"] = True
    return {**block, **marks_of(part.opaque, "cache_control")}
