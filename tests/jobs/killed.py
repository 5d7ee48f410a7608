"""A worker of the kill test: python -m tests.jobs.killed URL LOG SEED. It is killed at any moment.

It takes jobs, writes a piece of each answer, and writes down each answer that it was told is in.
Now and then it stalls for longer than its lease, as a paused machine does.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from tests.jobs import queues

LEASE_S = 0.6


async def work(url: str, log: str, seed: int) -> None:
    chance = random.Random(seed)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with queues.queue(url) as queue:
        number = 0
        while True:
            number += 1
            owner = f"{os.getpid()}.{number}"
            job = await queue.claim(owner, LEASE_S)
            if job is None:
                await queue.reap(max_claims=50, retention_s=9e9)
                await asyncio.sleep(0.05)
                continue
            await queue.append(job.id, owner, [("token", f'"{owner}"')])
            stalled = chance.random() < 0.02
            await asyncio.sleep(LEASE_S * 2.5 if stalled else chance.uniform(0, 0.02))
            if await queue.finish(job.id, owner, "completed", owner, None):
                os.write(out, f"{job.id} {owner}\n".encode())


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
