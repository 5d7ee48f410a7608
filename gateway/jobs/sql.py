"""The queue in the one database: a lease table, for SQLite and for PostgreSQL.

Each transaction locks its jobs first and the counters after them, in one order, so that two of
them never wait for each other.
"""

# Statements are put together of our own words only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Integer, literal_column

from gateway.jobs import order, sql_held
from gateway.jobs.drivers import Driver, Work
from gateway.jobs.job import Job, NewJob, Status
from gateway.jobs.queue import (
    HOOK_LEASE_S,
    FullError,
    KeyReusedError,
)
from gateway.jobs.sql_reads import COLUMNS, SqlReads, job_of
from gateway.jobs.sql_statements import BACK, HOOK, INSERT, KNOWN, LIVE, MINE, RESTS, count
from gateway.jobs.sql_sweep import sweep, tidied

TAKE = """status = 'processing', owner = :owner, lease_until = :until, started_at = :now,
  claims = claims + 1, written = written + 1"""


class SqlQueue(SqlReads):
    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self.name = driver.name
        self.stirring = literal_column(LIVE, Integer())
        self._locked = "" if driver.name == "sqlite" else " FOR UPDATE SKIP LOCKED"

    async def open(self) -> None:
        await self._driver.open()

    async def close(self) -> None:
        await self._driver.close()

    async def enqueue(
        self, jobs: Sequence[NewJob], *, capacity: int, spread: float, boost: float
    ) -> list[tuple[str, bool]]:
        now = self._driver.now()

        def work() -> Work[list[tuple[str, bool]]]:
            found: list[tuple[str, bool]] = []
            added: list[order.Move] = []
            for job in jobs:
                values = {
                    "id": job.id,
                    "app_id": job.app_id,
                    "app_name": job.app_name,
                    "type": job.type,
                    "door": job.door,
                    "priority": job.priority,
                    "body": job.body,
                    "question": job.question,
                    "now": now,
                    "expires_at": now + job.timeout_s,
                    "spread": spread,
                    "ahead": job.priority * boost,
                    "webhook": job.webhook,
                    "idem_key": job.idem_key,
                    "digest": job.digest,
                }
                rows = yield INSERT, values
                if rows:
                    found.append((job.id, True))
                    lines = int(rows[0]["status"] == "queued")
                    added.append((rows[0]["rank"], job.type, 1, lines))
                    continue
                known = yield KNOWN, {"app_id": job.app_id, "idem_key": job.idem_key}
                if known[0]["digest"] != job.digest:
                    raise KeyReusedError
                found.append((known[0]["id"], False))
            if added:
                waiting = yield from count(added)
                if waiting > capacity:
                    raise FullError(waiting - len(added))
            return found

        return await self._driver.write(work)

    async def claim(self, owner: str, lease_s: float) -> Job | None:
        now = self._driver.now()
        values = {"owner": owner, "until": now + lease_s, "now": now}
        pick = f"""SELECT seq FROM jobs WHERE status = 'queued'
          AND expires_at > CAST(:now AS DOUBLE PRECISION) AND NOT {RESTS}
          ORDER BY rank, seq LIMIT 1{self._locked}"""
        if self._locked:
            take = f"""WITH next AS MATERIALIZED ({pick}) UPDATE jobs SET {TAKE} FROM next
              WHERE jobs.seq = next.seq RETURNING {COLUMNS.replace("seq", "jobs.seq", 1)}"""
        else:
            take = f"UPDATE jobs SET {TAKE} WHERE seq = ({pick}) RETURNING {COLUMNS}"

        def work() -> Work[Job | None]:
            rows = yield take, values
            if not rows:
                return None
            job = job_of(rows[0])
            kind = "restarted" if job.written > 1 else "processing"
            yield _event(job.seq, job.written, kind, "{}")
            yield from count([(job.rank, job.type, -1, -1)])
            return job

        return await self._driver.write(work)

    async def renew(self, owners: Sequence[str], lease_s: float) -> set[str]:
        now = self._driver.now()

        def work() -> Work[set[str]]:
            names = {f"o{number}": owner for number, owner in enumerate(owners)}
            rows = yield (
                f"""UPDATE jobs SET lease_until = :until WHERE status = 'processing'
                AND lease_until >= CAST(:now AS DOUBLE PRECISION)
                AND owner IN ({", ".join(f":{name}" for name in names)}) RETURNING owner""",
                {"until": now + lease_s, "now": now, **names},
            )
            return {row["owner"] for row in rows}

        return await self._driver.write(work) if owners else set()

    async def append(self, job_id: str, owner: str, events: Sequence[tuple[str, str]]) -> bool:
        now = self._driver.now()

        def work() -> Work[bool]:
            rows = yield (
                f"UPDATE jobs SET written = written + :more WHERE {MINE} RETURNING seq, written",
                {"id": job_id, "owner": owner, "now": now, "more": len(events)},
            )
            if not rows:
                return False
            first = rows[0]["written"] - len(events) + 1
            for n, (kind, data) in enumerate(events, first):
                yield _event(rows[0]["seq"], n, kind, data)
            return True

        return await self._driver.write(work)

    async def finish(
        self, job_id: str, owner: str, status: Status, result: str | None, error: str | None
    ) -> bool:
        now = self._driver.now()

        def work() -> Work[bool]:
            rows = yield (
                f"""UPDATE jobs SET status = :status, result = :result, error = :error,
                ended_at = :now, owner = NULL, lease_until = NULL, {HOOK}
                WHERE {MINE} RETURNING seq""",
                {
                    "id": job_id,
                    "owner": owner,
                    "now": now,
                    "status": status,
                    "result": result,
                    "error": error,
                },
            )
            return bool(rows)

        return await self._driver.write(work)

    async def release(self, job_id: str, owner: str) -> bool:
        now = self._driver.now()

        def work() -> Work[bool]:
            rows = yield (
                f"UPDATE jobs SET {BACK}, claims = claims - 1 WHERE {MINE} RETURNING rank, type",
                {"id": job_id, "owner": owner, "now": now},
            )
            if rows:
                yield from count([(rows[0]["rank"], rows[0]["type"], 1, 1)])
            return bool(rows)

        return await self._driver.write(work)

    async def hold(self, job_id: str, owner: str, for_s: float) -> bool:
        now = self._driver.now()
        return await self._driver.write(
            lambda: sql_held.hold(job_id, owner, for_s, now, self._locked)
        )

    async def cancel(self, job_id: str) -> Status | None:
        now = self._driver.now()
        lock = " FOR UPDATE" if self._locked else ""

        def work() -> Work[Status | None]:
            rows = yield (
                f"SELECT seq, status, rank, type FROM jobs WHERE id = :id{lock}",
                {"id": job_id},
            )
            if not rows:
                return None
            row = rows[0]
            before = row["status"]
            if before in ("queued", "held", "processing"):
                yield (
                    f"""UPDATE jobs SET status = 'cancelled', ended_at = :now, owner = NULL,
                    lease_until = NULL, {HOOK} WHERE seq = :seq""",
                    {"now": now, "seq": row["seq"]},
                )
            if before in ("queued", "held"):
                lines = -1 if before == "queued" else 0
                yield from count([(row["rank"], row["type"], -1, lines)])
            found: Status = "queued" if before == "held" else before
            return found

        return await self._driver.write(work)

    async def reap(self, *, max_claims: int, retention_s: float) -> list[tuple[str, str]]:
        now = self._driver.now()
        found = await self._driver.write(lambda: sweep(now, max_claims, retention_s, self._locked))
        await self._driver.write(lambda: tidied(now))
        return found

    async def beat(self, process: str, slots: int, busy: int) -> None:
        now = self._driver.now()

        def work() -> Work[None]:
            if not slots:
                yield "DELETE FROM job_workers WHERE owner = :owner", {"owner": process}
                return
            yield (
                """INSERT INTO job_workers (owner, slots, busy, seen_at)
                VALUES (:owner, :slots, :busy, :now) ON CONFLICT (owner) DO UPDATE
                SET slots = excluded.slots, busy = excluded.busy, seen_at = excluded.seen_at""",
                {"owner": process, "slots": slots, "busy": busy, "now": now},
            )

        await self._driver.write(work)

    async def due_hooks(self, limit: int) -> list[Job]:
        now = self._driver.now()

        def work() -> Work[list[Job]]:
            rows = yield (
                f"""UPDATE jobs SET hook_at = :until, hook_tries = hook_tries + 1 WHERE seq IN
                (SELECT seq FROM jobs WHERE hook_at IS NOT NULL
                  AND hook_at <= CAST(:now AS DOUBLE PRECISION)
                  ORDER BY hook_at LIMIT :n{self._locked}) RETURNING {COLUMNS}""",
                {"now": now, "until": now + HOOK_LEASE_S, "n": limit},
            )
            return [job_of(row) for row in rows]

        return await self._driver.write(work)

    async def hook_told(self, job_id: str, state: str, again_in_s: float | None) -> None:
        at = None if again_in_s is None else self._driver.now() + again_in_s

        def work() -> Work[None]:
            yield (
                "UPDATE jobs SET hook_state = :state, hook_at = :at WHERE id = :id",
                {"state": state, "at": at, "id": job_id},
            )

        await self._driver.write(work)


def _event(seq: int, n: int, kind: str, data: str) -> tuple[str, dict[str, object]]:
    return (
        "INSERT INTO job_events (seq, n, kind, data) VALUES (:seq, :n, :kind, :data)",
        {"seq": seq, "n": n, "kind": kind, "data": data},
    )
