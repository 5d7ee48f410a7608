"""Google Gemini's generateContent, spoken at both ends.

The model and whether the answer streams stand in the path, not in the body: a door puts them
into the body as `model` and `stream`, a provider puts them into the URL (with alt=sse).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.errors import GatewayError, UpstreamError
from chat.events import StreamEvent, Usage
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.base import Now
from dialects.framing import SSE
from dialects.gemini import errors, read, respond
from dialects.gemini.build import NAME, build_body
from dialects.gemini.respond import GeminiRenderer
from dialects.gemini.signatures import with_signed_calls
from dialects.gemini.stream import GeminiParser, parse_whole
from dialects.gemini.thinking import signs_calls
from dialects.gemini.watch import GeminiWatch
from dialects.watching import usage_among


class GeminiDialect:
    """A RelayDialect: pure, without state."""

    name = NAME
    framing = SSE

    def parse_request(self, body: Json) -> ChatRequest:
        """Raises BadRequest. The body's `model` and `stream` are the path's."""
        return read.parse_request(body)

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> GeminiRenderer:
        return GeminiRenderer(request, answer_id, model)

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        return respond.render_response(request, response, trace)

    def render_error(self, error: GatewayError) -> Json:
        return respond.render_error(error)

    def build_request(self, request: ChatRequest, model: str) -> dict[str, Json]:
        """The body without the model, which stands in the URL. Raises BadRequest for a schema
        that cannot be put into Gemini's words."""
        return build_body(request, model)

    def enforces(self, request: ChatRequest, model: str) -> bool:
        return True

    def parser(self) -> GeminiParser:
        return GeminiParser()

    def parse_response(self, body: Json) -> Sequence[StreamEvent]:
        return parse_whole(body)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return errors.parse_error(status, headers, body)

    def relay_body(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        """The caller's own body without what the door put into it, and with calls that this
        model will not refuse; usage always comes."""
        sent = {name: value for name, value in body.items() if name not in ("model", "stream")}
        if signs_calls(model) and "contents" in sent:
            sent["contents"] = with_signed_calls(sent["contents"])
        return sent

    def usage_in(self, body: Json) -> tuple[Usage, bool]:
        return usage_among(self.parse_response(body))

    def watch(self, body: dict[str, Json], model: str) -> GeminiWatch:
        return GeminiWatch(model)
