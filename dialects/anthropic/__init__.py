"""Anthropic Messages, for version 2023-06-01, which still takes temperature (PROTOCOLS 0.1, 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from chat.errors import GatewayError, UpstreamError
from chat.events import StreamEvent, Usage
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.anthropic.build import build_request, enforces
from dialects.anthropic.errors import parse_error, render_error
from dialects.anthropic.relay import AnthropicWatch, relay_body
from dialects.anthropic.request import parse_request
from dialects.anthropic.respond import AnthropicRenderer, render_response
from dialects.anthropic.stream import AnthropicParser, parse_response
from dialects.anthropic.words import NAME
from dialects.base import Now
from dialects.framing import SSE, Sse
from dialects.watching import usage_among

__all__ = ["AnthropicDialect"]


class AnthropicDialect:
    """Spoken at both ends. `default_max_tokens`: what an upstream is asked for when the caller
    did not say, since the wire requires it."""

    name: ClassVar[str] = NAME
    framing: ClassVar[Sse] = SSE

    def __init__(self, default_max_tokens: int = 4096) -> None:
        self._default_max_tokens = default_max_tokens

    def build_request(self, request: ChatRequest, model: str) -> dict[str, Json]:
        return build_request(request, model, self._default_max_tokens)

    def enforces(self, request: ChatRequest, model: str) -> bool:
        return enforces(request.response_format, model)

    def parser(self) -> AnthropicParser:
        return AnthropicParser()

    def parse_response(self, body: Json) -> Sequence[StreamEvent]:
        return parse_response(body)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return parse_error(status, headers, body)

    def relay_body(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        return relay_body(body, model, self._default_max_tokens)

    def usage_in(self, body: Json) -> tuple[Usage, bool]:
        return usage_among(self.parse_response(body))

    def watch(self, body: dict[str, Json], model: str) -> AnthropicWatch:
        return AnthropicWatch(body, model)

    def parse_request(self, body: Json) -> ChatRequest:
        return parse_request(body)

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> AnthropicRenderer:
        return AnthropicRenderer(request, answer_id, model)

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        return render_response(request, response, trace)

    def render_error(self, error: GatewayError) -> Json:
        return render_error(error)
