"""A job's answer on its way to the store: what came, line by line, and the whole at the end.

The pipeline renders into any language; a job's is JSON lines. The last line holds the body that
the caller's own dialect would have sent.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from chat.errors import GatewayError
from chat.events import Batch, ReasoningDelta, RefusalDelta, TextDelta
from chat.fold import ChatResponse, Folder
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.base import InboundDialect, Now
from dialects.complete import error_object
from dialects.framing import NDJSON


class CollectDialect:
    """`inner`: the language in which the job was asked."""

    name = "job"
    framing = NDJSON

    def __init__(self, inner: InboundDialect) -> None:
        self._inner = inner

    def parse_request(self, body: Json) -> ChatRequest:
        return self._inner.parse_request(body)

    def renderer(self, request: ChatRequest, answer_id: str, model: str, now: Now) -> Collector:
        def whole(response: ChatResponse, trace: Trace) -> Json:
            return self._inner.render_response(request, response, trace, now)

        return Collector(whole)

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        return self._inner.render_response(request, response, trace, now)

    def render_error(self, error: GatewayError) -> Json:
        return self._inner.render_error(error)


class Collector:
    keepalive = b""

    def __init__(self, whole: Callable[[ChatResponse, Trace], Json]) -> None:
        self._whole = whole
        self._folder = Folder()

    def feed(self, events: Batch) -> bytes:
        self._folder.feed(events)
        text = "".join(
            [event.text for event in events if isinstance(event, TextDelta | RefusalDelta)]
        )
        thought = "".join([event.text for event in events if isinstance(event, ReasoningDelta)])
        line: dict[str, Json] = {}
        if text:
            line["text"] = text
        if thought:
            line["reasoning"] = thought
        return orjson.dumps(line) + b"\n" if line else b""

    def close(self, trace: Trace) -> bytes:
        response = self._folder.response()
        usage = response.usage
        return _line(
            done={
                "text": response.text or response.refusal or "",
                "model": trace.model,
                "target": trace.target,
                "route": trace.route,
                "finish_reason": response.finish.reason,
                "usage": {
                    "input_tokens": usage.input_tokens,
                    "output_tokens": usage.output_tokens,
                    "total_tokens": usage.total_tokens,
                },
                "body": self._whole(response, trace),
            }
        )

    def fail(self, error: GatewayError) -> bytes:
        return _line(error=error_object(error))


def _line(**fields: Json) -> bytes:
    return orjson.dumps(fields) + b"\n"
