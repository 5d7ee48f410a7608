"""A shelf that several workers on one machine share, in a piece of memory made before the fork.

Values are written one behind the other, round and round; a table says where each begins. The
table's cell is written last and a value's place is taken first, so that a worker who dies in
between leaves nothing that could be read wrongly.
"""

from __future__ import annotations

import hashlib
import mmap
import time
from collections.abc import Callable

from gateway.store.kernel_lock import KernelLock

SLOTS = 2**16
TRIES = 8
"""Slots in which a key may stand."""
ROW = 4
"""Cells of a slot: the key's first eight bytes, where its value begins, its length, its end in
microseconds. A beginning counts all bytes ever written; 0 is an empty slot's."""
CELL = 8
NAME = 32


class SharedShelf:
    """`size`: bytes of all values; the oldest go first. `clock`: seconds that mean the same in all
    processes."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        # Pages that nobody wrote take no memory.
        memory = memoryview(mmap.mmap(-1, (1 + SLOTS * ROW) * CELL + size))
        self._cells = memory[: (1 + SLOTS * ROW) * CELL].cast("Q")
        self._values = memory[(1 + SLOTS * ROW) * CELL :]
        self._lock = KernelLock("pointsman-shelf")

    async def get(self, key: str) -> bytes | None:
        name = hashlib.sha256(key.encode()).digest()
        with self._lock:
            for slot in self._slots(name):
                if self._cells[slot] == _short(name) and self._is_there(slot):
                    at = self._cells[slot + 1] % self._size
                    written = self._values[at : at + self._cells[slot + 2]]
                    return bytes(written[NAME:]) if written[:NAME] == name else None
        return None

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        self.hold(key, value, seconds)

    def hold(self, key: str, value: bytes, seconds: float) -> None:
        name = hashlib.sha256(key.encode()).digest()
        length = NAME + len(value)
        if length > self._size // 8:
            return
        with self._lock:
            at = self._room(length)
            begins = at % self._size
            self._values[begins : begins + length] = name + value
            slot = self._free(name)
            self._cells[slot + 1] = 0
            self._cells[slot] = _short(name)
            self._cells[slot + 2] = length
            self._cells[slot + 3] = int((self._clock() + seconds) * 1e6)
            self._cells[slot + 1] = at

    def _room(self, length: int) -> int:
        """Where so many bytes go, in one piece. What lay there counts as gone from now on."""
        at = self._cells[0] or self._size
        if at % self._size + length > self._size:
            at += self._size - at % self._size
        self._cells[0] = at + length
        return at

    def _slots(self, name: bytes) -> list[int]:
        first = int.from_bytes(name[8:16])
        return [1 + (first + number) % SLOTS * ROW for number in range(TRIES)]

    def _is_there(self, slot: int) -> bool:
        """Neither old nor written over."""
        begins = self._cells[slot + 1]
        return (
            begins != 0
            and begins + self._size >= self._cells[0]
            and self._cells[slot + 3] > self._clock() * 1e6
        )

    def _free(self, name: bytes) -> int:
        """The key's own slot, else an unused one, else the one written longest ago."""
        slots = self._slots(name)
        own = [slot for slot in slots if self._cells[slot] == _short(name)]
        return min(own or slots, key=lambda slot: self._is_there(slot) and self._cells[slot + 1])


def _short(name: bytes) -> int:
    return int.from_bytes(name[:8])
