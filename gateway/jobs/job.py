"""A job, and what is known of the queue it stands in. Times are seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["queued", "processing", "completed", "error", "expired", "cancelled"]
STATES: tuple[Status, ...] = (
    "queued",
    "processing",
    "completed",
    "error",
    "expired",
    "cancelled",
)
ENDED = frozenset(STATES[2:])


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is put in. `body` and `question`: what is asked, as JSON, and its words."""

    id: str
    app_id: str
    app_name: str
    type: str
    door: str
    priority: int
    body: str
    question: str
    timeout_s: float
    """How long it may wait."""
    webhook: str | None = None
    idem_key: str | None = None
    digest: str | None = None
    """Of the body, to tell another question under the same key."""


@dataclass(frozen=True, slots=True)
class Job:
    seq: int
    """Its number in the history: the later, the higher."""
    id: str
    app_id: str
    app_name: str
    type: str
    door: str
    status: Status
    priority: int
    body: str
    question: str
    created_at: float
    expires_at: float
    started_at: float | None
    ended_at: float | None
    rank: float
    claims: int
    """How often a worker took it."""
    written: int
    """Events so far."""
    result: str | None
    error: str | None
    webhook: str | None
    hook_state: str | None
    """pending, delivered or failed; None without a webhook or before the end."""
    hook_tries: int
    digest: str | None
    held: bool = False
    """A limit of its application keeps it from being asked for a while."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a job's wait for a limit."""

    left_s: float
    """Until its application may ask again."""
    before: int
    """Jobs of the same application that wait for it, too, and are before."""


@dataclass(frozen=True, slots=True)
class Event:
    n: int
    """1, 2, ... within its job."""
    kind: str
    """processing, restarted or token."""
    data: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class Stats:
    waiting: int
    oldest_s: float
    """Age of the one that waits longest for a worker, not for a limit; 0 when nobody does."""
    running: int
    slots: int
    """Of all workers of all processes that were heard of lately."""
    busy: int
    types: Mapping[str, int] = field(default_factory=dict)
    """How many wait, by type."""


@dataclass(frozen=True, slots=True)
class Search:
    """`before`: only jobs with a lower number, for the next page."""

    app_id: str | None = None
    status: str | None = None
    text: str | None = None
    limit: int = 50
    before: int | None = None
