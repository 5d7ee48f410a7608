"""What an upstream says well, in each wire language, so that a fault can break it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

SSE = "text/event-stream"
JSON = "application/json"


class OpenAi:
    """Chunks and bodies of POST /v1/chat/completions."""

    kind = "openai"
    terminator = b"data: [DONE]\n\n"

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def start(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def finish(self, reason: str = "stop") -> bytes:
        """As this language calls `stop` and `content_filter`."""
        return self._chunk({}, reason) + self._usage()

    def ping(self) -> bytes:
        return b": ping\n\n"

    def error(self) -> bytes:
        return b"data: " + self.error_body() + b"\n\n"

    def error_body(self) -> bytes:
        return orjson.dumps({"error": {"message": "overloaded", "type": "server_error"}})

    def body(self, text: str, reason: str = "stop") -> bytes:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": reason,
        }
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return orjson.dumps(
            {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
            | {"choices": [choice], "usage": usage}
        )

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return b"data: " + orjson.dumps(self._head() | {"choices": [choice]}) + b"\n\n"

    def _usage(self) -> bytes:
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return b"data: " + orjson.dumps(self._head() | {"choices": [], "usage": usage}) + b"\n\n"

    def _head(self) -> dict[str, Any]:
        return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


class Anthropic:
    """Events and bodies of POST /v1/messages."""

    kind = "anthropic"
    terminator = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    _reasons: dict[str, str] = {"stop": "end_turn", "content_filter": "refusal"}  # noqa: RUF012

    def text(self, text: str) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return self._event("content_block_delta", index=0, delta=delta)

    def start(self) -> bytes:
        block = {"type": "text", "text": ""}
        message = self._message([], None, 1)
        return self._event("message_start", message=message) + self._event(
            "content_block_start", index=0, content_block=block
        )

    def finish(self, reason: str = "stop") -> bytes:
        delta = {"stop_reason": self._reasons[reason], "stop_sequence": None}
        return self._event("content_block_stop", index=0) + self._event(
            "message_delta", delta=delta, usage={"output_tokens": 2}
        )

    def ping(self) -> bytes:
        return b'event: ping\ndata: {"type": "ping"}\n\n'

    def error(self) -> bytes:
        return b"event: error\ndata: " + self.error_body() + b"\n\n"

    def error_body(self) -> bytes:
        error = {"type": "api_error", "message": "overloaded"}
        return orjson.dumps({"type": "error", "error": error})

    def body(self, text: str, reason: str = "stop") -> bytes:
        content = [{"type": "text", "text": text}] if text else []
        return orjson.dumps(self._message(content, self._reasons[reason], 2))

    def _message(self, content: list[Any], reason: str | None, output: int) -> dict[str, Any]:
        usage = {"input_tokens": 3, "output_tokens": output}
        named = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
        ended = {"stop_reason": reason, "stop_sequence": None}
        return named | ended | {"content": content, "usage": usage}

    def _event(self, name: str, **fields: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


Language = OpenAi | Anthropic


@dataclass(frozen=True)
class Door:
    """Where a caller asks, and the language of the upstream behind it."""

    name: str
    path: str
    upstream: Language


DOORS = (
    Door("complete", "/complete", OpenAi()),
    Door("relayed", "/v1/chat/completions", OpenAi()),
    Door("translated", "/v1/chat/completions", Anthropic()),
)
