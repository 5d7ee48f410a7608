"""Reads the answer of POST /api/chat: a line at a time, or whole (PROTOCOLS 5.3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import orjson

from chat.errors import Broken
from chat.events import (
    Finish,
    FinishReason,
    ReasoningDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.request import Json
from dialects import arguments
from dialects.answers import count, string
from dialects.call_ids import CallIds
from dialects.framing import Frame
from dialects.ollama.errors import in_band
from dialects.upstream_errors import cut, malformed

TRUNCATED = "prompt_truncated"
"""Finish.detail when Ollama cut the prompt to its context."""


class OllamaParser:
    """One stream. `sizes` are the contexts that we ask for."""

    def __init__(self, sizes: Collection[int]) -> None:
        self.done = False
        self._sizes = sizes
        self._started = False
        self._ids = CallIds()
        self._calls = 0

    def feed(self, frame: Frame) -> Sequence[StreamEvent]:
        if self.done:
            return ()
        return self.read(loaded(frame.data))

    def close(self) -> Sequence[StreamEvent]:
        if not self.done:
            raise cut()
        return ()

    def read(self, line: dict[str, Json]) -> list[StreamEvent]:
        """The events of one line, which may hold thoughts, text and tool calls at once."""
        if line.get("error"):
            raise in_band(line)
        events: list[StreamEvent] = []
        if not self._started:
            self._started = True
            events.append(Start(model=string(line.get("model"))))
        message = line.get("message")
        if isinstance(message, dict):
            thinking = message.get("thinking")
            if thinking and isinstance(thinking, str):
                events.append(ReasoningDelta(thinking))
            content = message.get("content")
            if content and isinstance(content, str):
                events.append(TextDelta(content))
            calls = message.get("tool_calls")
            if calls and isinstance(calls, list):
                events += [self._call(call) for call in calls]
        if line.get("done") is True:
            self.done = True
            usage = usage_of(line)
            if usage is not None:
                events.append(usage)
            events.append(self._finish(line.get("done_reason"), usage))
        return events

    def _call(self, call: Json) -> ToolCallDelta:
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            raise malformed("a tool call without a name")
        text = arguments.as_text(function.get("arguments")) or "{}"
        self._calls += 1
        return ToolCallDelta(self._calls - 1, self._ids.unique(call.get("id")), name, text)

    def _finish(self, told: Json, usage: Usage | None) -> Finish:
        reason: FinishReason = "stop"
        detail = None
        if told == "length":
            reason = "length"
        elif self._calls:
            reason = "tool_calls"
        if isinstance(told, str) and told not in ("", "stop", "length"):
            detail = told
        # A cut prompt fills the context to the last token; nothing else says so.
        if usage is not None and usage.input_tokens in self._sizes:
            detail = TRUNCATED
        return Finish(reason, detail=detail)


def parse_response(body: Json, sizes: Collection[int]) -> Sequence[StreamEvent]:
    """A whole answer: the last line of a stream with everything in it."""
    if not isinstance(body, dict):
        raise malformed("an answer that is no object")
    parser = OllamaParser(sizes)
    events = parser.read(body)
    parser.close()
    return events


def loaded(line: bytes) -> dict[str, Json]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        if line.startswith(b"{") and not line.endswith(b"}"):
            raise Broken("The upstream's answer was cut inside a line.", code="cut") from None
        raise malformed("a line that is not JSON") from None
    if not isinstance(found, dict):
        raise malformed("a line that is no object")
    return found


def usage_of(line: dict[str, Json]) -> Usage | None:
    """The counts of a last line. Ollama leaves out what is zero."""
    read = count(line.get("prompt_eval_count"))
    written = count(line.get("eval_count"))
    if read is None and written is None:
        return None
    return Usage(input_tokens=read, output_tokens=written)
