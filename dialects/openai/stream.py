"""Chunks of POST /v1/chat/completions -> events (PROTOCOLS 2.2, 2.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import orjson

from chat.events import (
    UNCOUNTED,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    Usage,
)
from chat.request import Json
from dialects.answers import count, string
from dialects.framing import Frame
from dialects.openai.errors import carries_error, error_in_band
from dialects.openai.quirks import OpenAiQuirks
from dialects.openai.think import ThinkTags
from dialects.openai.tool_calls import ToolCalls
from dialects.upstream_errors import cut, malformed

DONE = b"[DONE]"

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAiParser:
    """One stream. Finish waits for [DONE] or the end, as usage and stray text come after
    finish_reason."""

    def __init__(self, quirks: OpenAiQuirks) -> None:
        self._tags = ThinkTags() if quirks.think_tags else None
        self._calls = ToolCalls()
        self._usage = UNCOUNTED
        self._reason: str | None = None
        self._stop_sequence: str | None = None
        self._started = False
        self._finished = False
        self.done = False

    def feed(self, frame: Frame) -> Sequence[StreamEvent]:
        data = frame.data
        if self.done or not data:
            return ()
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            word = data.strip()
            if word == DONE:
                self.done = True
                return () if self._reason is None else self._end()
            if not word or self._reason is not None:
                return ()
            chunk = read_json(frame)
        if frame.event == b"error" or not isinstance(chunk, dict) or "error" in chunk:
            return self._perhaps_error(chunk, frame.event)
        if self._started and self._tags is None:
            text = _only_text(chunk)
            if text is not None:
                return (TextDelta(text),) if text else ()
        return self.chunk(chunk)

    def chunk(self, chunk: Mapping[str, Json]) -> list[StreamEvent]:
        """One chat.completion.chunk that is no error."""
        events: list[StreamEvent] = []
        choices = chunk.get("choices")
        if choices is None and "choices" not in chunk and "usage" not in chunk:
            if carries_error(chunk) and self._reason is None:
                raise error_in_band(chunk)
            return events
        if not self._started:
            self._started = True
            events.append(Start(string(chunk.get("id")), string(chunk.get("model"))))
        if isinstance(choices, list) and choices:
            self._choice(choices[0], events)
        if chunk.get("usage") is not None or "x_groq" in chunk:
            self._count(usage_of(chunk), events)
        return events

    def close(self) -> Sequence[StreamEvent]:
        if self._finished:
            return ()
        if self._reason is None:
            raise cut()
        return self._end()

    def _perhaps_error(self, chunk: Json, event: bytes) -> Sequence[StreamEvent]:
        """An error, a whole answer where a stream was asked, or nothing that we know."""
        named = event == b"error"
        if self._reason is not None and (named or not isinstance(chunk, dict)):
            return ()
        if isinstance(chunk, dict):
            is_error = carries_error(chunk) or (named and not chunk.get("choices"))
            if not is_error:
                return self.chunk(as_chunk(chunk) if named else chunk)
        else:
            items = chunk if isinstance(chunk, list) else ()
            is_error = named or any(isinstance(i, dict) and carries_error(i) for i in items)
        if is_error and self._reason is None:
            raise error_in_band(chunk)
        return ()

    def _choice(self, choice: Json, events: list[StreamEvent]) -> None:
        if not isinstance(choice, dict) or choice.get("index") not in (0, None):
            return
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._delta(delta, events)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason and self._reason is None:
            if reason == "error":
                raise error_in_band({"error": choice.get("error") or "The upstream failed."})
            self._reason = reason
            stop = choice.get("stop_reason")
            self._stop_sequence = stop if isinstance(stop, str) else None
        if isinstance(choice.get("usage"), dict):
            self._count(usage_of(choice), events)

    def _delta(self, delta: Mapping[str, Json], events: list[StreamEvent]) -> None:
        thought = delta.get("reasoning_content") or delta.get("reasoning") or delta.get("thinking")
        if thought and isinstance(thought, str):
            events.append(ReasoningDelta(thought))
        content = delta.get("content")
        if content:
            if isinstance(content, str):
                self._text(content, events)
            elif isinstance(content, list):
                self._parts(content, events)
            if len(delta) == 1:
                return
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            events.append(RefusalDelta(refusal))
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            self._flush_tags(events)
            for call in calls:
                events += self._calls.feed(call)
        elif isinstance(delta.get("function_call"), dict):
            events += self._calls.feed({"index": 0, "function": delta["function_call"]})

    def _text(self, text: str, events: list[StreamEvent]) -> None:
        if self._tags is None:
            events.append(TextDelta(text))
        else:
            events += self._tags.feed(text)

    def _parts(self, parts: Sequence[Json], events: list[StreamEvent]) -> None:
        """Mistral writes content as parts when it thinks."""
        for part in parts:
            if not isinstance(part, dict):
                continue
            thought = part.get("thinking")
            if isinstance(thought, list):
                texts = [string(piece.get("text")) for piece in thought if isinstance(piece, dict)]
                thought = "".join(texts)
            if thought and isinstance(thought, str):
                events.append(ReasoningDelta(thought))
            text = part.get("text")
            if text and isinstance(text, str):
                self._text(text, events)

    def _flush_tags(self, events: list[StreamEvent]) -> None:
        if self._tags is not None:
            events += self._tags.close()

    def _count(self, usage: Usage, events: list[StreamEvent]) -> None:
        newer = self._usage.merged(usage)
        if newer != self._usage:
            self._usage = newer
            events.append(newer)

    def _end(self) -> list[StreamEvent]:
        self._finished = True
        events: list[StreamEvent] = []
        self._flush_tags(events)
        events += self._calls.close()
        word = self._reason or "stop"
        reason = _REASONS.get(word, "stop")
        if reason in ("stop", "tool_calls"):
            reason = "tool_calls" if self._calls else "stop"
        detail = None if word in _REASONS else word
        events.append(Finish(reason, self._stop_sequence, detail))
        return events


def _only_text(chunk: Mapping[str, Json]) -> str | None:
    """The text of a chunk that says nothing else, as nearly all do: found by one call, not four.
    None for any other."""
    choices = chunk.get("choices")
    if type(choices) is not list or not choices or chunk.get("usage") is not None:
        return None
    choice = choices[0]
    if type(choice) is not dict or choice.get("finish_reason") or "usage" in choice:
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or len(delta) != 1 or choice.get("index") not in (0, None):
        return None
    text = delta.get("content")
    return text if type(text) is str and "x_groq" not in chunk else None


def read_json(frame: Frame) -> Json:
    """The frame's JSON. Raises an UpstreamError when it has none."""
    try:
        return _lenient(frame.data)
    except (ValueError, RecursionError):
        if frame.event == b"error":
            raise error_in_band(frame.data.decode("utf-8", "replace")) from None
        raise malformed("a chunk that is not JSON") from None


def as_chunk(body: Mapping[str, Json]) -> dict[str, Json]:
    """A whole chat.completion as one chunk: the message is its delta."""
    chunk = dict(body)
    choices = body.get("choices")
    if not isinstance(choices, list):
        return chunk
    chunk["object"] = "chat.completion.chunk"
    chunk["choices"] = [as_delta(choice) for choice in choices]
    return chunk


def as_delta(choice: Json) -> Json:
    """A whole answer's choice as a chunk has it."""
    delta = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        return choice
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        numbered = [
            {**call, "index": index} if isinstance(call, dict) else call
            for index, call in enumerate(calls)
        ]
        delta = {**delta, "tool_calls": numbered}
    # A whole answer is finished, also where a host forgets to say how.
    finish = choice.get("finish_reason") or "stop"
    told = {**choice, "delta": delta, "finish_reason": finish}
    del told["message"]
    return told


def usage_of(body: Mapping[str, Json]) -> Usage:
    """The usage that a chunk, a body or a choice carries (PROTOCOLS 6.3)."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        groq = body.get("x_groq")
        usage = groq.get("usage") if isinstance(groq, dict) else None
    if not isinstance(usage, dict):
        return UNCOUNTED
    tokens = Usage(count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))
    read = usage.get("prompt_tokens_details")
    if isinstance(read, dict):
        tokens.cached_tokens = count(read.get("cached_tokens"))
        tokens.cache_write_tokens = count(read.get("cache_write_tokens"))
    if tokens.cached_tokens is None and "prompt_cache_hit_tokens" in usage:
        tokens.cached_tokens = count(usage["prompt_cache_hit_tokens"])
    wrote = usage.get("completion_tokens_details")
    if isinstance(wrote, dict) and (thoughts := count(wrote.get("reasoning_tokens"))) is not None:
        tokens.reasoning_tokens = thoughts
        came, went = tokens.input_tokens, tokens.output_tokens
        # Some hosts leave thoughts out of completion_tokens; only their own total tells.
        if (
            thoughts
            and came is not None
            and went is not None
            and count(usage.get("total_tokens")) == came + went + thoughts
        ):
            tokens.output_tokens = went + thoughts
    return tokens


def _lenient(data: bytes) -> Json:
    """Python servers write NaN, and JavaScript servers part surrogate pairs: halves become
    U+FFFD. Raises ValueError or RecursionError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    text = json.dumps(json.loads(data), ensure_ascii=False)
    return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
