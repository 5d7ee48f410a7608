"""The queue in Redis, where several machines share one: sorted sets, and one script a step.

Redis has to keep what it is told (`appendonly yes`): an accepted job is as durable as that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import orjson

from gateway.jobs.job import Event, Held, Job, NewJob, Search, Stats, Status
from gateway.jobs.queue import (
    HOOK_LEASE_S,
    SAMPLES,
    WORKER_SEEN_S,
    FullError,
    KeyReusedError,
)
from gateway.jobs.sql_sweep import WORN

if TYPE_CHECKING:
    from redis.asyncio import Redis

SCRIPT = Path(__file__).with_name("queue.lua").read_text(encoding="utf-8")
PREFIX = "pointsman:{jobs}:"
PAGE = 500
MOST_LOOKED_AT = 20_000
"""Jobs of the history that one search looks through."""
HINTS = {name: kind for name, kind in get_type_hints(Job).items() if name != "held"}
INTEGERS = frozenset(name for name, kind in HINTS.items() if kind is int)
FLOATS = frozenset(name for name, kind in HINTS.items() if kind in (float, float | None))


class RedisQueue:
    name = "redis"
    stirring = None

    def __init__(self, redis: Redis, prefix: str = PREFIX) -> None:
        # Its annotations allow for answers as text; ours are bytes.
        self._redis: Any = redis
        self._prefix = prefix
        self._script = redis.register_script(SCRIPT)

    async def open(self) -> None:
        await self._redis.ping()

    async def close(self) -> None:
        """The connection belongs to whoever made it."""

    async def _do(self, op: str, *given: str | bytes | int | float) -> Any:
        return await self._script(keys=[self._prefix], args=[op, *given])

    async def enqueue(
        self, jobs: Sequence[NewJob], *, capacity: int, spread: float, boost: float
    ) -> list[tuple[str, bool]]:
        told = [
            {name: value for name, value in dataclasses.asdict(job).items() if value is not None}
            for job in jobs
        ]
        found = await self._do("enqueue", capacity, spread, boost, orjson.dumps(told))
        if found[0] == b"full":
            raise FullError(int(found[1]))
        if found[0] == b"reused":
            raise KeyReusedError
        return [(found[at].decode(), found[at + 1] == b"1") for at in range(0, len(found), 2)]

    async def get(self, job_id: str) -> Job | None:
        found = await self._redis.hgetall(self._key(job_id))
        return _job(found) if found else None

    async def live(self) -> bool:
        return True

    async def position(self, job_id: str) -> int | None:
        rank = await self._redis.zrank(self._prefix + "wait", job_id)
        found = await self._do("place", job_id) if rank is None else int(rank) + 1
        return None if found is None else int(found)

    async def claim(self, owner: str, lease_s: float) -> Job | None:
        found = await self._do("claim", owner, lease_s)
        return _job(_pairs(found)) if found else None

    async def renew(self, owners: Sequence[str], lease_s: float) -> set[str]:
        found = await self._do("renew", lease_s, *owners) if owners else []
        return {owner.decode() for owner in found}

    async def append(self, job_id: str, owner: str, events: Sequence[tuple[str, str]]) -> bool:
        given = [word for event in events for word in event]
        return bool(await self._do("append", job_id, owner, *given))

    async def finish(
        self, job_id: str, owner: str, status: Status, result: str | None, error: str | None
    ) -> bool:
        return bool(
            await self._do("finish", job_id, owner, status, result or "", error or "", SAMPLES)
        )

    async def release(self, job_id: str, owner: str) -> bool:
        return bool(await self._do("release", job_id, owner))

    async def hold(self, job_id: str, owner: str, for_s: float) -> bool:
        return bool(await self._do("hold", job_id, owner, for_s))

    async def held(self, job_id: str) -> Held | None:
        found = await self._do("held", job_id)
        return Held(float(found[0]), int(found[1])) if found else None

    async def cancel(self, job_id: str) -> Status | None:
        found = await self._do("cancel", job_id)
        return found.decode() if found else None

    async def events(self, job_id: str, after: int) -> list[Event]:
        rows = await self._redis.lrange(self._prefix + "events:" + job_id, after, -1)
        found: list[Event] = []
        for n, row in enumerate(rows, after + 1):
            kind, _, data = row.decode().partition(" ")
            found.append(Event(n, kind, data))
        return found

    async def reap(self, *, max_claims: int, retention_s: float) -> list[tuple[str, str]]:
        found = await self._do("reap", max_claims, retention_s, WORN)
        return [(found[at].decode(), found[at + 1].decode()) for at in range(0, len(found), 2)]

    async def search(self, search: Search) -> list[Job]:
        index = self._prefix + ("all" if search.app_id is None else f"of:{search.app_id}")
        top = "+inf" if search.before is None else f"({search.before}"
        found: list[Job] = []
        for start in range(0, MOST_LOOKED_AT, PAGE):
            ids = await self._redis.zrevrangebyscore(index, top, "-inf", start=start, num=PAGE)
            if not ids:
                break
            pipe = self._redis.pipeline(transaction=False)
            for one in ids:
                pipe.hgetall(self._key(one.decode()))
            for row in await pipe.execute():
                if row and _fits(job := _job(row), search):
                    found.append(job)
                    if len(found) == search.limit:
                        return found
        return found

    async def beat(self, process: str, slots: int, busy: int) -> None:
        await self._do("beat", process, slots, busy)

    async def stats(self) -> Stats:
        waiting, oldest, running, slots, busy, types = await self._do("stats", WORKER_SEEN_S)
        return Stats(
            waiting=waiting,
            oldest_s=float(oldest),
            running=running,
            slots=slots,
            busy=busy,
            types={name.decode(): int(n) for name, n in _pairs(types).items()},
        )

    async def durations(self) -> list[tuple[str, float]]:
        rows = await self._redis.lrange(self._prefix + "durations", 0, SAMPLES - 1)
        found: list[tuple[str, float]] = []
        for row in rows:
            seconds, _, kind = row.decode().partition(" ")
            found.append((kind, float(seconds)))
        return found

    async def due_hooks(self, limit: int) -> list[Job]:
        return [_job(_pairs(row)) for row in await self._do("hooks", limit, HOOK_LEASE_S)]

    async def hook_told(self, job_id: str, state: str, again_in_s: float | None) -> None:
        await self._do("told", job_id, state, "" if again_in_s is None else again_in_s)

    def _key(self, job_id: str) -> str:
        return self._prefix + "job:" + job_id


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _job(row: Mapping[bytes, bytes]) -> Job:
    values: dict[str, Any] = {}
    for name in HINTS:
        raw = row.get(name.encode())
        if raw is None:
            values[name] = None
        elif name in INTEGERS:
            values[name] = int(raw)
        elif name in FLOATS:
            values[name] = float(raw)
        else:
            values[name] = raw.decode()
    if values["status"] == "held":
        values.update(status="queued", held=True)
    return Job(**values)


def _fits(job: Job, search: Search) -> bool:
    if search.status is not None and job.status != search.status:
        return False
    text = search.text
    return text is None or text in (job.id, job.type) or text.lower() in job.question.lower()
