"""Why an answer came from where it came: told in every answer, metric and ledger row."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    reason: str = ""
    """One sentence for a person."""
    steps: list[Step] = field(default_factory=list)
    classifier_ms: float | None = None
    queue_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """More headers for the answer."""
