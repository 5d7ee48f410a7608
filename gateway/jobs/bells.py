"""Who waits for news of a job is woken when they come from this process; news of others' are
looked for now and again."""

from __future__ import annotations

import asyncio
import contextlib


class Bells:
    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def ring(self, job_id: str) -> None:
        for bell in self._waiting.get(job_id, ()):
            bell.set()

    async def heard(self, job_id: str, limit_s: float) -> None:
        """Returns at news, or after `limit_s`."""
        bell = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(bell)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await bell.wait()
        finally:
            left = self._waiting[job_id]
            left.discard(bell)
            if not left:
                del self._waiting[job_id]
