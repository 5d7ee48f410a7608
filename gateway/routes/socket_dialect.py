"""What runs through the pipeline for a chat socket: asked as OpenAI's callers ask, answered in
lines of JSON that the socket keeps and sends on.

A line is {"text"}, {"reasoning"} or {"tool_calls"}; the last one {"done": true, ...} with the
closing fields of POST /complete, or {"error": {...}}.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from chat.errors import GatewayError
from chat.events import (
    Batch,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects import reading
from dialects.base import Now
from dialects.complete import CompleteDialect, CompleteRenderer
from dialects.framing import NDJSON
from dialects.openai import OpenAiDialect

COMPLETE = CompleteDialect()
OPENAI = OpenAiDialect()
HEAD = b"data: "
NOT_CLOSING = ("message", "user_id")


class SocketDialect:
    """Spoken by callers only."""

    name = "chat_socket"
    framing = NDJSON

    def parse_request(self, body: Json) -> ChatRequest:
        """Raises BadRequest. The short ways of a start are written out first: see completed()."""
        return replace(OPENAI.parse_request(body), stream=True, include_usage=True)

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> SocketRenderer:
        return SocketRenderer(COMPLETE.renderer(request, answer_id, model, now))

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        return COMPLETE.render_response(request, response, trace, now)

    def render_error(self, error: GatewayError) -> Json:
        return COMPLETE.render_error(error)


class SocketRenderer:
    """`closing` has POST /complete's words for the end of an answer."""

    keepalive = b""

    def __init__(self, closing: CompleteRenderer) -> None:
        self._closing = closing

    def feed(self, events: Batch) -> bytes:
        lines: list[bytes] = []
        for event in events:
            if type(event) is Usage or type(event) is Finish:
                self._closing.feed((event,))
            elif (shown := _shown(event)) is not None:
                lines += (orjson.dumps(shown), b"\n")
        return b"".join(lines)

    def close(self, trace: Trace) -> bytes:
        return orjson.dumps(ending(self._closing.close(trace))) + b"\n"

    def fail(self, error: GatewayError) -> bytes:
        return orjson.dumps(COMPLETE.render_error(error)) + b"\n"


def completed(body: dict[str, Json]) -> dict[str, Json]:
    """The body of POST /v1/chat/completions that a `start` stands for. Raises BadRequest."""
    body = {name: value for name, value in body.items() if name not in ("type", "id")}
    message = reading.optional_text(body, "message")
    body.pop("message", None)
    if message is not None:
        if not message.strip():
            reading.bad("message", "must not be empty.")
        before = body.get("messages") or []
        if not isinstance(before, list):
            reading.bad("messages", "must be a list.")
        body["messages"] = [*before, {"role": "user", "content": message}]
    if (user := body.pop("user_id", None)) is not None:
        body["user"] = user
    if body.get("model") is None:
        body["model"] = "auto"
    body["stream"] = True
    return body


def closing(request: ChatRequest, usage: Usage, trace: Trace, now: Now) -> dict[str, Json]:
    """The closing fields of an answer that did not finish."""
    renderer = COMPLETE.renderer(request, trace.request_id, trace.model, now)
    renderer.feed((usage,))
    return ending(renderer.close(trace))


def ending(frame: bytes) -> dict[str, Json]:
    fields: dict[str, Json] = orjson.loads(frame.removeprefix(HEAD))
    for name in NOT_CLOSING:
        fields.pop(name, None)
    return fields


def _shown(event: StreamEvent) -> dict[str, Json] | None:
    if type(event) is TextDelta or type(event) is RefusalDelta:
        return {"text": event.text} if event.text else None
    if type(event) is ReasoningDelta:
        return {"reasoning": event.text} if event.text else None
    if type(event) is ToolCallDelta:
        call: dict[str, Json] = {"index": event.index, "arguments": event.arguments}
        if event.id is not None:
            call["id"] = event.id
        if event.name is not None:
            call["name"] = event.name
        return {"tool_calls": [call]}
    return None
