"""Reads the answer of POST /api/chat: a line at a time, or whole (PROTOCOLS 5.3)."""

from __future__ import annotations

import secrets
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
from dialects.framing import Frame
from dialects.ollama import arguments
from dialects.ollama.errors import in_band

TRUNCATED = "prompt_truncated"
"""Finish.detail when Ollama cut the prompt to its context."""


class OllamaParser:
    """One stream. `sizes` are the contexts that we ask for."""

    def __init__(self, sizes: Collection[int]) -> None:
        self.done = False
        self._sizes = sizes
        self._started = False
        self._ids: set[str] = set()
        self._calls = 0

    def feed(self, frame: Frame) -> Sequence[StreamEvent]:
        if self.done:
            return ()
        return self.read(loaded(frame.data))

    def close(self) -> Sequence[StreamEvent]:
        if not self.done:
            raise Broken("The upstream's answer ended before it was finished.", code="cut")
        return ()

    def read(self, line: dict[str, Json]) -> list[StreamEvent]:
        """The events of one line, which may hold thoughts, text and tool calls at once."""
        if line.get("error"):
            raise in_band(line)
        events: list[StreamEvent] = []
        if not self._started:
            self._started = True
            model = line.get("model")
            events.append(Start(model=model if isinstance(model, str) else ""))
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
            raise Broken("The upstream sent a tool call without a name.", code="malformed")
        try:
            text = arguments.as_text(function.get("arguments"))
        except orjson.JSONEncodeError:
            raise Broken(
                "The upstream sent a tool call that is nested too deep.", code="malformed"
            ) from None
        given = call.get("id")
        if not isinstance(given, str) or not given or given in self._ids:
            given = "call_" + secrets.token_hex(12)
        self._ids.add(given)
        self._calls += 1
        return ToolCallDelta(self._calls - 1, id=given, name=name, arguments=text)

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
        raise Broken("The upstream answered with what is no object.", code="malformed")
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
        raise Broken("The upstream sent a line that is not JSON.", code="malformed") from None
    if not isinstance(found, dict):
        raise Broken("The upstream sent a line that is no object.", code="malformed")
    return found


def usage_of(line: dict[str, Json]) -> Usage | None:
    """The counts of a last line. Ollama leaves out what is zero."""
    read = _count(line.get("prompt_eval_count"))
    written = _count(line.get("eval_count"))
    if read is None and written is None:
        return None
    return Usage(input_tokens=read, output_tokens=written)


def _count(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value
