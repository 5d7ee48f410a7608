"""Gemini's answers -> events: the chunks of a stream, or the one chunk of a whole answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from chat.errors import Broken
from chat.events import (
    Finish,
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
from dialects.call_ids import CallIds
from dialects.framing import Frame
from dialects.gemini.build import NAME
from dialects.gemini.errors import error_in_band
from dialects.gemini.reasons import FAULTS, finish_of
from dialects.gemini.usage import usage_of
from dialects.upstream_errors import cut, malformed
from dialects.upstream_words import masked


class GeminiParser:
    """Finish comes with `close`: some upstreams write a finishReason on every chunk, and what
    follows the first one must not be lost. Gemini has no terminator; the [DONE] of an imitation
    is one."""

    def __init__(self) -> None:
        self.done = False
        self._started = False
        self._reason: str | None = None
        self._blocked: str | None = None
        self._ids = CallIds()
        self._calls = 0
        self._usage: Json = None

    def feed(self, frame: Frame) -> Sequence[StreamEvent]:
        try:
            value = orjson.loads(frame.data)
        except ValueError:
            told = frame.data.strip()
            if told in (b"", b"[DONE]"):
                self.done = bool(told)
                return ()
            raise malformed("a frame that is not JSON") from None
        if frame.event == b"error" and isinstance(value, dict) and "candidates" not in value:
            raise error_in_band(value.get("error", value))
        return self.take(value)

    def take(self, value: Json) -> list[StreamEvent]:
        """One chunk, or the array of chunks that comes where alt=sse was not asked."""
        events: list[StreamEvent] = []
        for chunk in value if isinstance(value, list) else (value,):
            if not isinstance(chunk, dict):
                raise malformed("a frame that is no object")
            self._chunk(chunk, events)
        return events

    def close(self) -> Sequence[StreamEvent]:
        if self._reason is not None:
            return (finish_of(self._reason, self._calls > 0),)
        if self._blocked is not None:
            return (Finish("content_filter", detail=self._blocked),)
        raise cut()

    def _chunk(self, chunk: dict[str, Json], events: list[StreamEvent]) -> None:
        error = chunk.get("error")
        if error is not None:
            raise error_in_band(error)
        if not self._started:
            self._started = True
            events.append(Start(string(chunk.get("responseId")), string(chunk.get("modelVersion"))))
        candidates = chunk.get("candidates")
        if isinstance(candidates, list) and candidates:
            self._candidate(candidates[0], events)
        else:
            self._feedback(chunk.get("promptFeedback"), events)
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict) and usage != self._usage:
            self._usage = usage
            events.append(usage_of(usage))

    def _candidate(self, candidate: Json, events: list[StreamEvent]) -> None:
        if not isinstance(candidate, dict):
            return
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if isinstance(parts, list):
            for part in parts:
                if isinstance(part, dict):
                    self._part(part, events)
        reason = candidate.get("finishReason")
        if isinstance(reason, str) and reason:
            if reason in FAULTS:
                told = candidate.get("finishMessage")
                why = f": {masked(told)}" if isinstance(told, str) and told else "."
                raise Broken(
                    f"The upstream's model failed with {reason}{why}",
                    code=reason.lower(),
                    retryable=reason != "MISSING_THOUGHT_SIGNATURE",
                )
            self._reason = reason

    def _part(self, part: Mapping[str, Json], events: list[StreamEvent]) -> None:
        text = part.get("text")
        if isinstance(text, str):
            if part.get("thought") is True:
                signature = string(part.get("thoughtSignature")) or None
                if signature:
                    events.append(ReasoningDelta(text, signature, vendor=NAME))
                elif text:
                    events.append(ReasoningDelta(text))
            elif text:
                events.append(TextDelta(text))
            return
        if "functionCall" in part:
            events.append(self._call(part["functionCall"], part.get("thoughtSignature")))
        elif "inlineData" in part or "fileData" in part:
            # An answer that is a picture must not pass for an empty one.
            raise Broken(
                "The upstream answered with media, which only Gemini's own dialect can carry.",
                code="unsupported_content",
                retryable=False,
            )

    def _call(self, call: Json, signature: Json) -> ToolCallDelta:
        name = call.get("name") if isinstance(call, dict) else None
        args = call.get("args") if isinstance(call, dict) else None
        if not isinstance(name, str) or not name or not isinstance(args, dict | None):
            raise malformed("a tool call without a name")
        call_id = self._ids.unique(call.get("id"))
        index = self._calls
        self._calls += 1
        text = arguments.as_text(args or {})
        return ToolCallDelta(index, call_id, name, text, string(signature) or None)

    def _feedback(self, feedback: Json, events: list[StreamEvent]) -> None:
        reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if not isinstance(reason, str) or not reason or self._blocked is not None:
            return
        self._blocked = reason
        told = feedback.get("blockReasonMessage")
        why = masked(told) if isinstance(told, str) and told else f"{reason}."
        events.append(RefusalDelta(f"The upstream blocked this prompt: {why}"))


def parse_whole(body: Json) -> Sequence[StreamEvent]:
    parser = GeminiParser()
    return [*parser.take(body), *parser.close()]
