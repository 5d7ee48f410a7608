"""What comes back, event by event, in no vendor's words.

A stream is: one Start; then deltas; Usage at any time, each one replacing the last; one Finish.
Failures are not events: they are raised as GatewayError, and a renderer writes them last.
Events come in batches, one batch for what one read of the socket brought, so that a renderer
can join them into one write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(slots=True)
class Start:
    """`id` and `model` are the upstream's own words for this answer; "" where it has none."""

    id: str = ""
    model: str = ""


@dataclass(slots=True)
class TextDelta:
    text: str


@dataclass(slots=True)
class RefusalDelta:
    """The model's own words of refusal (OpenAI's `refusal`)."""

    text: str


@dataclass(slots=True)
class ReasoningDelta:
    """A piece of thought. `signature` closes the block of thought it belongs to;
    `redacted` is a whole block that only its vendor can read. `vendor` is the name of the
    dialect that either came in (see chat.request.Reasoning)."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    vendor: str | None = None


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of tool call number `index` (0, 1, ... without gaps).

    The first piece of a call carries `id` and `name`; `arguments` are fragments of JSON text.
    Calls come one after the other, never interleaved: an outbound dialect sees to that.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None


@dataclass(slots=True)
class Usage:
    """Tokens so far. None means that nobody said; absent is not zero.

    `input_tokens` counts cached tokens too, whatever the upstream says;
    `output_tokens` counts thoughts too.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def merged(self, newer: Usage) -> Usage:
        """Newer figures win; what they leave out is kept."""
        if self is UNCOUNTED:
            return newer
        came, went, cached = newer.input_tokens, newer.output_tokens, newer.cached_tokens
        written, thoughts = newer.cache_write_tokens, newer.reasoning_tokens
        return Usage(
            self.input_tokens if came is None else came,
            self.output_tokens if went is None else went,
            self.cached_tokens if cached is None else cached,
            self.cache_write_tokens if written is None else written,
            self.reasoning_tokens if thoughts is None else thoughts,
        )


UNCOUNTED = Usage()
"""Where nobody said anything yet; whoever counts puts another one in its place."""


@dataclass(slots=True)
class Finish:
    """The upstream ended as it should. Without it a stream was cut.

    `stop_sequence`: the text that stopped it, where the upstream says.
    `detail`: the upstream's own word, where `reason` loses something (pause_turn, RECITATION).
    """

    reason: FinishReason
    stop_sequence: str | None = None
    detail: str | None = None


StreamEvent: TypeAlias = (
    Start | TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta | Usage | Finish
)
Batch: TypeAlias = Sequence[StreamEvent]
