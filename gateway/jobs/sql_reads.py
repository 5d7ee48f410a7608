"""What the queue in the database tells: jobs, their places and events, and how it does."""

# Statements are put together of our own words only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

from dataclasses import fields

from gateway.jobs import order, sql_held
from gateway.jobs.drivers import Driver, Row, Work
from gateway.jobs.job import Event, Held, Job, Search, Stats
from gateway.jobs.queue import SAMPLES, WORKER_SEEN_S
from gateway.jobs.sql_statements import LIVE

COLUMNS = ", ".join(field.name for field in fields(Job) if field.name != "held")
RUNNING = -1
"""Stands for a level of the counters, which these are not in."""
PLACE = """SELECT
  (SELECT coalesce(sum(n), 0) FROM job_counts WHERE level = 3 AND bucket < :three)
+ (SELECT coalesce(sum(n), 0) FROM job_counts WHERE level = 2 AND bucket >= :from_two
    AND bucket < :two)
+ (SELECT coalesce(sum(n), 0) FROM job_counts WHERE level = 1 AND bucket >= :from_one
    AND bucket < :one)
+ (SELECT coalesce(sum(n), 0) FROM job_counts WHERE level = 0 AND bucket >= :from_zero
    AND bucket < :zero)
+ (SELECT count(*) FROM jobs WHERE status = 'queued' AND rank >= :low
    AND (rank, seq) < (CAST(:rank AS DOUBLE PRECISION), :seq)) AS before"""


class SqlReads:
    """Changes nothing."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def get(self, job_id: str) -> Job | None:
        def work() -> Work[Job | None]:
            rows = yield f"SELECT {COLUMNS} FROM jobs WHERE id = :id", {"id": job_id}
            return job_of(rows[0]) if rows else None

        return await self._driver.read(work)

    async def live(self) -> bool:
        def work() -> Work[bool]:
            rows = yield f"SELECT {LIVE} AS live", {}
            return bool(rows[0]["live"])

        return await self._driver.read(work)

    async def position(self, job_id: str) -> int | None:
        def work() -> Work[int | None]:
            rows = yield (
                """SELECT seq, rank, status, app_id FROM jobs
                WHERE id = :id AND status IN ('queued', 'held')""",
                {"id": job_id},
            )
            if not rows:
                return None
            row, rank, own = rows[0], rows[0]["rank"], 0
            if row["status"] == "held":
                own = yield from sql_held.before(row)
            zero, one, two, three = order.slices(rank)
            rows = yield (
                PLACE,
                {
                    "three": three,
                    "two": two,
                    "one": one,
                    "zero": zero,
                    "from_two": three << order.BITS,
                    "from_one": two << order.BITS,
                    "from_zero": one << order.BITS,
                    "low": zero / order.FINEST,
                    "rank": rank,
                    "seq": row["seq"],
                },
            )
            return int(rows[0]["before"]) + own + 1

        return await self._driver.read(work)

    async def held(self, job_id: str) -> Held | None:
        now = self._driver.now()
        return await self._driver.read(lambda: sql_held.held(job_id, now))

    async def events(self, job_id: str, after: int) -> list[Event]:
        def work() -> Work[list[Event]]:
            rows = yield (
                """SELECT n, kind, data FROM job_events
                WHERE seq = (SELECT seq FROM jobs WHERE id = :id) AND n > :after ORDER BY n""",
                {"id": job_id, "after": after},
            )
            return [Event(row["n"], row["kind"], row["data"]) for row in rows]

        return await self._driver.read(work)

    async def search(self, search: Search) -> list[Job]:
        wheres, values = ["seq < :before"], {"before": search.before or 2**62, "n": search.limit}
        given: dict[str, object] = dict(values)
        if search.app_id is not None:
            wheres.append("app_id = :app_id")
            given["app_id"] = search.app_id
        if search.status is not None:
            wheres.append("status IN (:status, :also)")
            given["status"] = search.status
            given["also"] = "held" if search.status == "queued" else search.status
        if search.text is not None:
            wheres.append(
                r"(id = :text OR type = :text OR lower(question) LIKE lower(:likely) ESCAPE '\')"
            )
            given["text"] = search.text
            given["likely"] = f"%{_literal(search.text)}%"

        def work() -> Work[list[Job]]:
            rows = yield (
                f"SELECT {COLUMNS} FROM jobs WHERE {' AND '.join(wheres)} "
                "ORDER BY seq DESC LIMIT :n",
                given,
            )
            return [job_of(row) for row in rows]

        return await self._driver.read(work)

    async def stats(self) -> Stats:
        now = self._driver.now()

        def work() -> Work[Stats]:
            # In one statement: a job that is given back meanwhile would be in neither of two.
            counts = yield (
                f"""SELECT level, label, n FROM job_counts WHERE level >= 4 AND n > 0
                UNION ALL SELECT {RUNNING}, '', count(*) FROM jobs WHERE status = 'processing'""",
                {},
            )
            oldest = yield (
                "SELECT min(created_at) AS oldest FROM jobs WHERE status = 'queued'",
                {},
            )
            workers = yield (
                """SELECT coalesce(sum(slots), 0) AS slots, coalesce(sum(busy), 0) AS busy
                FROM job_workers WHERE seen_at >= :since""",
                {"since": now - WORKER_SEEN_S},
            )
            since = oldest[0]["oldest"]
            return Stats(
                waiting=sum(int(row["n"]) for row in counts if row["level"] == order.ALL),
                oldest_s=0.0 if since is None else max(0.0, now - since),
                running=sum(int(row["n"]) for row in counts if row["level"] == RUNNING),
                slots=int(workers[0]["slots"]),
                busy=int(workers[0]["busy"]),
                types={row["label"]: int(row["n"]) for row in counts if row["level"] == order.TYPE},
            )

        return await self._driver.read(work)

    async def durations(self) -> list[tuple[str, float]]:
        def work() -> Work[list[tuple[str, float]]]:
            rows = yield (
                """SELECT type, ended_at - started_at AS seconds, status FROM jobs
                WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT :n""",
                {"n": SAMPLES},
            )
            return [(row["type"], row["seconds"]) for row in rows if row["status"] == "completed"]

        return await self._driver.read(work)


def _literal(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return text


def job_of(row: Row) -> Job:
    values = {field.name: row[field.name] for field in fields(Job) if field.name != "held"}
    if values["status"] != "held":
        return Job(**values)
    return Job(**{**values, "status": "queued", "held": True})
