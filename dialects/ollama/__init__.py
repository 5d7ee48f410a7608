"""Ollama's own language: POST /api/chat at both ends, POST /api/generate for callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.errors import UpstreamError
from chat.events import StreamEvent
from chat.request import ChatRequest, Json
from dialects.framing import NDJSON, Framing
from dialects.ollama import errors, sizing
from dialects.ollama.request import build_request
from dialects.ollama.stream import OllamaParser, parse_response

__all__ = ["OllamaDialect"]


class OllamaDialect:
    """POST /api/chat. `max_context` in tokens: the most that a model is loaded for."""

    name: str = "ollama"
    framing: Framing = NDJSON

    def __init__(self, max_context: int = 131072) -> None:
        self._sizes = sizing.steps(max_context)

    def build_request(self, request: ChatRequest, model: str) -> dict[str, Json]:
        return build_request(request, model, self._sizes)

    def parser(self) -> OllamaParser:
        return OllamaParser(self._sizes)

    def parse_response(self, body: Json) -> Sequence[StreamEvent]:
        return parse_response(body, self._sizes)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return errors.parse_error(status, headers, body)
