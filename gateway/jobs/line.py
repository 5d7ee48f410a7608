"""A line that several processes stand in before one route, and what it has to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

NOW = 0
"""A place: his turn is now."""
ROUTE_FULL, LINE_FULL = -1, -2
"""No place: nobody may wait, or too many do."""
POLL_S = 0.05
"""Between two looks whether it is somebody's turn, while anybody waits here."""
SEEN_S = 3.0
"""Whoever was not looked for so long has left: his process died or is stopped."""
SAMPLES = 400
"""Answers whose times are remembered."""


@dataclass(slots=True)
class Ticket:
    """`ahead`: seconds that his priority is worth. The line says his rank and tag, as the queue's
    order has them (gateway/jobs/queue.py)."""

    route: str
    id: int
    app: str
    ahead: float
    rank: float = 0.0
    tag: float = 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """`limit`: answers at once. `capacity`: who may wait, 0 for nobody. `spread`: seconds between
    two tickets of one application."""

    limit: int
    capacity: int
    spread: float


class LineGoneError(Exception):
    """Nobody can be asked about the line just now."""


class Line(Protocol):
    async def enter(self, ticket: Ticket, room: Room) -> int:
        """His place: NOW, 1 for the next one; ROUTE_FULL, LINE_FULL. Raises LineGoneError."""
        ...

    async def look(self, route: str, mine: Sequence[Ticket], limit: int) -> list[int]:
        """The places of those who wait in this process. Raises LineGoneError."""
        ...

    async def took(self, route: str) -> list[float]:
        """Seconds of the last answers. Raises LineGoneError."""
        ...

    def leave(self, ticket: Ticket, took_s: float | None) -> None:
        """Out of the line; `took_s` where he was answered."""
        ...

    async def close(self) -> None: ...
