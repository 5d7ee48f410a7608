"""What the queue costs with 100,000 jobs waiting: on SQLite, PostgreSQL and Redis.

    python -m bench.jobs [--waiting N] [--rounds N]

Fills each queue, then times one caller: putting a job in, and asking for a place anywhere in the
queue. Each store is a real one of the bench's own: SQLite in WAL with synchronous=NORMAL, Redis
with appendfsync everysec, PostgreSQL as the tests start it, with fsync off: a disk's flush comes on
top of its enqueue and claim. Prints the table and writes it into bench/README.md.
"""

import asyncio
import contextlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from bench import command, machine
from bench.table import write_between_markers
from gateway.jobs.drivers import PostgresDriver, SqliteDriver
from gateway.jobs.job import NewJob
from gateway.jobs.queue import Queue
from gateway.jobs.redis_queue import RedisQueue
from gateway.jobs.sql import SqlQueue
from gateway.store.database import Database
from tests.store import servers

MARKERS = ("<!-- jobs: written by `python -m bench.jobs` -->", "<!-- end of jobs -->")
README = Path(__file__).with_name("README.md")
BATCH = 500
APPS = 40
LIMITS = {"enqueue": 1.0, "position": 2.0}
"""Milliseconds, median."""


@asynccontextmanager
async def queue(kind: str, folder: Path) -> AsyncGenerator[Queue]:
    """A fresh one on a fresh store."""
    with contextlib.ExitStack() as stack:
        redis = None
        if kind == "redis":
            url = stack.enter_context(servers.redis(folder / "redis"))
            redis = Redis.from_url(url)
            await redis.config_set("appendonly", "yes")
            await redis.config_set("appendfsync", "everysec")
            found: Queue = RedisQueue(redis)
        else:
            sqlite = kind == "sqlite"
            url = (
                f"sqlite:///{folder}/jobs.db" if sqlite else stack.enter_context(servers.postgres())
            )
            database = Database(url)
            await database.open()
            await database.close()
            path = url.removeprefix("sqlite:///")
            found = SqlQueue(SqliteDriver(path) if sqlite else PostgresDriver(url))
        await found.open()
        try:
            yield found
        finally:
            await found.close()
            if redis is not None:
                await redis.aclose()


def job(number: int) -> NewJob:
    app = f"app{number % APPS}"
    body = '{"dialect":"openai","body":{"model":"auto","messages":[]},"models":[]}' + " " * 400
    return NewJob(
        uuid.uuid4().hex, app, app, f"type{number % 5}", "jobs", number % 3, body, "what?", 9e6
    )


async def put(queue: Queue, *jobs: NewJob) -> list[str]:
    found = await queue.enqueue(jobs, capacity=10**7, spread=0.25, boost=60.0)
    return [name for name, _ in found]


async def timed(rounds: int, work: Callable[[int], Awaitable[object]]) -> list[float]:
    """Milliseconds of each."""
    found = []
    for number in range(rounds):
        began = time.perf_counter()
        await work(number)
        found.append((time.perf_counter() - began) * 1000)
    return found


async def measured(kind: str, waiting: int, rounds: int) -> dict[str, list[float]]:
    folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
    try:
        async with queue(kind, folder) as found:
            ids: list[str] = []
            for start in range(0, waiting, BATCH):
                jobs = [job(n) for n in range(start, min(start + BATCH, waiting))]
                ids += await put(found, *jobs)
            chance = random.Random(3)
            await timed(50, lambda n: put(found, job(n)))
            rows = {
                "enqueue": await timed(rounds, lambda n: put(found, job(n))),
                "position": await timed(rounds, lambda _: found.position(chance.choice(ids))),
                "claim": await timed(rounds, lambda n: found.claim(f"w{n}", 600)),
                "stats": await timed(rounds, lambda _: found.stats()),
                "sweep": await timed(
                    rounds // 10, lambda _: found.reap(max_claims=5, retention_s=9e9)
                ),
            }
            assert (await found.stats()).waiting == waiting + 50
            return rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(
    results: dict[str, dict[str, list[float]]], facts: list[str], waiting: int, rounds: int
) -> str:
    lines = [
        *(f"- {fact}" for fact in facts),
        "- SQLite synchronous=NORMAL, Redis appendfsync everysec, PostgreSQL with fsync off",
        "",
        f"{waiting:,} jobs of {APPS} applications wait; one caller, {rounds} calls each. "
        "Milliseconds, median (p99).",
        "",
        "| | " + " | ".join(next(iter(results.values()))) + " |",
        "|---|" + "---:|" * len(next(iter(results.values()))),
    ]
    for kind, rows in results.items():
        cells = [
            f"{statistics.median(values):.2f} ({sorted(values)[int(len(values) * 0.99)]:.2f})"
            for values in rows.values()
        ]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += ["", "| promise | limit, ms | met |", "|---|---:|---|"]
    for name, limit in LIMITS.items():
        met = all(statistics.median(rows[name]) < limit for rows in results.values())
        lines.append(f"| {name}, median, on each of them | {limit:g} | {'yes' if met else 'no'} |")
    return "\n".join(lines)


def main() -> int:
    parser = command.parser("python -m bench.jobs", __doc__)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1000)
    given = parser.parse_args()
    facts = machine.facts(f" --waiting {given.waiting}", "bench.jobs")[:2]
    results = {}
    for kind in ("sqlite", "postgresql", "redis"):
        command.say(f"{kind} ...")
        try:
            results[kind] = asyncio.run(measured(kind, given.waiting, given.rounds))
        except (FileNotFoundError, AssertionError, subprocess.CalledProcessError) as fault:
            command.say(f"{kind} is left out: {fault!r}")
    text = table(results, facts, given.waiting, given.rounds)
    print(text)
    if given.waiting >= 100_000:
        write_between_markers(README, text, MARKERS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
