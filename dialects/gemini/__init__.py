"""Google Gemini's generateContent.

The model and whether the answer streams stand in the path, not in the body: a door puts them
into the body as `model` and `stream`, a provider puts them into the URL (with alt=sse).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.errors import UpstreamError
from chat.events import StreamEvent
from chat.request import ChatRequest, Json
from dialects.framing import SSE
from dialects.gemini import errors
from dialects.gemini.build import NAME, build_body
from dialects.gemini.stream import GeminiParser, parse_whole
from dialects.gemini.watch import GeminiWatch


class GeminiDialect:
    """Pure, without state."""

    name = NAME
    framing = SSE

    def build_request(self, request: ChatRequest, model: str) -> dict[str, Json]:
        """The body without the model, which stands in the URL. Raises BadRequest for a schema
        that cannot be put into Gemini's words."""
        return build_body(request, model)

    def parser(self) -> GeminiParser:
        return GeminiParser()

    def parse_response(self, body: Json) -> Sequence[StreamEvent]:
        return parse_whole(body)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return errors.parse_error(status, headers, body)

    def relay_body(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        """The caller's own body without what the door put into it; usage always comes."""
        return {name: value for name, value in body.items() if name not in ("model", "stream")}

    def watch(self, body: dict[str, Json], model: str) -> GeminiWatch:
        return GeminiWatch(model)
