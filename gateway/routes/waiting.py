"""The queue as the live page shows it: who waits, looked at now and then while somebody watches."""

from __future__ import annotations

import asyncio
import logging

from chat.request import Json
from gateway.jobs.job import Job, Search
from gateway.jobs.service import Jobs

REFRESH_S = 2.0
SHOWN = 20
log = logging.getLogger("pointsman.live")


class Waiting:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._asked = asyncio.Event()
        self._known: list[dict[str, Json]] = []

    def __call__(self) -> Json:
        """The counts as of a moment ago, and those who waited at the last look."""
        self._asked.set()
        stats = self._jobs.stats
        return {
            "waiting": stats.waiting,
            "running": stats.running,
            "oldest_s": round(stats.oldest_s, 1),
            "jobs": self._known if stats.waiting else [],
        }

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                if self._jobs.stats.waiting:
                    self._known = await self._look()
            except Exception as fault:
                # Whatever the queue's database or Redis has: nobody but the page waits for it.
                log.warning("queue not read", extra={"fields": {"error": type(fault).__name__}})
            await asyncio.sleep(REFRESH_S)

    async def _look(self) -> list[dict[str, Json]]:
        found = await self._jobs.search(Search(status="queued", limit=SHOWN))
        rows = [await self._row(job) for job in found]
        return sorted(rows, key=lambda row: row["position"] or 0)

    async def _row(self, job: Job) -> dict[str, Json]:
        place = await self._jobs.place(job)
        return {
            "id": job.id,
            "state": job.status,
            "app": job.app_name,
            "type": job.type,
            "position": place.position if place else None,
            "wait_s": round((place.quote.low + place.quote.high) / 2, 1) if place else None,
            "created_at": job.created_at,
        }
