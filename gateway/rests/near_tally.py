"""Failures and answers that the workers of one machine count together, in memory made before the
fork.

Each worker has cells of its own, so an answer is counted without a lock; who fails sums up all of
them. A worker that died leaves its counts: they were true.
"""

from __future__ import annotations

import mmap

from gateway.engine.tally import PARTS, OwnTally
from gateway.store.kernel_lock import KernelLock
from gateway.store.name_number import number_of

TARGETS = 256
"""That have failures below the limit at one moment; more are counted by each worker alone."""

# Of a target: its name's number, and the part of its last failure.
_NAME, _LAST, _HEAD = range(3)
# Of a part: its number, and what was counted in it.
_NUMBER, _FAILURES, _ANSWERS, _CELL = range(4)


class TallyBoard:
    """Made before the fork, for so many workers."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.size = _HEAD + workers * PARTS * _CELL
        # Pages that nobody wrote take no memory.
        self.memory = mmap.mmap(-1, TARGETS * self.size * 8)
        self.numbers = memoryview(self.memory).cast("q")
        self.lock = KernelLock("pointsman-tally")
        """To be held around each change but an answer."""


class NearTally:
    """The engine's Tally of one target, for the worker of this number."""

    def __init__(self, board: TallyBoard, worker: int, target: str) -> None:
        self._numbers, self._lock, self._size = board.numbers, board.lock, board.size
        self._workers = board.workers
        self._mine = _HEAD + worker * PARTS * _CELL
        self._name = number_of(target)
        self._place = -1
        """Where its numbers begin; another target may have come there meanwhile."""
        self._alone = OwnTally()
        """While there is no room."""

    def fail(self, part: int) -> bool:
        with self._lock:
            if not self._there() and not self._taken(part):
                return self._alone.fail(part)
            first = not self.counted(part)[0]
            self._numbers[self._place + _LAST] = part
            self._numbers[self._cell(part) + _FAILURES] += 1
        return first

    def answer(self, part: int) -> None:
        if self._there():
            self._numbers[self._cell(part) + _ANSWERS] += 1
        else:
            self._alone.answer(part)

    def add(self, part: int, failures: int, answers: int) -> None:
        self._alone.add(part, failures, answers)

    def counted(self, part: int) -> tuple[int, int]:
        failures, answers = self._alone.counted(part)
        if self._there():
            numbers, begin = self._numbers, self._place + _HEAD
            for at in range(begin, begin + self._workers * PARTS * _CELL, _CELL):
                # A worker that looked at its clock a moment later may be a part ahead.
                if part - PARTS < numbers[at + _NUMBER] <= part + 1:
                    failures += numbers[at + _FAILURES]
                    answers += numbers[at + _ANSWERS]
        return failures, answers

    def clear(self, *, own: bool) -> None:
        self._alone.clear(own=own)
        # Who is told comes later, and there may be new counts.
        if own:
            with self._lock:
                if self._there():
                    self._numbers[self._place + _NAME] = 0

    def _there(self) -> bool:
        if self._place >= 0 and self._numbers[self._place + _NAME] == self._name:
            return True
        self._place = -1
        for place in range(0, TARGETS * self._size, self._size):
            if self._numbers[place + _NAME] == self._name:
                self._place = place
                return True
        return False

    def _taken(self, part: int) -> bool:
        """A place without counts that still say anything, if there is one. The lock is held."""
        numbers = self._numbers
        for place in range(0, TARGETS * self._size, self._size):
            # A window of another length, since a reload, counts its parts otherwise.
            if not numbers[place + _NAME] or not (
                part - PARTS < numbers[place + _LAST] <= part + 1
            ):
                for at in range(place, place + self._size):
                    numbers[at] = 0
                numbers[place + _NAME], numbers[place + _LAST] = self._name, part
                self._place = place
                return True
        return False

    def _cell(self, part: int) -> int:
        """This worker's own of this part."""
        at = self._place + self._mine + part % PARTS * _CELL
        if self._numbers[at + _NUMBER] != part:
            self._numbers[at + _NUMBER] = part
            self._numbers[at + _FAILURES] = self._numbers[at + _ANSWERS] = 0
        return at
