"""Ollama's own language: POST /api/chat at both ends, POST /api/generate for callers.

Streams are NDJSON: one object a line, ASCII, the last one with "done": true (PROTOCOLS 1.3, 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.errors import GatewayError, UpstreamError
from chat.events import StreamEvent, Usage
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.base import Now
from dialects.framing import NDJSON, Framing
from dialects.ollama import errors, respond, sizing
from dialects.ollama.asked import parse_chat, parse_generate
from dialects.ollama.loading import load_reply
from dialects.ollama.relay import OllamaWatch, relay_body
from dialects.ollama.request import build_request
from dialects.ollama.stream import OllamaParser, parse_response
from dialects.watching import usage_among

__all__ = ["OllamaDialect", "OllamaGenerateDialect", "load_reply"]


class OllamaDialect:
    """POST /api/chat. `max_context` in tokens: the most that a model is loaded for."""

    name: str = "ollama"
    framing: Framing = NDJSON

    def __init__(self, max_context: int = 131072) -> None:
        self._sizes = sizing.steps(max_context)

    # As a caller speaks.

    def parse_request(self, body: Json) -> ChatRequest:
        return parse_chat(body)

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> respond.OllamaRenderer:
        return respond.OllamaRenderer(request, now, "chat")

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        return respond.render_response(request, response, trace, now, "chat")

    def render_error(self, error: GatewayError) -> Json:
        return errors.render_error(error)

    # As an upstream is spoken to.

    def build_request(self, request: ChatRequest, model: str) -> dict[str, Json]:
        return build_request(request, model, self._sizes)

    def enforces(self, request: ChatRequest, model: str) -> bool:
        """Not beside tools: Ollama then takes its grammar off."""
        wanted = request.response_format
        return wanted is None or wanted.kind == "text" or not request.tools

    def parser(self) -> OllamaParser:
        return OllamaParser(self._sizes)

    def parse_response(self, body: Json) -> Sequence[StreamEvent]:
        return parse_response(body, self._sizes)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return errors.parse_error(status, headers, body)

    # As both at once.

    def relay_body(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        return relay_body(body, model, self._sizes)

    def usage_in(self, body: Json) -> tuple[Usage, bool]:
        return usage_among(self.parse_response(body))

    def watch(self, body: dict[str, Json], model: str) -> OllamaWatch:
        return OllamaWatch(model)


class OllamaGenerateDialect:
    """POST /api/generate: one prompt, answered under `response`. Spoken by callers only."""

    name: str = "ollama-generate"
    framing: Framing = NDJSON

    def parse_request(self, body: Json) -> ChatRequest:
        return parse_generate(body)

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> respond.OllamaRenderer:
        return respond.OllamaRenderer(request, now, "generate")

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        return respond.render_response(request, response, trace, now, "generate")

    def render_error(self, error: GatewayError) -> Json:
        return errors.render_error(error)
