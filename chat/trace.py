"""Why an answer came from where it came: told in every answer, metric and ledger row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chat.request import Json

Watch = Callable[[str, dict[str, Json]], None]
"""Told of each step before the first token: routing, queued, routed, asking or next, and what is
known of it (docs/websockets.md, status). Called on the loop; it must return at once."""


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt that did not answer: which target, and why it was left."""

    target: str
    reason: str


@dataclass(slots=True)
class Trace:
    """Filled while a request runs. Times are milliseconds; None where it did not happen."""

    request_id: str
    route: str = ""
    """Name of the route ("auto"), or "named" when the caller named the model."""
    target: str = ""
    """provider/model that answered."""
    provider: str = ""
    model: str = ""
    tier: str | None = None
    score: float | None = None
    domain: str | None = None
    classifier_version: str | None = None
    propensity: float | None = None
    """Chance with which the route chose this tier; None where the caller chose."""
    resumed_from: list[str] = field(default_factory=list)
    """Targets that broke off in mid-answer, whose text the next one went on with."""
    reason: str = ""
    """One sentence for a person."""
    steps: list[Step] = field(default_factory=list)
    classifier_ms: float | None = None
    queue_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None
    cache: str | None = None
    """hit or miss, where answers are kept."""
    structured: str | None = None
    """Of an answer in a format that was asked for: "valid" when it was checked, "repaired" when
    it was asked for twice."""
    trace_id: str | None = None
    """W3C trace id, 32 hex digits, where traces are kept."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers for the answer."""
    watch: Watch | None = None
    """Who wants to know while it waits; hardly anybody does."""

    def tell(self, state: str, **facts: Json) -> None:
        if self.watch is not None:
            self.watch(state, facts)
