"""A worker is killed with -9 in mid-stream: others' streams end, and what it held comes free."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import aiohttp

from tests.accounts.processes import gateway
from tests.deploy.kept import children
from tests.faults.seen import ledger, sample, toml, until
from tests.replay.server import Play, ReplayServer, openai_stream

STREAMS = 12
CODE = "a-code-of-the-tests-0001"
MORE = f"""
[codes.lab]
name = "Lab"
code = "{CODE}"
concurrency = {STREAMS}
[ledger]
flush_s = 0.1
"""


async def test_a_killed_worker_takes_no_other_stream_with_it(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    slow = Play(openai_stream(*[f"w{n} " for n in range(40)]), chunk=200, delay_s=0.1)
    async with (
        ReplayServer(slow) as upstream,
        gateway(
            tmp_path,
            toml(upstream.url, database=f"sqlite:///{file}", more=MORE),
            *("--workers", "2"),
        ) as running,
    ):
        url, keeper = running.url, running.child.pid

        async def two() -> bool:
            return len(children(keeper)) == 2

        await until(two, "both workers are there")
        await asyncio.sleep(0.5)
        begun: list[int] = []

        async def stream() -> bool:
            """Whether it came to its end."""
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {CODE}"}) as session,
                session.post(url + "/complete", json={"message": "hello"}) as answer,
            ):
                assert answer.status == 200, await answer.text()
                begun.append(1)
                try:
                    raw = await answer.read()
                except aiohttp.ClientError:
                    return False
                return b'"finish_reason":"stop"' in raw

        streams = [asyncio.create_task(stream()) for _ in range(STREAMS)]

        async def all_begun() -> bool:
            return len(begun) == STREAMS

        await until(all_begun, "all streams run")
        await asyncio.sleep(1)
        victim = min(children(keeper))
        os.kill(victim, signal.SIGKILL)
        ends = await asyncio.gather(*streams)
        whole = sum(ends)
        # Each worker had some: those of the living ended well, those of the dead were cut.
        assert 0 < whole < STREAMS, ends

        async def replaced() -> bool:
            return len(children(keeper) - {victim}) == 2

        await until(replaced, "the place is filled")

        async def nothing_in_flight() -> bool:
            return await sample(url, "pointsman_in_flight") == 0

        await until(nothing_in_flight, "what the dead had in hand no longer counts")

        async def counted() -> bool:
            return await sample(url, "pointsman_requests_total", outcome="finished") == whole

        await until(counted, "those of the living are counted, whichever worker is asked")
        # All places of the application are free again, those of the dead too.
        begun.clear()
        assert all(await asyncio.gather(*(stream() for _ in range(STREAMS))))
        assert not upstream.open
    assert ledger(file) == {"finished": whole + STREAMS}
    assert running.child.returncode == 0
