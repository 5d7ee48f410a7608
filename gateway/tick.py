"""Looks that are made now and again are made in one moment.

To wake a process that sleeps costs more than most of them: 0.2 ms, as its code and its memory are
out of the processor's cache by then. So they wake it together.
"""

from __future__ import annotations

import asyncio


async def tick(seconds: float) -> None:
    """Returns when the loop's clock is at a multiple of so many."""
    await asyncio.sleep(seconds - asyncio.get_running_loop().time() % seconds)
