"""Meters that several workers on one machine share, in a piece of memory made before the fork."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator

from gateway.accounts import meter
from gateway.store.kernel_lock import KernelLock
from gateway.store.name_number import number_of

ROWS = 4096
CELL = 8
_SEEDED = 0
"""A cell before the rows: whether what was spent earlier stands there already."""

log = logging.getLogger("pointsman.accounts")


class Board:
    def __init__(self, workers: int) -> None:
        self._length = meter.cells(workers)
        # Pages that nobody wrote take no memory.
        self._memory = mmap.mmap(-1, (1 + ROWS * self._length) * CELL)
        self._cells = memoryview(self._memory).cast("q")
        self._lock = KernelLock("pointsman-board")

    def lock(self) -> KernelLock:
        """To be held around each change."""
        return self._lock

    def first(self) -> bool:
        """True for the one worker that fills in what was spent before. To be called locked."""
        if self._cells[_SEEDED]:
            return False
        self._cells[_SEEDED] = 1
        return True

    def row(self, id_: str) -> memoryview[int] | None:
        """An application's cells, the same for all workers; None when the board is full. To be
        called locked."""
        owner = number_of(id_)
        for number in range(ROWS):
            start = 1 + (owner + number) % ROWS * self._length
            if self._cells[start] in (0, owner):
                self._cells[start] = owner
                return self._cells[start : start + self._length]
        log.warning("more app codes than fit: further ones are counted by each worker alone")
        return None

    def rows(self) -> Iterator[memoryview[int]]:
        """All that are in use. To be called locked."""
        for number in range(ROWS):
            start = 1 + number * self._length
            if self._cells[start]:
                yield self._cells[start : start + self._length]
