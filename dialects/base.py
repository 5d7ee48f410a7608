"""What a dialect can do. A dialect is a wire language, written once for both directions.

Bodies are what orjson.loads gave; dialects see no socket and no settings, and get the clock
handed in where a wire format wants the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from chat.errors import GatewayError, UpstreamError
from chat.events import Batch, StreamEvent, Usage
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.framing import Frame, Framing

Now: TypeAlias = Callable[[], float]
"""Seconds since 1970, as time.time."""


class Renderer(Protocol):
    """Writes one stream to a caller. Each method returns whole frames, ready for one write."""

    keepalive: bytes
    """What may be written at any time while there is nothing to say; b"" when nothing may."""

    def feed(self, events: Batch) -> bytes:
        """Frames for a batch; b"" when it shows nothing."""
        ...

    def close(self, trace: Trace) -> bytes:
        """The last frames of a stream that finished."""
        ...

    def fail(self, error: GatewayError) -> bytes:
        """The last frames of a stream that failed after it began."""
        ...


class InboundDialect(Protocol):
    """How a caller speaks to us."""

    @property
    def name(self) -> str: ...

    @property
    def framing(self) -> Framing: ...

    def parse_request(self, body: Json) -> ChatRequest:
        """Raises BadRequest with `param` naming the field."""
        ...

    def renderer(self, request: ChatRequest, answer_id: str, model: str, now: Now) -> Renderer:
        """One for each stream. `answer_id` is ours, without a prefix; `model` is what the
        caller is told (the dialect may prefer request.model)."""
        ...

    def render_response(
        self, request: ChatRequest, response: ChatResponse, trace: Trace, now: Now
    ) -> Json: ...

    def render_error(self, error: GatewayError) -> Json: ...


class Parser(Protocol):
    """Reads one stream of an upstream.

    The first event is a Start. `feed` and `close` raise UpstreamError when the upstream reports
    a failure or says what cannot be understood; `close` raises Broken(code="cut") when the
    stream ended without its finish. `done` turns true at the terminator ([DONE], message_stop,
    "done": true): what follows is not read.
    """

    done: bool

    def feed(self, frame: Frame) -> Sequence[StreamEvent]: ...

    def close(self) -> Sequence[StreamEvent]: ...


class OutboundDialect(Protocol):
    """How we speak to an upstream: the mirror of InboundDialect."""

    @property
    def name(self) -> str: ...

    @property
    def framing(self) -> Framing: ...

    def build_request(self, request: ChatRequest, model: str) -> dict[str, Json]:
        """The body for `model` (the upstream's own name). Honours request.stream."""
        ...

    def enforces(self, request: ChatRequest, model: str) -> bool:
        """Whether this upstream itself sees to it that the answer keeps to the request's
        response_format. Where it does not, the format is only told by words."""
        ...

    def parser(self) -> Parser: ...

    def parse_response(self, body: Json) -> Sequence[StreamEvent]:
        """A whole one-shot answer as events. Raises UpstreamError when it carries an error or
        is no answer."""
        ...

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """An HTTP status of 400 or more. `headers` has lower-case names."""
        ...


class Watch(Protocol):
    """Looks at the frames of one relayed stream as they pass."""

    usage: Usage

    def feed(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The frames to pass on: hides usage that nobody asked for, renames the model. Raises
        UpstreamError when a frame carries an error."""
        ...

    def close(self) -> Sequence[Frame]:
        """Raises Broken(code="cut") when no finish passed; may add a missing terminator."""
        ...


class RelayDialect(InboundDialect, OutboundDialect, Protocol):
    """Spoken at both ends, so frames may pass through untouched."""

    def relay_body(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        """The caller's own body with the upstream's model name, asking for usage."""
        ...

    def usage_in(self, body: Json) -> tuple[Usage, bool]:
        """Of a relayed whole answer, and whether it finished. Raises UpstreamError when it
        carries an error or is no answer."""
        ...

    def watch(self, body: dict[str, Json], model: str) -> Watch:
        """`body` is the caller's; `model` is the name that he is told."""
        ...
