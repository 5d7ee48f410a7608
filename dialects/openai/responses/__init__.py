"""OpenAI Responses, at the door only: the stateless subset (PROTOCOLS 2.6).

Nothing of an answer is kept here, so whatever leans on an earlier one is refused by name. Items
are handed to `keep`, so that a door may find them again for clients that send but their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chat.errors import GatewayError
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.base import Now
from dialects.framing import SSE, Framing
from dialects.openai.errors import render_error
from dialects.openai.responses.asked import parse_request
from dialects.openai.responses.respond import render_response
from dialects.openai.responses.stream import ResponsesRenderer

__all__ = ["ResponsesDialect"]


class ResponsesDialect:
    """`keep` is given the items of each answer that finished."""

    name: str = "responses"
    framing: Framing = SSE

    def __init__(self, keep: Callable[[Sequence[Json]], None] | None = None) -> None:
        self._keep = keep

    def parse_request(self, body: Json) -> ChatRequest:
        return parse_request(body)

    def renderer(
        self, request: ChatRequest, answer_id: str, model: str, now: Now
    ) -> ResponsesRenderer:
        return ResponsesRenderer(request, answer_id, model, int(now()), self._keep)

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json:
        told = render_response(request, response, trace, int(now()))
        if self._keep is not None:
            self._keep(told["output"])
        return told

    def render_error(self, error: GatewayError) -> Json:
        return render_error(error)
