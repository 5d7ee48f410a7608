"""A queue in which there is nothing to do is not looked at: its looks rest until something stirs.

Whoever puts something in stirs his own process, and the store's watch stirs the others. A sweep
now and again sees what was missed.
"""

from __future__ import annotations

import asyncio
import contextlib

REST_S = 4.0
"""Between two sweeps of a quiet queue: less than what makes a process's workers be forgotten."""


class Quiet:
    def __init__(self) -> None:
        self._stirred = asyncio.Event()
        self._stirred.set()
        self._times = 0

    def stir(self) -> None:
        self._times += 1
        self._stirred.set()

    def seen(self) -> int:
        """To be asked before a look, and told to `rest` when it found nothing."""
        return self._times

    def rest(self, seen: int) -> None:
        """Unless something stirred meanwhile."""
        if seen == self._times:
            self._stirred.clear()

    async def over(self, limit_s: float | None = None) -> None:
        """Returns when something stirs, or after `limit_s`; at once while it is not quiet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._stirred.wait()
