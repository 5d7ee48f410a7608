"""What an Anthropic upstream answers -> events (PROTOCOLS 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from chat.errors import Broken
from chat.events import (
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from chat.request import Json
from dialects import arguments
from dialects.answers import string
from dialects.anthropic.errors import in_band
from dialects.anthropic.words import NAME, finish_of, usage_of
from dialects.call_ids import CallIds
from dialects.framing import Frame
from dialects.upstream_errors import cut, malformed

_NOTHING: Final[tuple[StreamEvent, ...]] = ()


class AnthropicParser:
    """Reads one stream. Kinds of events, blocks and deltas that it does not know are left out;
    so are citations and the blocks of tools that ran at the upstream."""

    def __init__(self) -> None:
        self.done = False
        self._started = False
        self._kind = ""
        self._block: Json = None
        self._signature = ""
        self._prefilled = ""
        self._pieces = False
        self._calls = 0
        self._ids = CallIds()
        self._usage: dict[str, Json] = {}
        self._stop: str | None = None
        self._stop_sequence: str | None = None

    def feed(self, frame: Frame) -> Sequence[StreamEvent]:
        if self.done:
            return _NOTHING
        try:
            said = orjson.loads(frame.data)
        except orjson.JSONDecodeError:
            return self._no_json(frame)
        if not isinstance(said, dict):
            if frame.event == b"error":
                raise in_band(said)
            raise malformed("an event that is no object")
        kind = said.get("type")
        if kind == "content_block_delta":
            delta = said.get("delta")
            if not isinstance(delta, dict):
                return _NOTHING
            if self._kind == "text" and delta.get("type") == "text_delta":
                text = delta.get("text")
                return (TextDelta(text),) if text and isinstance(text, str) else _NOTHING
            return self._delta(said, delta)
        return self._other(kind, said, frame.event)

    def close(self) -> Sequence[StreamEvent]:
        if self.done:
            return _NOTHING
        if self._stop is None:
            raise cut()
        return self._end()

    def whole(self, message: dict[str, Json]) -> Sequence[StreamEvent]:
        """A one-shot answer."""
        if message.get("error") or message.get("type") == "error":
            raise in_band(message)
        blocks = message.get("content")
        if not isinstance(blocks, list):
            raise Broken("The upstream's answer has no content.", code="malformed")
        events = self._start(message)
        for block in blocks:
            events += self._open({"content_block": block})
            events += self._shut()
        events += self._stopped(message)
        return events + self._end()

    def _no_json(self, frame: Frame) -> Sequence[StreamEvent]:
        data = frame.data.strip()
        if not data or data == b"[DONE]":
            return _NOTHING
        raise malformed("an event that is not JSON")

    def _other(self, kind: Json, said: dict[str, Json], name: bytes) -> Sequence[StreamEvent]:
        if not isinstance(kind, str):
            kind = name.decode("utf-8", "replace")
        if kind == "content_block_start":
            return self._begun() + self._shut() + self._open(said)
        if kind == "content_block_stop":
            return self._begun() + self._shut()
        if kind == "message_delta":
            return self._begun() + self._last(said)
        if kind == "message_stop":
            return self._begun() + self._end()
        if kind == "message_start":
            message = said.get("message")
            return self._start(message if isinstance(message, dict) else {})
        if kind == "message":
            return self.whole(said)
        if kind == "error" or said.get("error"):
            raise in_band(said)
        return _NOTHING

    def _begun(self) -> list[StreamEvent]:
        return [] if self._started else self._start({})

    def _start(self, message: Mapping[str, Json]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if not self._started:
            self._started = True
            events.append(Start(string(message.get("id")), string(message.get("model"))))
        return events + self._used(message)

    def _used(self, carrier: Mapping[str, Json]) -> list[StreamEvent]:
        """Figures are cumulative: newer ones win, what they leave out is kept."""
        figures = carrier.get("usage")
        if not isinstance(figures, dict):
            return []
        self._usage.update((name, value) for name, value in figures.items() if value is not None)
        usage = usage_of(self._usage)
        return [] if usage is None else [usage]

    def _open(self, said: Mapping[str, Json]) -> list[StreamEvent]:
        block = said.get("content_block")
        if not isinstance(block, dict):
            return []
        self._block = said.get("index")
        kind = block.get("type")
        if kind == "text":
            self._kind = "text"
            text = string(block.get("text"))
            return [TextDelta(text)] if text else []
        if kind == "thinking":
            self._kind = "thinking"
            self._signature = string(block.get("signature"))
            thought = string(block.get("thinking"))
            return [ReasoningDelta(thought)] if thought else []
        if kind == "redacted_thinking":
            data = string(block.get("data"))
            return [ReasoningDelta(redacted=data, vendor=NAME)] if data else []
        if kind == "tool_use":
            return [self._call(block)]
        self._kind = "other"
        return []

    def _call(self, block: Mapping[str, Json]) -> ToolCallDelta:
        name = string(block.get("name"))
        if not name:
            raise malformed("a tool call without a name")
        identity = self._ids.unique(block.get("id"))
        given = block.get("input")
        # Held until it is known that no pieces follow: some servers send both.
        prefilled = isinstance(given, dict | str) and given
        self._prefilled = arguments.as_text(given) if prefilled else ""
        self._pieces = False
        self._kind = "tool"
        self._calls += 1
        return ToolCallDelta(self._calls - 1, identity, name)

    def _delta(self, said: Mapping[str, Json], delta: Mapping[str, Json]) -> Sequence[StreamEvent]:
        kind = delta.get("type")
        if kind == "text_delta":
            return self._move_to("text", delta, "text")
        if kind == "thinking_delta":
            return self._move_to("thinking", delta, "thinking")
        if kind == "signature_delta":
            self._kind = self._kind or "thinking"
            self._signature += string(delta.get("signature"))
            return _NOTHING
        if kind != "input_json_delta" or self._kind == "other":
            return _NOTHING
        if self._kind != "tool" or said.get("index", self._block) != self._block:
            raise malformed("arguments of no open tool call")
        piece = string(delta.get("partial_json"))
        if not piece:
            return _NOTHING
        self._pieces = True
        return (ToolCallDelta(self._calls - 1, arguments=piece),)

    def _move_to(self, kind: str, delta: Mapping[str, Json], field: str) -> Sequence[StreamEvent]:
        """A piece of text or thought, also where its block was never opened."""
        text = string(delta.get(field))
        if not text:
            return _NOTHING
        event = TextDelta(text) if kind == "text" else ReasoningDelta(text)
        if self._kind == kind:
            return (event,)
        events = self._begun() + self._shut()
        self._kind = kind
        return [*events, event]

    def _shut(self) -> list[StreamEvent]:
        """What is only known at the end of a block."""
        events: list[StreamEvent] = []
        if self._kind == "tool" and not self._pieces:
            events.append(ToolCallDelta(self._calls - 1, arguments=self._prefilled or "{}"))
        elif self._kind == "thinking" and self._signature:
            events.append(ReasoningDelta(signature=self._signature, vendor=NAME))
        self._kind = ""
        self._block = None
        self._signature = ""
        return events

    def _last(self, said: Mapping[str, Json]) -> list[StreamEvent]:
        delta = said.get("delta")
        events = self._shut()
        events += self._stopped(delta if isinstance(delta, dict) else {})
        return events + self._used(said)

    def _stopped(self, delta: Mapping[str, Json]) -> list[StreamEvent]:
        reason = delta.get("stop_reason")
        if not isinstance(reason, str):
            return []
        self._stop = reason
        sequence = delta.get("stop_sequence")
        self._stop_sequence = sequence if isinstance(sequence, str) else None
        details = delta.get("stop_details")
        words = string(details.get("explanation")) if isinstance(details, dict) else ""
        return [RefusalDelta(words)] if words and reason == "refusal" else []

    def _end(self) -> list[StreamEvent]:
        self.done = True
        return [*self._shut(), finish_of(self._stop, self._stop_sequence, self._calls)]


def parse_response(body: Json) -> Sequence[StreamEvent]:
    """A whole one-shot answer. Raises UpstreamError when it is an error or no answer."""
    if not isinstance(body, dict):
        raise Broken("The upstream's answer is no object.", code="malformed")
    return AnthropicParser().whole(body)
