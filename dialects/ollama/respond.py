"""Events -> what a caller of /api/chat or /api/generate reads (PROTOCOLS 1.3, 5.3).

All JSON is ASCII: clients split lines where Python does, also at U+0085 and U+2028.
"""

from __future__ import annotations

from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Literal

from chat.errors import GatewayError
from chat.events import (
    UNCOUNTED,
    Batch,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json, ToolCall
from chat.trace import Trace
from dialects import arguments
from dialects.ascii_json import ascii_json
from dialects.base import Now
from dialects.ollama.errors import render_error

Shape = Literal["chat", "generate"]

DONE_REASONS: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "stop",
    "content_filter": "stop",
}


def created_at(seconds: float) -> str:
    """Seconds since 1970 -> "2026-01-01T00:00:00.123456Z"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class OllamaRenderer:
    """One stream. What all its lines share is written once, the time of its start too."""

    def __init__(self, request: ChatRequest, now: Now, shape: Shape) -> None:
        self._now = now
        self._started = now()
        # The caller gets back the name that he asked for, as Ollama does it.
        head = b'{"model":%b,"created_at":"%b",' % (
            ascii_json(request.model),
            created_at(self._started).encode(),
        )
        if shape == "chat":
            head += b'"message":{"role":"assistant","content":'
            shut = b"}"
        else:
            head += b'"response":'
            shut = b""
        self._text = head
        self._thought = head + b'"","thinking":'
        self._calls = head + b'"","tool_calls":['
        self._tail = shut + b',"done":false}\n'
        self._calls_tail = b"]" + self._tail
        self._last = head + b'""' + shut + b',"done":true,'
        self._hides_thoughts = request.include_thoughts is False
        self._usage = UNCOUNTED
        self._finish: Finish | None = None
        self._open: ToolCallDelta | None = None
        self._pieces: list[str] = []
        self.keepalive = head + b'""' + self._tail

    def feed(self, events: Batch) -> bytes:
        lines: list[bytes] = []
        for event in events:
            if type(event) is TextDelta and self._open is None:
                if event.text:
                    lines += (self._text, quoted(event.text).encode(), self._tail)
            else:
                self._other(event, lines)
        return b"".join(lines)

    def close(self, trace: Trace) -> bytes:
        lines: list[bytes] = []
        self._shut_call(lines)
        closing = _closing(self._finish, self._usage, trace, self._now() - self._started)
        lines += (self._last, ascii_json(closing)[1:], b"\n")
        return b"".join(lines)

    def fail(self, error: GatewayError) -> bytes:
        """A tool call that was being written is not shown: nobody knows its end."""
        return ascii_json(render_error(error)) + b"\n"

    def _other(self, event: StreamEvent, lines: list[bytes]) -> None:
        if isinstance(event, ToolCallDelta):
            if self._open is None or self._open.index != event.index:
                self._shut_call(lines)
                self._open = event
            self._pieces.append(event.arguments)
        elif isinstance(event, Usage):
            self._usage = self._usage.merged(event)
        elif isinstance(event, Finish):
            self._shut_call(lines)
            self._finish = event
        elif isinstance(event, TextDelta | RefusalDelta):
            self._shut_call(lines)
            if event.text:
                lines += (self._text, quoted(event.text).encode(), self._tail)
        elif isinstance(event, ReasoningDelta):
            self._shut_call(lines)
            if event.text and not self._hides_thoughts:
                lines += (self._thought, quoted(event.text).encode(), self._tail)

    def _shut_call(self, lines: list[bytes]) -> None:
        """Ollama sends a call whole, its arguments an object."""
        call = self._open
        if call is None:
            return
        written = _call(call.index, call.id or "", call.name or "", "".join(self._pieces))
        lines += (self._calls, ascii_json(written), self._calls_tail)
        self._open = None
        self._pieces.clear()


def render_response(
    request: ChatRequest, response: ChatResponse, trace: Trace, now: Now, shape: Shape
) -> Json:
    """The last line of a stream with everything in it."""
    thinking = "" if request.include_thoughts is False else response.reasoning
    text = response.text or (response.refusal or "")
    more: dict[str, Json] = {}
    if thinking:
        more["thinking"] = thinking
    if response.tool_calls:
        more["tool_calls"] = [_told(index, call) for index, call in enumerate(response.tool_calls)]
    answer: dict[str, Json] = {"model": request.model, "created_at": created_at(now())}
    if shape == "chat":
        answer["message"] = {"role": "assistant", "content": text, **more}
    else:
        answer.update(response=text, **more)
    answer["done"] = True
    answer.update(_closing(response.finish, response.usage, trace, None))
    return answer


def _told(index: int, call: ToolCall) -> dict[str, Json]:
    return _call(index, call.id, call.name, call.arguments)


def _call(index: int, call_id: str, name: str, text: str) -> dict[str, Json]:
    function = {"index": index, "name": name, "arguments": arguments.as_object(text)}
    return {"id": call_id, "function": function}


def _closing(
    finish: Finish | None, usage: Usage, trace: Trace, seconds: float | None
) -> dict[str, Json]:
    """Counts in tokens, durations in nanoseconds; what nobody measured is left out."""
    total = trace.total_ms
    if total is None and seconds is not None:
        total = seconds * 1000
    first = trace.first_token_ms
    after = max(0.0, total - first) if total is not None and first is not None else None
    told: dict[str, Json] = {
        "done_reason": DONE_REASONS[finish.reason] if finish else "stop",
        "total_duration": _nanoseconds(total),
        "prompt_eval_count": usage.input_tokens,
        "prompt_eval_duration": _nanoseconds(first),
        "eval_count": usage.output_tokens,
        "eval_duration": _nanoseconds(after),
        "resumed_from": trace.resumed_from or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _nanoseconds(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds * 1_000_000)
