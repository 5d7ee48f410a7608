"""Rests that the workers of one machine share, in memory made before the fork.

What a worker finds out, a breaker that opens or closes, is written into a ring, and the others
read it before they ask the next target: one look at a number when there is nothing new. What is
counted of a target while its breaker is closed is counted together (near_tally.py). A half-open
target is probed by one.
"""

from __future__ import annotations

import logging
import mmap
import struct
import time
from collections.abc import Callable
from dataclasses import replace

from chat.errors import UpstreamError
from gateway.engine.cooldown import Change, CooldownTable
from gateway.engine.ports import Rest
from gateway.rests.around import RestsAround
from gateway.rests.near_tally import NearTally, TallyBoard
from gateway.rests.words import read, written
from gateway.store.kernel_lock import KernelLock
from gateway.store.name_number import number_of

SLOTS, SIZE = 256, 4096
"""Words that are kept for workers to come, and the longest in bytes."""
PROBES = 512
PROBE_S = 600.0
"""Longer than any attempt; a worker that died is followed by one of its number, which frees it."""

_TOLD = 0
"""The one number before the probes: how many words were ever written."""
# Of a probe: its target, the worker behind it, and until when, in microseconds.
_TARGET, _OWNER, _UNTIL = range(3)
_PROBE = 3
_HEAD = 8 * (1 + PROBES * _PROBE)
# Before each word: when it was written, in microseconds, and its length.
_BEFORE = struct.Struct("=qq")
_MICRO = 10**6

log = logging.getLogger("pointsman.rests")


class RestsBoard:
    """Made before the fork, for so many workers; `of` gives each its own hand on it."""

    def __init__(self, workers: int) -> None:
        self.tallies = TallyBoard(workers)
        # Pages that nobody wrote take no memory.
        self.memory = mmap.mmap(-1, _HEAD + SLOTS * SIZE)
        self.numbers = memoryview(self.memory)[:_HEAD].cast("q")
        self.lock = KernelLock("pointsman-rests")
        """To be held around each change."""

    def of(self, worker: int, table: CooldownTable) -> NearRests:
        return NearRests(self, worker, table)


class NearRests(RestsAround):
    """The engine's Rests. `clock`: monotonic seconds, the same in all processes of a machine."""

    def __init__(
        self,
        board: RestsBoard,
        worker: int,
        table: CooldownTable,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(table)
        table.tally = lambda target: NearTally(board.tallies, worker, target)
        self._numbers, self._memory, self._lock = board.numbers, board.memory, board.lock
        self._me = worker + 1
        self._clock = clock
        with self._lock:
            for at in range(1, 1 + PROBES * _PROBE, _PROBE):
                # The worker before this one died.
                if self._numbers[at + _OWNER] == self._me:
                    self._numbers[at + _OWNER] = 0
        self._heard = max(0, self._numbers[_TOLD] - SLOTS)
        self._hear(also_own=True)

    def calm(self) -> bool:
        if self._numbers[_TOLD] != self._heard:
            self._hear()
        return self._table.calm()

    def resting(self, target: str) -> Rest | None:
        self._hear()
        return self._table.resting(target)

    def failed(self, target: str, error: UpstreamError, probe: int = 0) -> None:
        self._hear()
        super().failed(target, error, probe)

    def enter(self, target: str, *, early: bool = False) -> int | None:
        self._hear()
        ticket = self._table.enter(target, early=early)
        if ticket:
            if not self._claimed(target):
                self._table.left(target, ticket)
                return None
            self._claims[target] = ticket
        return ticket

    def _claimed(self, target: str) -> bool:
        """False where another worker probes."""
        numbers, name, now = self._numbers, number_of(target), int(self._clock() * _MICRO)
        free = 0
        with self._lock:
            for at in range(1, 1 + PROBES * _PROBE, _PROBE):
                runs = numbers[at + _OWNER] and numbers[at + _UNTIL] > now
                if numbers[at + _TARGET] == name and runs:
                    return numbers[at + _OWNER] == self._me
                if not runs and not free:
                    free = at
            if free:
                numbers[free + _TARGET], numbers[free + _OWNER] = name, self._me
                numbers[free + _UNTIL] = now + int(PROBE_S * _MICRO)
        return True

    def _let_go(self, target: str) -> None:
        numbers, name = self._numbers, number_of(target)
        with self._lock:
            for at in range(1, 1 + PROBES * _PROBE, _PROBE):
                if numbers[at + _TARGET] == name and numbers[at + _OWNER] == self._me:
                    numbers[at + _OWNER] = 0

    def _tell(self, change: Change) -> None:
        raw = written(change, str(self._me))
        if len(raw) > SIZE - _BEFORE.size:
            log.warning("a rest with too long a name is not shared")
            return
        with self._lock:
            number = self._numbers[_TOLD]
            at = _HEAD + number % SLOTS * SIZE
            _BEFORE.pack_into(self._memory, at, int(self._clock() * _MICRO), len(raw))
            self._memory[at + _BEFORE.size : at + _BEFORE.size + len(raw)] = raw
            self._numbers[_TOLD] = number + 1

    def _hear(self, *, also_own: bool = False) -> None:
        """`also_own`: what the worker of this number said before it died."""
        if self._numbers[_TOLD] == self._heard:
            return
        words = []
        with self._lock:
            told = self._numbers[_TOLD]
            for number in range(max(self._heard, told - SLOTS), told):
                at = _HEAD + number % SLOTS * SIZE
                then, length = _BEFORE.unpack_from(self._memory, at)
                begin = at + _BEFORE.size
                words.append((then / _MICRO, self._memory[begin : begin + length]))
            self._heard = told
        now = self._clock()
        for then, raw in words:
            sender, change = read(raw)
            if also_own or sender != str(self._me):
                self._table.apply(replace(change, seconds=change.seconds - (now - then)))
