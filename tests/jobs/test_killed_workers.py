"""500 jobs, real processes, 20 kills at random moments: none lost, none reported twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.jobs.job import Search
from gateway.jobs.queue import Queue
from tests.jobs import queues
from tests.jobs.queues import job, put

ROOT = Path(__file__).parents[2]
JOBS, KILLS, WORKERS = 500, 20, 3


@pytest.mark.parametrize("kind", queues.KINDS)
def test_kills_at_random_moments_lose_nothing_and_report_nothing_twice(
    kind: str, tmp_path: Path
) -> None:
    with queues.store(kind, tmp_path) as url:
        (tmp_path / "finished").touch()
        asyncio.run(_killed(url, tmp_path / "finished"))


async def _killed(url: str, log: Path) -> None:
    await queues.prepare(url)
    chance = random.Random(11)
    seed = 0

    def start() -> subprocess.Popen[bytes]:
        nonlocal seed
        seed += 1
        command = [sys.executable, "-m", "tests.jobs.killed", url, str(log), str(seed)]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)

    async with queues.queue(url) as queue:
        ids = [
            name
            for n in range(0, JOBS, 50)
            for name in await put(queue, *(job(app=f"a{n % 3}") for _ in range(50)))
        ]
        workers = [start() for _ in range(WORKERS)]
        try:
            for kill in range(KILLS):
                # Spread over the whole load, and never before somebody works.
                await _until(log, (kill + 1) * JOBS // (KILLS + 5))
                await asyncio.sleep(chance.uniform(0, 0.05))
                victim = workers.pop(chance.randrange(len(workers)))
                victim.kill()
                victim.communicate()
                workers.append(start())
            await _emptied(queue)
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
        every = await queue.search(Search(limit=JOBS + 1))
        assert {one.id for one in every} == set(ids)
        assert {one.status for one in every} == {"completed"}
        kept = {one.id: one.result for one in every}
        told = [line.split() for line in _read(log).splitlines()]
        # A worker may be killed between the store's word and its own line; never the other way.
        assert JOBS - KILLS <= len(told) <= JOBS
        assert len({name for name, _ in told}) == len(told)
        for name, owner in told:
            assert kept[name] == owner
        again = [one for one in every if one.claims > 1]
        assert again, "some were taken from the dead"
        for one in again:
            # Whoever answered wrote last: nobody without the lease wrote after him.
            assert (await queue.events(one.id, 0))[-1].data == f'"{one.result}"'
        assert (await queue.stats()).waiting == 0


async def _until(log: Path, count: int) -> None:
    end = time.monotonic() + 60
    while _read(log).count("\n") < count:
        assert time.monotonic() < end, "the workers stopped working"
        await asyncio.sleep(0.01)


async def _emptied(queue: Queue) -> None:
    end = time.monotonic() + 60
    while True:
        stats = await queue.stats()
        if not stats.waiting and not stats.running:
            return
        assert time.monotonic() < end, f"not done in time: {stats}"
        await asyncio.sleep(0.1)


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8")
