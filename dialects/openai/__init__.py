"""OpenAI Chat Completions, spoken at both ends (PROTOCOLS 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.errors import Broken, GatewayError, UpstreamError
from chat.events import StreamEvent, Usage
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.base import Now
from dialects.framing import SSE, Framing
from dialects.openai.asked import parse_request
from dialects.openai.build import build_request
from dialects.openai.errors import carries_error, error_in_band, http_error, render_error
from dialects.openai.quirks import OpenAiQuirks
from dialects.openai.relay import OpenAiWatch, relay_body
from dialects.openai.respond import OpenAiRenderer, render_response
from dialects.openai.stream import OpenAiParser, as_delta, usage_of
from dialects.watching import usage_among

__all__ = ["OpenAiDialect", "OpenAiQuirks"]


class OpenAiDialect:
    """`quirks` are the upstream's; callers are all spoken to alike."""

    name: str = "openai"
    framing: Framing = SSE

    def __init__(self, quirks: OpenAiQuirks | None = None) -> None:
        self._quirks = quirks or OpenAiQuirks()

    def build_request(self, request: ChatRequest, model: str) -> dict[str, Json]:
        return build_request(request, model, self._quirks)

    def enforces(self, request: ChatRequest, model: str) -> bool:
        wanted, most = request.response_format, self._quirks.structured
        if wanted is None or wanted.kind == "text" or most == "json_schema":
            return True
        return most == "json_object" and wanted.schema is None

    def parser(self) -> OpenAiParser:
        return OpenAiParser(self._quirks)

    def parse_response(self, body: Json) -> Sequence[StreamEvent]:
        if not isinstance(body, dict) or carries_error(body):
            raise error_in_band(body)
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices:
            raise Broken("The upstream's answer has no choices.", code="malformed")
        parser = OpenAiParser(self._quirks)
        # Only the first choice is anybody's.
        events = parser.chunk({**body, "choices": [as_delta(choices[0])]})
        events += parser.close()
        return events

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return http_error(status, headers, body)

    def relay_body(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        return relay_body(body, model, self._quirks)

    def usage_in(self, body: Json) -> tuple[Usage, bool]:
        if type(body) is dict and "error" not in body:
            choices = body.get("choices")
            choice = choices[0] if type(choices) is list and choices else None
            # The usual answer: for what says so little no events are made.
            if (
                type(choice) is dict
                and choice.get("index") == 0
                and choice.get("finish_reason") == "stop"
                and "usage" not in choice
                and type(message := choice.get("message")) is dict
                and "tool_calls" not in message
                and "function_call" not in message
            ):
                return usage_of(body), True
        return usage_among(self.parse_response(body))

    def watch(self, body: dict[str, Json], model: str) -> OpenAiWatch:
        options = body.get("stream_options")
        wanted = isinstance(options, dict) and options.get("include_usage") is True
        return OpenAiWatch(wanted, model)

    def parse_request(self, body: Json) -> ChatRequest:
        return parse_request(body)

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> OpenAiRenderer:
        return OpenAiRenderer(answer_id, model, int(now()), request.include_usage)

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        return render_response(request, response, trace, int(now()))

    def render_error(self, error: GatewayError) -> Json:
        return render_error(error)
