"""A queue in which there is nothing to do is not asked, and misses nothing for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.jobs.drivers import SqliteDriver
from gateway.jobs.job import Search
from gateway.jobs.queue import WORKER_SEEN_S, Queue
from gateway.jobs.quiet import REST_S
from gateway.jobs.sql_statements import LIVE
from gateway.store.database import Database
from gateway.store.tables.jobs import JOBS
from tests.jobs import queues
from tests.jobs.lab import ended, lab, put
from tests.jobs.queues import job
from tests.jobs.queues import put as enqueue
from tests.replay.gateway import Running

NEVER = 10.0**9


@pytest.fixture
def no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found by looking now and again."""
    for module in ("workers", "service"):
        monkeypatch.setattr(f"gateway.jobs.{module}.REST_S", NEVER)


def is_quiet(gateway: Running) -> bool:
    return not gateway.services.jobs._quiet._stirred.is_set()


async def until(true: Callable[[], bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("no_sweeps")
async def test_a_quiet_queue_is_not_asked_until_something_is_put_in(tmp_path: Path) -> None:
    async with lab(store={"database": f"sqlite:///{tmp_path}/pointsman.db"}) as (gateway, _):
        for _ in range(2):
            await until(lambda: is_quiet(gateway))
            driver: Any = gateway.services.jobs.queue._driver  # type: ignore[attr-defined]
            assert isinstance(driver, SqliteDriver)
            # Whoever was in the midst of a look ends it.
            await asyncio.sleep(2.5)
            asked: list[str] = []
            assert driver._connection is not None
            driver._connection.set_trace_callback(asked.append)
            await asyncio.sleep(1.5)
            assert asked == []
            done = await ended(gateway, await put(gateway))
            assert done["status"] == "completed"
            assert asked != []


@pytest.mark.usefixtures("no_sweeps")
async def test_what_another_process_puts_in_stirs_a_quiet_queue(store_url: str) -> None:
    store = {"database": store_url}
    async with lab(store=store) as (worker, _), lab(store=store, jobs={"workers": 0}) as (door, _):
        for _ in range(2):
            await until(lambda: is_quiet(worker) and is_quiet(door))
            assert (await ended(door, await put(door)))["status"] == "completed"


async def test_its_workers_are_still_known(tmp_path: Path) -> None:
    assert 2 * REST_S < WORKER_SEEN_S
    async with lab(store={"database": f"sqlite:///{tmp_path}/pointsman.db"}) as (gateway, _):
        await until(lambda: is_quiet(gateway))
        async with queues.queue(f"sqlite:///{tmp_path}/pointsman.db") as queue:
            before = await _heard_of(queue)
            async with asyncio.timeout(3 * REST_S):
                while await _heard_of(queue) == before:
                    await asyncio.sleep(0.1)
            assert is_quiet(gateway)


async def _heard_of(queue: Queue) -> float:
    driver: Any = queue._driver  # type: ignore[attr-defined]
    (found,) = driver._connection.execute("SELECT max(seen_at) FROM job_workers").fetchone()
    return float(found)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_there_is_to_do_is_seen(kind: str, tmp_path: Path) -> None:
    with queues.store(kind, tmp_path) as url:
        await queues.prepare(url)
        async with queues.queue(url) as queue:
            assert not await queue.live()
            # One that waits, runs, is held, and has its webhook to be told.
            (name,) = await enqueue(queue, job(webhook="http://127.0.0.1:9/"))
            assert await queue.live()
            assert await queue.claim("w1", 60) is not None
            assert await queue.live()
            assert await queue.hold(name, "w1", 60)
            assert await queue.live()
            await queue.cancel(name)
            assert await queue.live()
            assert len(await queue.due_hooks(8)) == 1
            await queue.hook_told(name, "pending", 3600)
            assert await queue.live()
            await queue.hook_told(name, "delivered", None)
            assert not await queue.live()
            assert [one.id for one in await queue.search(Search())] == [name]


async def test_it_is_seen_by_short_indexes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pointsman.db"
    database = Database(url)
    await database.open()
    async with database.read() as connection:
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT {LIVE}")
        steps = [row[-1] for row in plan.all() if " jobs" in row[-1]]
    await database.close()
    # Those of some rows only: none that has the jobs that ended.
    short = [
        str(one.name) for one in JOBS.indexes if one.dialect_options["sqlite"]["where"] is not None
    ]
    assert len(steps) == 4
    for step in steps:
        assert set(step.split()) & set(short), step


async def test_a_queue_that_nobody_watches_is_always_asked(tmp_path: Path) -> None:
    with queues.store("redis", tmp_path) as url:
        async with queues.queue(url) as queue:
            assert queue.stirring is None
            assert await queue.live()
