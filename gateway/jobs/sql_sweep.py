"""What is looked for now and again: lost leases, waits that are over, what is old."""

# Statements are put together of our own words only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

from gateway.jobs import order
from gateway.jobs.drivers import Work
from gateway.jobs.queue import WORKER_SEEN_S
from gateway.jobs.sql_held import rested, set_aside
from gateway.jobs.sql_statements import BACK, HOOK, count

SWEEP = 500
"""Jobs that one sweep takes at most: nobody waits long for it."""
WORN = '{"code":"worker_lost","message":"Its worker was lost too often.","type":"internal_error"}'


def sweep(
    now: float, max_claims: int, retention_s: float, locked: str
) -> Work[list[tuple[str, str]]]:
    def picked(column: str) -> str:
        # By the index that finds them: by another order SQLite would go through all jobs.
        return f"ORDER BY {column} LIMIT {SWEEP}{locked}"

    found: list[tuple[str, str]] = []
    steps: list[order.Move] = []
    lost = """SELECT seq FROM jobs WHERE status = 'processing'
      AND lease_until < CAST(:now AS DOUBLE PRECISION)"""
    rows = yield (
        f"""UPDATE jobs SET status = 'error', error = :error, ended_at = :now,
        owner = NULL, lease_until = NULL, {HOOK} WHERE seq IN
        ({lost} AND claims >= :claims {picked("lease_until")}) RETURNING id""",
        {"now": now, "claims": max_claims, "error": WORN},
    )
    found += [(row["id"], "error") for row in rows]
    rows = yield (
        f"""UPDATE jobs SET {BACK} WHERE seq IN ({lost} {picked("lease_until")})
        RETURNING id, rank, type""",
        {"now": now},
    )
    found += [(row["id"], "queued") for row in rows]
    steps += [(row["rank"], row["type"], 1, 1) for row in rows]
    for status, lines in (("queued", -1), ("held", 0)):
        rows = yield (
            f"""UPDATE jobs SET status = 'expired', ended_at = :now, {HOOK} WHERE seq IN
            (SELECT seq FROM jobs WHERE status = '{status}'
              AND expires_at <= CAST(:now AS DOUBLE PRECISION) {picked("expires_at")})
            RETURNING id, rank, type""",
            {"now": now},
        )
        found += [(row["id"], "expired") for row in rows]
        steps += [(row["rank"], row["type"], -1, lines) for row in rows]
    steps += yield from set_aside(now, locked)
    back = yield from rested(now, locked)
    found += [(row["id"], "queued") for row in back]
    steps += [(row["rank"], row["type"], 0, 1) for row in back]
    rows = yield (
        f"""DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE ended_at < :old
        ORDER BY ended_at LIMIT {SWEEP}{locked}) RETURNING seq""",
        {"old": now - retention_s},
    )
    for row in rows:
        yield "DELETE FROM job_events WHERE seq = :seq", {"seq": row["seq"]}
    if steps:
        yield from count(steps)
    return found


def tidied(now: float) -> Work[None]:
    yield "DELETE FROM job_counts WHERE n <= 0 AND level <> 4", {}
    yield "DELETE FROM job_workers WHERE seen_at < :old", {"old": now - 60 * WORKER_SEEN_S}
