"""The queue in the one database: a lease table, for SQLite and for PostgreSQL.

Each transaction locks its jobs first and the counters after them, in one order, so that two of
them never wait for each other.
"""

# Statements are put together of our own words only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.jobs import order
from gateway.jobs.drivers import Driver, Work
from gateway.jobs.job import Job, NewJob, Status
from gateway.jobs.queue import (
    HOOK_LEASE_S,
    WORKER_SEEN_S,
    FullError,
    KeyReusedError,
)
from gateway.jobs.sql_reads import COLUMNS, SqlReads, job_of

SWEEP = 500
"""Jobs that one sweep takes at most: nobody waits long for it."""

TAG = """(SELECT CASE WHEN max(tag) + CAST(:spread AS DOUBLE PRECISION)
  > CAST(:now AS DOUBLE PRECISION) THEN max(tag) + CAST(:spread AS DOUBLE PRECISION)
  ELSE CAST(:now AS DOUBLE PRECISION) END FROM jobs
  WHERE app_id = CAST(:app_id AS VARCHAR) AND status = 'queued')"""
# A tag is looked up twice: a lookup in an index costs less than a second statement.
INSERT = f"""INSERT INTO jobs (id, app_id, app_name, type, door, status, priority, body, question,
  created_at, expires_at, tag, rank, claims, written, webhook, hook_tries, idem_key, digest)
VALUES (:id, :app_id, :app_name, :type, :door, 'queued', :priority, :body, :question,
  :now, :expires_at, {TAG}, {TAG} - CAST(:ahead AS DOUBLE PRECISION), 0, 0, :webhook, 0,
  :idem_key, :digest)
ON CONFLICT (app_id, idem_key) DO NOTHING RETURNING rank"""
KNOWN = "SELECT id, digest FROM jobs WHERE app_id = :app_id AND idem_key = :idem_key"
TAKE = """status = 'processing', owner = :owner, lease_until = :until, started_at = :now,
  claims = claims + 1, written = written + 1"""
HOOK = """hook_state = CASE WHEN webhook IS NULL THEN NULL ELSE 'pending' END,
  hook_at = CASE WHEN webhook IS NULL THEN NULL ELSE CAST(:now AS DOUBLE PRECISION) END"""
MINE = """id = :id AND owner = :owner AND status = 'processing'
  AND lease_until >= CAST(:now AS DOUBLE PRECISION)"""
BACK = "status = 'queued', owner = NULL, lease_until = NULL, started_at = NULL"


class SqlQueue(SqlReads):
    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self.name = driver.name
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
            added: list[tuple[float, str, int]] = []
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
                    added.append((rows[0]["rank"], job.type, 1))
                    continue
                known = yield KNOWN, {"app_id": job.app_id, "idem_key": job.idem_key}
                if known[0]["digest"] != job.digest:
                    raise KeyReusedError
                found.append((known[0]["id"], False))
            if added:
                waiting = yield from _count(added)
                if waiting > capacity:
                    raise FullError(waiting - len(added))
            return found

        return await self._driver.write(work)

    async def claim(self, owner: str, lease_s: float) -> Job | None:
        now = self._driver.now()
        values = {"owner": owner, "until": now + lease_s, "now": now}
        pick = f"""SELECT seq FROM jobs WHERE status = 'queued'
          AND expires_at > CAST(:now AS DOUBLE PRECISION)
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
            yield from _count([(job.rank, job.type, -1)])
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
                yield from _count([(rows[0]["rank"], rows[0]["type"], 1)])
            return bool(rows)

        return await self._driver.write(work)

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
            before: Status = row["status"]
            if before in ("queued", "processing"):
                yield (
                    f"""UPDATE jobs SET status = 'cancelled', ended_at = :now, owner = NULL,
                    lease_until = NULL, {HOOK} WHERE seq = :seq""",
                    {"now": now, "seq": row["seq"]},
                )
            if before == "queued":
                yield from _count([(row["rank"], row["type"], -1)])
            return before

        return await self._driver.write(work)

    async def reap(self, *, max_claims: int, retention_s: float) -> list[tuple[str, str]]:
        now = self._driver.now()
        picked = f"ORDER BY seq LIMIT {SWEEP}{self._locked}"

        def work() -> Work[list[tuple[str, str]]]:
            found: list[tuple[str, str]] = []
            steps: list[tuple[float, str, int]] = []
            lost = """SELECT seq FROM jobs WHERE status = 'processing'
              AND lease_until < CAST(:now AS DOUBLE PRECISION)"""
            rows = yield (
                f"""UPDATE jobs SET status = 'error', error = :error, ended_at = :now,
                owner = NULL, lease_until = NULL, {HOOK} WHERE seq IN
                ({lost} AND claims >= :claims {picked}) RETURNING id""",
                {"now": now, "claims": max_claims, "error": WORN},
            )
            found += [(row["id"], "error") for row in rows]
            rows = yield (
                f"UPDATE jobs SET {BACK} WHERE seq IN ({lost} {picked}) RETURNING id, rank, type",
                {"now": now},
            )
            found += [(row["id"], "queued") for row in rows]
            steps += [(row["rank"], row["type"], 1) for row in rows]
            rows = yield (
                f"""UPDATE jobs SET status = 'expired', ended_at = :now, {HOOK} WHERE seq IN
                (SELECT seq FROM jobs WHERE status = 'queued'
                  AND expires_at <= CAST(:now AS DOUBLE PRECISION) {picked})
                RETURNING id, rank, type""",
                {"now": now},
            )
            found += [(row["id"], "expired") for row in rows]
            steps += [(row["rank"], row["type"], -1) for row in rows]
            rows = yield (
                f"""DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE ended_at < :old
                ORDER BY ended_at LIMIT {SWEEP}{self._locked}) RETURNING seq""",
                {"old": now - retention_s},
            )
            for row in rows:
                yield "DELETE FROM job_events WHERE seq = :seq", {"seq": row["seq"]}
            if steps:
                yield from _count(steps)
            return found

        found = await self._driver.write(work)
        await self._driver.write(_swept(now))
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


WORN = '{"code":"worker_lost","message":"Its worker was lost too often.","type":"internal_error"}'


def _count(jobs: Sequence[tuple[float, str, int]]) -> Work[int]:
    """Counts jobs in or out; returns how many wait now."""
    values: dict[str, object] = {}
    rows: list[str] = []
    for number, ((level, bucket, label), step) in enumerate(order.changes(jobs)):
        rows.append(f"(:l{number}, :b{number}, :t{number}, :n{number})")
        values.update(
            {f"l{number}": level, f"b{number}": bucket, f"t{number}": label, f"n{number}": step}
        )
    waiting = 0
    # SQLite takes 32766 values in a statement.
    for start in range(0, len(rows), 2000):
        part = {
            f"{letter}{number}": values[f"{letter}{number}"]
            for number in range(start, min(start + 2000, len(rows)))
            for letter in "lbtn"
        }
        found = yield (
            "INSERT INTO job_counts (level, bucket, label, n) VALUES "
            + ", ".join(rows[start : start + 2000])
            + " ON CONFLICT (level, bucket, label) DO UPDATE SET n = job_counts.n + excluded.n"
            " RETURNING level, n",
            part,
        )
        waiting += sum(int(row["n"]) for row in found if row["level"] == order.ALL)
    return waiting


def _swept(now: float) -> Callable[[], Work[None]]:
    def work() -> Work[None]:
        yield "DELETE FROM job_counts WHERE n <= 0 AND level <> 4", {}
        yield "DELETE FROM job_workers WHERE seen_at < :old", {"old": now - 60 * WORKER_SEEN_S}

    return work


def _event(seq: int, n: int, kind: str, data: str) -> tuple[str, dict[str, object]]:
    return (
        "INSERT INTO job_events (seq, n, kind, data) VALUES (:seq, :n, :kind, :data)",
        {"seq": seq, "n": n, "kind": kind, "data": data},
    )
