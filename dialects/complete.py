"""Our own language: POST /complete, one message in, an SSE stream out.

Asked with {"message": "..."}; the optional fields are messages (the turns before it), user_id,
model, max_tokens, temperature and stream. Every event of the stream is
{"message", "timestamp", "user_id", "model"}; the last one adds "done", and either the finish
reason, usage and route, or the error. A stream never ends without that last event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted

from chat.errors import BadRequest, GatewayError
from chat.events import UNCOUNTED, Batch, Finish, ReasoningDelta, RefusalDelta, TextDelta, Usage
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json, Message, Role, Sampling, Text
from chat.trace import Trace
from dialects import reading
from dialects.ascii_json import ascii_json
from dialects.base import Now
from dialects.framing import SSE

FIELDS = frozenset(
    ("message", "messages", "user_id", "model", "max_tokens", "temperature", "stream")
)
MESSAGE_FIELDS = frozenset(("role", "content"))
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
ANONYMOUS = "anonymous"
FIELD_SHOWN = 100
"""Characters of an unknown field's name that an error repeats."""


class CompleteDialect:
    """Spoken by callers only."""

    name = "complete"
    framing = SSE

    def parse_request(self, body: Json) -> ChatRequest:
        """Raises BadRequest; a field that we do not know is an error, not a silence."""
        body = reading.body_object(body)
        _only(body, FIELDS, "")
        messages = [_message(path, item) for path, item in reading.objects(body, "messages")]
        message = reading.optional_text(body, "message")
        if message is None and not messages:
            if "messages" in body:
                reading.bad("messages", "must not be empty.")
            reading.bad("message", "is required.")
        if message is not None:
            if not message.strip():
                reading.bad("message", "must not be empty.")
            messages.append(Message("user", (Text(message),)))
        model = reading.optional_text(body, "model")
        if model is not None and not model.strip():
            reading.bad("model", "must not be empty.")
        user = reading.optional_text(body, "user_id")
        if user is not None and len(user) > 256:
            reading.bad("user_id", "must have at most 256 characters.")
        stream = reading.flag(body, "stream")
        return ChatRequest(
            model=model or "auto",
            messages=tuple(messages),
            stream=True if stream is None else stream,
            sampling=Sampling(
                temperature=reading.number(body, "temperature", low=0, high=2),
                max_tokens=reading.integer(body, "max_tokens", low=1),
            ),
            user=user,
        )

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> CompleteRenderer:
        return CompleteRenderer(request, model, now)

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        answer: dict[str, Json] = {
            "message": response.text or (response.refusal or ""),
            "timestamp": rfc3339(now()),
            "user_id": request.user or ANONYMOUS,
            "model": trace.model,
        }
        if response.reasoning:
            answer["reasoning"] = response.reasoning
        answer.update(_closing(response.finish, response.usage, trace))
        return answer

    def render_error(self, error: GatewayError) -> Json:
        return {"error": error_object(error)}


class CompleteRenderer:
    """One stream. The parts of a frame that never change are written once."""

    keepalive = b": keepalive\n"

    def __init__(self, request: ChatRequest, model: str, now: Now) -> None:
        self._now = now
        self._second = -1
        self._tail = b""
        self._rest = b',"user_id":%b,"model":%b}\n\n' % (
            ascii_json(request.user or ANONYMOUS),
            ascii_json(model),
        )
        self._usage = UNCOUNTED
        self._finish: Finish | None = None

    def feed(self, events: Batch) -> bytes:
        frames: list[bytes] = []
        # A second's stamp is made once: mostly it is another chunk's.
        stamp = self._tail if int(self._now()) == self._second else self._stamp()
        for event in events:
            if type(event) is TextDelta or type(event) is RefusalDelta:
                if event.text:
                    frames += (b'data: {"message":', quoted(event.text).encode(), stamp)
            elif isinstance(event, ReasoningDelta):
                if event.text:
                    frames += (
                        b'data: {"message":"","reasoning":',
                        quoted(event.text).encode(),
                        stamp,
                    )
            elif isinstance(event, Usage):
                self._usage = self._usage.merged(event)
            elif isinstance(event, Finish):
                self._finish = event
        return b"".join(frames)

    def queued(self, position: int, wait_s: float) -> bytes:
        """He waits for his turn; 1 is next."""
        return self._last({"queued": {"position": position, "wait_s": round(wait_s, 1)}})

    def close(self, trace: Trace) -> bytes:
        return self._last(_closing(self._finish, self._usage, trace))

    def fail(self, error: GatewayError) -> bytes:
        return self._last({"done": True, "error": error_object(error)})

    def _last(self, fields: dict[str, Json]) -> bytes:
        head = b'data: {"message":""' + self._stamp()[: -len(b"}\n\n")]
        return head + b"," + ascii_json(fields)[1:] + b"\n\n"

    def _stamp(self) -> bytes:
        """Timestamp, user and model: made once a second, as an event only names the second."""
        now = self._now()
        if int(now) != self._second:
            self._second = int(now)
            self._tail = b',"timestamp":"%b"%b' % (rfc3339(now).encode(), self._rest)
        return self._tail


def rfc3339(seconds: float) -> str:
    """Seconds since 1970 -> "2025-05-28T14:19:27Z"."""
    return _of_second(int(seconds))


@lru_cache(maxsize=4)
def _of_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def error_object(error: GatewayError) -> dict[str, Json]:
    found: dict[str, Json] = {
        "message": error.message,
        "type": error.kind,
        "code": error.code,
        "param": error.param,
    }
    if error.retry_after is not None:
        found["retry_after"] = error.retry_after
    return found


def _closing(finish: Finish | None, usage: Usage, trace: Trace) -> dict[str, Json]:
    return {
        "done": True,
        "finish_reason": finish.reason if finish else None,
        # prompt_truncated, for one: Ollama cut the question to its context, and tells nobody.
        **({"finish_detail": finish.detail} if finish and finish.detail else {}),
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "cached_tokens": usage.cached_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "route": {
            "request_id": trace.request_id,
            "route": trace.route,
            "target": trace.target,
            "model": trace.model,
            "tier": trace.tier,
            "score": trace.score,
            "domain": trace.domain,
            "reason": trace.reason,
            "classifier_version": trace.classifier_version,
            **({"resumed_from": trace.resumed_from} if trace.resumed_from else {}),
            **({"structured": trace.structured} if trace.structured else {}),
            "fallbacks": [{"target": step.target, "reason": step.reason} for step in trace.steps],
            "milliseconds": {
                "classifier": trace.classifier_ms and round(trace.classifier_ms, 2),
                "queue": trace.queue_ms and round(trace.queue_ms, 2),
                "first_token": trace.first_token_ms and round(trace.first_token_ms, 2),
                "total": trace.total_ms and round(trace.total_ms, 2),
            },
        },
    }


def _only(body: dict[str, Json], known: frozenset[str], path: str) -> None:
    for field in body:
        if field not in known:
            name = path + field[:FIELD_SHOWN]
            raise BadRequest(
                f"{name} is not a field of this API; it knows {', '.join(sorted(known))}.",
                param=name,
            )


def _message(path: str, item: dict[str, Json]) -> Message:
    _only(item, MESSAGE_FIELDS, path)
    role = reading.text(item, "role", path)
    if role not in ROLES:
        reading.bad(path + "role", f"must be system, user or assistant, not {role!r}.")
    return Message(ROLES[role], (Text(reading.text(item, "content", path)),))
