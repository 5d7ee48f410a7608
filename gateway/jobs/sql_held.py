"""Jobs of applications over a limit of their own: out of the line, and back when it lets go."""

# Statements are put together of our own words only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

from gateway.jobs import order
from gateway.jobs.drivers import Row, Work
from gateway.jobs.job import Held
from gateway.jobs.sql_statements import BACK, MINE, count

ASIDE = 250
"""Jobs of applications that rest, which one sweep takes out of the line or puts back: each costs
some pages of the disk."""
RESTED = 100
"""Applications that one sweep looks after."""


def hold(job_id: str, owner: str, for_s: float, now: float, locked: str) -> Work[bool]:
    rows = yield (
        f"""UPDATE jobs SET {BACK.replace("queued", "held")}, claims = claims - 1
        WHERE {MINE} RETURNING seq, app_id, rank, type, written""",
        {"id": job_id, "owner": owner, "now": now},
    )
    if not rows:
        return False
    row = rows[0]
    # It was taken for nothing: nobody need hear of it.
    taken = yield (
        """DELETE FROM job_events WHERE seq = :seq AND n = :n
        AND kind IN ('processing', 'restarted') RETURNING n""",
        {"seq": row["seq"], "n": row["written"]},
    )
    if taken:
        yield "UPDATE jobs SET written = written - 1 WHERE seq = :seq", {"seq": row["seq"]}
    yield (
        """INSERT INTO job_rests (app_id, until) VALUES (:app_id, :until)
        ON CONFLICT (app_id) DO UPDATE SET until = excluded.until""",
        {"app_id": row["app_id"], "until": now + for_s},
    )
    aside = yield from set_aside(now, locked)
    yield from count([(row["rank"], row["type"], 1, 0), *aside])
    return True


def held(job_id: str, now: float) -> Work[Held | None]:
    rows = yield (
        """SELECT seq, rank, jobs.app_id, until FROM jobs
        LEFT JOIN job_rests ON job_rests.app_id = jobs.app_id
        WHERE id = :id AND status = 'held'""",
        {"id": job_id},
    )
    if not rows:
        return None
    own = yield from before(rows[0])
    return Held(max(0.0, (rows[0]["until"] or now) - now), own)


def before(row: Row) -> Work[int]:
    """Jobs of the same application that its limit holds, too, and whose turn is before."""
    rows = yield (
        """SELECT count(*) AS n FROM jobs WHERE status = 'held' AND app_id = :app_id
        AND (rank, seq) < (CAST(:rank AS DOUBLE PRECISION), :seq)""",
        {"app_id": row["app_id"], "rank": row["rank"], "seq": row["seq"]},
    )
    return int(rows[0]["n"])


def set_aside(now: float, locked: str) -> Work[list[order.Move]]:
    """Those in the line whose application rests, so that nobody looks at them."""
    apps = yield (
        f"""SELECT app_id FROM job_rests WHERE until > CAST(:now AS DOUBLE PRECISION)
        ORDER BY until DESC LIMIT {RESTED}""",
        {"now": now},
    )
    if not apps:
        return []
    # By name: PostgreSQL would go through the whole line for a subquery that finds none.
    names = {f"a{number}": app["app_id"] for number, app in enumerate(apps)}
    rows = yield (
        f"""UPDATE jobs SET status = 'held' WHERE seq IN (SELECT seq FROM jobs
        WHERE status = 'queued' AND app_id IN ({", ".join(f":{name}" for name in names)})
        LIMIT {ASIDE}{locked}) RETURNING rank, type""",
        names,
    )
    return [(row["rank"], row["type"], 0, -1) for row in rows]


def rested(now: float, locked: str) -> Work[list[Row]]:
    """Those whose application may ask again, back in the line, the first ones first."""
    apps = yield (
        f"""SELECT app_id FROM job_rests WHERE until <= CAST(:now AS DOUBLE PRECISION)
        ORDER BY app_id LIMIT {RESTED}""",
        {"now": now},
    )
    found: list[Row] = []
    for app in apps:
        rows = yield (
            f"""UPDATE jobs SET status = 'queued' WHERE seq IN (SELECT seq FROM jobs
            WHERE status = 'held' AND app_id = :app_id
            ORDER BY rank, seq LIMIT {ASIDE}{locked}) RETURNING id, rank, type""",
            {"app_id": app["app_id"]},
        )
        found += rows
        if len(rows) < ASIDE:
            yield (
                """DELETE FROM job_rests WHERE app_id = :app_id
                AND until <= CAST(:now AS DOUBLE PRECISION)""",
                {"app_id": app["app_id"], "now": now},
            )
    return found
