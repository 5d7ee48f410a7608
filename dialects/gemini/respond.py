"""Events -> Gemini's answers. Bytes are exact: google-genai reads nothing but `data: ` lines and
blank lines; a comment, an `event:` line or [DONE] is an error to it (PROTOCOLS 0.5)."""

from __future__ import annotations

import re
from json.encoder import encode_basestring_ascii as quoted

from chat.errors import GatewayError
from chat.events import (
    UNCOUNTED,
    Batch,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json, Text, ToolCall
from chat.trace import Trace
from dialects import arguments
from dialects.ascii_json import ascii_json
from dialects.gemini.build import NAME
from dialects.gemini.reasons import reason_of
from dialects.gemini.usage import metadata_of
from dialects.retry_after import MAX_WAIT_S

STATUSES = {
    "bad_request": "INVALID_ARGUMENT",
    "too_large": "INVALID_ARGUMENT",
    "not_identified": "UNAUTHENTICATED",
    "not_allowed": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "model_not_found": "NOT_FOUND",
    "method_not_allowed": "UNIMPLEMENTED",
    "rate_limited": "RESOURCE_EXHAUSTED",
    "quota": "RESOURCE_EXHAUSTED",
    "overloaded": "UNAVAILABLE",
    "upstream_error": "UNAVAILABLE",
    "upstream_refused": "UNAVAILABLE",
    "upstream_auth": "UNAVAILABLE",
    "timeout": "DEADLINE_EXCEEDED",
}
BY_HTTP = {404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 504: "DEADLINE_EXCEEDED"}
"""Where the status says more than the kind: an upstream's 404, a plan that ended in a limit."""

TYPE_URL = "type.googleapis.com/google.rpc."
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]+={0,2}")
_HEAD = 'data: {"candidates":[{"content":{"parts":['


class GeminiRenderer:
    """A function call is written whole, once its last piece is here; usage and the finishReason
    stand on the last frame. Thoughts are written only for who asked for them, as Google does."""

    keepalive = b"\r\n"

    def __init__(self, request: ChatRequest, answer_id: str, model: str) -> None:
        self._names = f'"modelVersion":{quoted(model)},"responseId":{quoted(answer_id)}'
        self._tail = '],"role":"model"},"index":0}],' + self._names + "}\r\n\r\n"
        self._text_head = _HEAD + '{"text":'
        self._text_tail = "}" + self._tail
        self._thoughts = request.include_thoughts is True
        self._call: ToolCallDelta | None = None
        self._arguments: list[str] = []
        self._usage = UNCOUNTED
        self._finish: Finish | None = None

    def feed(self, events: Batch) -> bytes:
        out: list[str] = []
        for event in events:
            kind = type(event)
            if kind is TextDelta or kind is RefusalDelta:
                if self._call is not None:
                    out.append(self._flushed())
                out.append(self._text_head + quoted(event.text) + self._text_tail)  # type: ignore[union-attr]
            elif isinstance(event, ToolCallDelta):
                out.append(self._piece(event))
            elif isinstance(event, ReasoningDelta):
                out.append(self._flushed() + self._thought(event))
            elif isinstance(event, Usage):
                self._usage = self._usage.merged(event)
            elif isinstance(event, Finish):
                out.append(self._flushed())
                self._finish = event
        return "".join(out).encode("ascii")

    def close(self, trace: Trace) -> bytes:
        meta = metadata_of(self._usage)
        usage = f'"usageMetadata":{ascii_json(meta).decode()},' if meta else ""
        return (
            f'{self._flushed()}{_HEAD}{{"text":""}}],"role":"model"}},'
            f'"finishReason":{quoted(reason_of(self._finish))},"index":0}}],'
            f"{usage}{self._names}}}\r\n\r\n"
        ).encode("ascii")

    def fail(self, error: GatewayError) -> bytes:
        return b"data: " + ascii_json(render_error(error)) + b"\r\n\r\n"

    def _piece(self, event: ToolCallDelta) -> str:
        call = self._call
        if call is not None and call.index == event.index:
            self._arguments.append(event.arguments)
            call.signature = event.signature or call.signature
            return ""
        before = self._flushed()
        # A copy: the signature may still change, and events belong to who sent them.
        self._call = ToolCallDelta(event.index, event.id, event.name, "", event.signature)
        self._arguments.append(event.arguments)
        return before

    def _flushed(self) -> str:
        call = self._call
        if call is None:
            return ""
        arguments = "".join(self._arguments)
        self._call = None
        self._arguments.clear()
        part = _call_part(call.id or "", call.name or "", arguments, call.signature)
        return _HEAD + ascii_json(part).decode() + self._tail

    def _thought(self, event: ReasoningDelta) -> str:
        if not self._thoughts:
            return ""
        if event.vendor == NAME:
            part = ascii_json(_thought_part(event.text, event.signature)).decode()
        elif event.text:
            part = f'{{"text":{quoted(event.text)},"thought":true}}'
        else:
            return ""
        return _HEAD + part + self._tail


def render_response(request: ChatRequest, response: ChatResponse, trace: Trace) -> Json:
    parts: list[Json] = []
    for part in response.parts:
        if isinstance(part, Text):
            parts.append({"text": part.text})
        elif isinstance(part, ToolCall):
            parts.append(_call_part(part.id, part.name, part.arguments, part.signature))
        elif request.include_thoughts is True:
            signature = part.signature if part.vendor == NAME else None
            if part.text or signature:
                parts.append(_thought_part(part.text, signature))
    if response.refusal:
        parts.append({"text": response.refusal})
    content = {"parts": parts or [{"text": ""}], "role": "model"}
    body: dict[str, Json] = {
        "candidates": [{"content": content, "finishReason": reason_of(response.finish), "index": 0}]
    }
    meta = metadata_of(response.usage)
    if meta:
        body["usageMetadata"] = meta
    body["modelVersion"] = trace.model or response.model or request.model
    body["responseId"] = response.id or trace.request_id
    return body


def render_error(error: GatewayError) -> Json:
    """google.rpc.Status; the field at fault and the delay stand in its details."""
    details: list[Json] = []
    if error.code is not None:
        reason = error.code.upper()
        details.append({"@type": TYPE_URL + "ErrorInfo", "reason": reason, "domain": "pointsman"})
    if error.param is not None:
        fault = {"field": error.param, "description": error.message}
        details.append({"@type": TYPE_URL + "BadRequest", "fieldViolations": [fault]})
    if error.retry_after is not None:
        delay = f"{min(error.retry_after, MAX_WAIT_S):.3f}".rstrip("0").rstrip(".")
        details.append({"@type": TYPE_URL + "RetryInfo", "retryDelay": delay + "s"})
    status = BY_HTTP.get(error.status) or STATUSES.get(error.kind, "INTERNAL")
    told: dict[str, Json] = {"code": error.status, "message": error.message, "status": status}
    if details:
        told["details"] = details
    return {"error": told}


def _call_part(call_id: str, name: str, text: str, signature: str | None) -> dict[str, Json]:
    call: dict[str, Json] = {"name": name, "args": arguments.as_object(text)}
    if call_id:
        call = {"id": call_id, **call}
    return {"functionCall": call, **_signed(signature)}


def _thought_part(text: str, signature: str | None) -> dict[str, Json]:
    return {"text": text, "thought": True, **_signed(signature)}


def _signed(signature: str | None) -> dict[str, Json]:
    # Google's SDK decodes it as base64 and gives up the whole stream over anything else.
    if signature and _BASE64.fullmatch(signature):
        return {"thoughtSignature": signature}
    return {}
