"""What a queue can do. SQLite, PostgreSQL and Redis keep one contract (tests/jobs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import ColumnElement

from gateway.jobs.job import Event, Held, Job, NewJob, Search, Stats, Status

HOOK_LEASE_S = 60.0
"""Whoever took a webhook and died leaves it to the next one after this long."""
SAMPLES = 400
"""Service times that an estimate looks at."""
WORKER_SEEN_S = 10.0
"""A process that was not heard of for so long has no workers."""


class KeyReusedError(Exception):
    """The idempotency key stands for another question."""


class FullError(Exception):
    """`waiting` jobs are in the queue already."""

    def __init__(self, waiting: int) -> None:
        super().__init__(waiting)
        self.waiting = waiting


class Queue(Protocol):
    """The order: each job has a rank, and the lowest is next.

    A job's tag is when it came, or `spread` seconds behind the last waiting job of its own
    application, if that is later: so many jobs of one application leave room between them for
    those of others. The rank is the tag less `boost` seconds for each step of priority: who
    waits long enough is before whoever has a higher one.

    Every change is one transaction: a process may be killed at any moment.
    """

    name: str

    @property
    def stirring(self) -> ColumnElement[int] | None:
        """1 while `live`, for who watches the database; None for a queue that is elsewhere."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def enqueue(
        self, jobs: Sequence[NewJob], *, capacity: int, spread: float, boost: float
    ) -> list[tuple[str, bool]]:
        """All of them or none: each id, and whether it is new; one whose idempotency key is
        known gives the job that was there. Raises FullError, KeyReusedError."""
        ...

    async def live(self) -> bool:
        """Whether there is anything to do: somebody waits or is held, one runs, or a webhook is to
        be told. Always, where nobody would hear of what others put in."""
        ...

    async def get(self, job_id: str) -> Job | None: ...

    async def position(self, job_id: str) -> int | None:
        """1 for the next one; None when it does not wait. Jobs that a limit holds are in nobody's
        way but of their application's later ones."""
        ...

    async def claim(self, owner: str, lease_s: float) -> Job | None:
        """The next one that may still wait. `owner` is new for each claim: a fence."""
        ...

    async def renew(self, owners: Sequence[str], lease_s: float) -> set[str]:
        """The owners that still have their job."""
        ...

    async def append(self, job_id: str, owner: str, events: Sequence[tuple[str, str]]) -> bool:
        """Events as (kind, JSON). False when the lease is lost."""
        ...

    async def finish(
        self, job_id: str, owner: str, status: Status, result: str | None, error: str | None
    ) -> bool:
        """False when the lease is lost: then nothing is written."""
        ...

    async def release(self, job_id: str, owner: str) -> bool:
        """Back to its place in the queue; the claim does not count."""
        ...

    async def hold(self, job_id: str, owner: str, for_s: float) -> bool:
        """Back to its place as if it had not been taken; none of its application's jobs is for
        `for_s` seconds. False when the lease is lost."""
        ...

    async def held(self, job_id: str) -> Held | None:
        """None when no limit holds it."""
        ...

    async def cancel(self, job_id: str) -> Status | None:
        """Its state before; None when there is no such job."""
        ...

    async def events(self, job_id: str, after: int) -> list[Event]: ...

    async def reap(self, *, max_claims: int, retention_s: float) -> list[tuple[str, str]]:
        """Gives back what dead workers had and what limits held, ends what waited too long, and
        forgets what is old. Returns (id, what became of it) of those given back or ended."""
        ...

    async def search(self, search: Search) -> list[Job]:
        """Newest first."""
        ...

    async def beat(self, process: str, slots: int, busy: int) -> None:
        """A process lives, with so many workers; 0 slots: it ends."""
        ...

    async def stats(self) -> Stats: ...

    async def durations(self) -> list[tuple[str, float]]:
        """(type, seconds) of the last jobs that were answered, newest first."""
        ...

    async def due_hooks(self, limit: int) -> list[Job]:
        """Jobs whose webhook is to be told now; whoever asked has HOOK_LEASE_S for it."""
        ...

    async def hook_told(self, job_id: str, state: str, again_in_s: float | None) -> None:
        """`state`: delivered, failed, or pending with the seconds to the next try."""
        ...
