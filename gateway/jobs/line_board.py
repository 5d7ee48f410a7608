"""The line of the workers of one machine, in memory that they share."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Sequence

from gateway.jobs.line import (
    LINE_FULL,
    NOW,
    ROUTE_FULL,
    SEEN_S,
    Room,
    Ticket,
)
from gateway.store.kernel_lock import KernelLock
from gateway.store.name_number import number_of

ROWS = 4096
"""Requests that wait or run on routes with a limit, of all workers."""
# Of a row: its state, its route, whose it is, and times in microseconds.
_STATE, _ROUTE, _ID, _WORKER, _RANK, _TAG, _APP, _SEEN = range(8)
_ROW = 8
_FREE, _WAITS, _RUNS = range(3)
ROUTES, KEPT = 128, 64
# Of a route: its name, how many were noted, and the last of them in milliseconds.
_NOTES = 2 + KEPT
# Before the rows: how many were ever used.
_HIGH = 0
_FIRST = 1
_TIMES = _FIRST + ROWS * _ROW
MICRO = 10**6
CELL = 8


class BoardLines:
    """Made before the fork; `of` gives each worker its own hand on it."""

    def __init__(self) -> None:
        # Pages that nobody wrote take no memory.
        self._memory = mmap.mmap(-1, (_TIMES + ROUTES * _NOTES) * CELL)
        self.cells = memoryview(self._memory).cast("q")
        self.lock = KernelLock("pointsman-lines")
        """To be held around each change."""

    def of(self, worker: int) -> BoardLine:
        return BoardLine(self, worker)


class BoardLine:
    """`clock`: monotonic seconds, which are the same in all processes of a machine."""

    def __init__(
        self, board: BoardLines, worker: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cells, self._lock = board.cells, board.lock
        self._worker = worker
        self._clock = clock
        with self._lock:
            for at in self._rows():
                # The worker before this one died.
                if self._cells[at + _WORKER] == worker:
                    self._cells[at + _STATE] = _FREE

    async def enter(self, ticket: Ticket, room: Room) -> int:
        route, app = number_of(ticket.route), number_of(ticket.app)
        with self._lock:
            running, waiting = self._of(route)
            if running < room.limit and not waiting:
                return NOW if self._put(ticket, route, app, _RUNS) else LINE_FULL
            if not room.capacity:
                return ROUTE_FULL
            if len(waiting) >= room.capacity:
                return LINE_FULL
            now = int(self._clock() * MICRO)
            tags = [self._cells[at + _TAG] for at in waiting if self._cells[at + _APP] == app]
            tag = max([now, *(one + int(room.spread * MICRO) for one in tags)])
            ticket.tag, ticket.rank = tag / MICRO, (tag - int(ticket.ahead * MICRO)) / MICRO
            if not self._put(ticket, route, app, _WAITS):
                return LINE_FULL
            return self._places(self._of(route)[1])[ticket.id]

    async def look(self, route: str, mine: Sequence[Ticket], limit: int) -> list[int]:
        number, ids = number_of(route), {one.id for one in mine}
        now = int(self._clock() * MICRO)
        cells = self._cells
        with self._lock:
            running, waiting = self._of(number)
            for at in waiting:
                if cells[at + _ID] in ids:
                    cells[at + _SEEN] = now
            alive = [at for at in waiting if now - cells[at + _SEEN] <= SEEN_S * MICRO]
            while alive and running < limit and cells[alive[0] + _ID] in ids:
                cells[alive.pop(0) + _STATE] = _RUNS
                running += 1
            places = self._places(alive)
        return [places.get(one.id, NOW) for one in mine]

    async def took(self, route: str) -> list[float]:
        at = self._notes(number_of(route))
        if at is None:
            return []
        count = min(self._cells[at + 1], KEPT)
        return [one / 1000 for one in self._cells[at + 2 : at + 2 + count]]

    def leave(self, ticket: Ticket, took_s: float | None) -> None:
        with self._lock:
            for at in self._rows():
                if self._cells[at + _ID] == ticket.id and self._cells[at + _STATE] != _FREE:
                    self._cells[at + _STATE] = _FREE
                    break
            self._lower()
            notes = None if took_s is None else self._notes(number_of(ticket.route))
            if notes is not None and took_s is not None:
                count = self._cells[notes + 1]
                self._cells[notes + 2 + count % KEPT] = int(took_s * 1000)
                self._cells[notes + 1] = count + 1

    async def close(self) -> None:
        """Its memory ends with the processes."""

    def _rows(self) -> range:
        return range(_FIRST, _FIRST + self._cells[_HIGH] * _ROW, _ROW)

    def _of(self, route: int) -> tuple[int, list[int]]:
        """How many run, and the rows of those who wait, the next one first."""
        cells, running, waiting = self._cells, 0, []
        for at in self._rows():
            state = cells[at + _STATE]
            if state == _FREE or cells[at + _ROUTE] != route:
                continue
            if state == _RUNS:
                running += 1
            else:
                waiting.append(at)
        waiting.sort(key=lambda at: (cells[at + _RANK], cells[at + _ID]))
        return running, waiting

    def _places(self, waiting: Sequence[int]) -> dict[int, int]:
        return {self._cells[at + _ID]: place for place, at in enumerate(waiting, 1)}

    def _put(self, ticket: Ticket, route: int, app: int, state: int) -> bool:
        """False where the board is full."""
        cells = self._cells
        for row in range(ROWS):
            at = _FIRST + row * _ROW
            if cells[at + _STATE] != _FREE:
                continue
            times = (int(ticket.rank * MICRO), int(ticket.tag * MICRO))
            for place, value in enumerate(
                (state, route, ticket.id, self._worker, *times, app, int(self._clock() * MICRO))
            ):
                cells[at + place] = value
            cells[_HIGH] = max(cells[_HIGH], row + 1)
            return True
        return False

    def _lower(self) -> None:
        """Rows at the end that nobody uses are not looked through."""
        cells = self._cells
        high = cells[_HIGH]
        while high and cells[_FIRST + (high - 1) * _ROW + _STATE] == _FREE:
            high -= 1
        cells[_HIGH] = high

    def _notes(self, route: int) -> int | None:
        """Where a route's times stand; None beyond ROUTES of them. To be called locked, where it
        is to be written."""
        for place in range(ROUTES):
            at = _TIMES + (route + place) % ROUTES * _NOTES
            if self._cells[at] in (0, route):
                self._cells[at] = route
                return at
        return None
