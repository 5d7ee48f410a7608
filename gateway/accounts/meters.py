"""The meters of all applications, in this process's memory or on a board that workers share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from gateway.accounts import meter
from gateway.accounts.app import App
from gateway.accounts.board import Board
from gateway.accounts.meter import Calendar, Meter, Need
from gateway.accounts.outcome import Outcome

Spent = tuple[str, Need, Need]
"""An application's id, and what it spent today and this month."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Requests that run, and what was spent of the day and of the month."""

    running: int
    day: Need
    month: Need


class Counts(Protocol):
    """Where it is counted. `id_` is the request's, new for each."""

    def admit(self, app: App, id_: int) -> Outcome | Awaitable[Outcome]: ...

    def reserve(self, app: App, id_: int, need: Need) -> Outcome | Awaitable[Outcome]: ...

    def settle(self, app: App, id_: int, need: Need | None, used: Need, slot: int) -> None: ...


class Meters:
    """`worker`: which of the board's workers this process is."""

    def __init__(
        self,
        board: Board | None = None,
        worker: int = 0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._board = board
        self._worker = worker
        self._clock = clock
        self._wall = wall
        self._calendar = Calendar()
        self._meters: dict[str, Meter] = {}
        self._free: AbstractContextManager[None] = nullcontext()
        if board is not None:
            with board.lock():
                for row in board.rows():
                    Meter(row, worker).bury()

    def admit(self, app: App, id_: int) -> Outcome:
        with self._lock():
            return self._of(app.id).admit(app, self._clock(), *self._calendar.at(self._wall()))

    def reserve(self, app: App, id_: int, need: Need) -> Outcome:
        with self._lock():
            found = self._of(app.id)
            return found.reserve(app, need, self._clock(), *self._calendar.at(self._wall()))

    def settle(self, app: App, id_: int, need: Need | None, used: Need, slot: int) -> None:
        with self._lock():
            day, month, _ = self._calendar.at(self._wall())
            self._of(app.id).settle(app, need, used, slot, self._clock(), day, month)

    def remember(self, spent: Iterable[Spent]) -> None:
        """What stands in the ledger at the start."""
        with self._lock():
            if self._board is not None and not self._board.first():
                return
            day, month, _ = self._calendar.at(self._wall())
            for id_, today, this_month in spent:
                self._of(id_).remember(day, month, today, this_month)

    def catch_up(self, spent: Iterable[Spent]) -> None:
        """What the ledger knows by now, where that is more."""
        with self._lock():
            day, month, _ = self._calendar.at(self._wall())
            for id_, today, this_month in spent:
                self._of(id_).catch_up(day, month, today, this_month)

    def standing(self, id_: str) -> Standing:
        with self._lock():
            found = self._of(id_)
            # Yesterday's figures are not today's.
            day, month, _ = self._calendar.at(self._wall())
            found.turn(day, month)
            return Standing(found.running, *found.spent)

    def _lock(self) -> AbstractContextManager[None]:
        return self._free if self._board is None else self._board.lock()

    def _of(self, id_: str) -> Meter:
        found = self._meters.get(id_)
        if found is None:
            row = self._board.row(id_) if self._board is not None else None
            found = Meter(row, self._worker) if row is not None else Meter([0] * meter.cells(1))
            self._meters[id_] = found
        return found
