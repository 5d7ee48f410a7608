"""How a worker tells the others of its machine that app codes changed: a bell for each, made before
the fork, that wakes its loop. Nobody looks at anything between two changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass


class Bells:
    """For so many workers; `of` gives each the way to hear its own and to ring the others'."""

    def __init__(self, workers: int) -> None:
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self.all = [os.eventfd(0, flags) for _ in range(workers)]

    def of(self, worker: int) -> Bell:
        others = tuple(one for number, one in enumerate(self.all) if number != worker)
        return Bell(self.all[worker], others)


@dataclass(frozen=True, slots=True)
class Bell:
    own: int
    others: tuple[int, ...]

    def ring(self) -> None:
        for one in self.others:
            # A bell that was rung without end rings still.
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(one, 1)

    def listen(self, heard: Callable[[], object]) -> None:
        def rung() -> None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self.own)
            heard()

        asyncio.get_running_loop().add_reader(self.own, rung)

    def deafen(self) -> None:
        asyncio.get_running_loop().remove_reader(self.own)
