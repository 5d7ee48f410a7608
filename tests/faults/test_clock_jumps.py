"""The wall clock jumps a day ahead or back: streams, limits, rests, budgets and jobs stay sane."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.accounts import processes
from tests.faults.seen import asked, ledger, ready, sample, toml, until
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

HELLO = Play(openai_body("hello"), content_type="application/json")
BROKEN = Play(b"no", 500, "text/plain")
DAY = 86_400
CODE = "a-code-of-the-tests-0001"
MINE = {"Authorization": f"Bearer {CODE}"}
MORE = f"""
[codes.lab]
name = "Lab"
code = "{CODE}"
rate_limit = "10/minute"
[cooldown]
failures = 2
rest_s = 2
[jobs]
lease_s = 1
timeout_s = 60
[ledger]
flush_s = 0.1
"""


@asynccontextmanager
async def jumping(folder: Path, text: str) -> AsyncGenerator[tuple[str, Path]]:
    """Its address, and the file that says how far ahead its clock is."""
    ahead, config, log = folder / "ahead", folder / "gateway.toml", folder / "log"
    ahead.write_text("0")
    config.write_text("[server]\nport = 0\ndrain_s = 4\n" + text)
    with log.open("w") as out:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.faults.jumping", "--config", str(config)),
            cwd=folder,
            env={**processes.environment(), "AHEAD_FILE": str(ahead)},
            stdout=out,
            stderr=out,
        )
    try:
        yield await processes._address(child, log), ahead
    finally:
        child.terminate()
        async with asyncio.timeout(20):
            assert await child.wait() == 0, log.read_text()


async def one(url: str, **body: Any) -> tuple[int, bytes]:
    given = {"message": "hello", "stream": False, **body}
    async with (
        aiohttp.ClientSession(headers=MINE) as session,
        session.post(url + "/complete", json=given) as answer,
    ):
        return answer.status, await answer.read()


def jump(ahead: Path, seconds: float) -> None:
    fresh = ahead.with_name("fresh")
    fresh.write_text(str(seconds))
    os.replace(fresh, ahead)


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_jump_of_the_clock_cuts_no_stream_and_opens_no_limit(
    tmp_path: Path, seconds: float
) -> None:
    file = tmp_path / "p.db"
    slow = Play(openai_stream(*[f"w{n} " for n in range(20)]), chunk=200, delay_s=0.1)
    async with ReplayServer(slow, HELLO) as upstream:
        text = toml(upstream.url, database=f"sqlite:///{file}", more=MORE)
        async with jumping(tmp_path, text) as (url, ahead):
            stream = asyncio.create_task(one(url, stream=True))
            await upstream.until_received()
            jump(ahead, seconds)
            status, raw = await stream
            assert (status, b'"finish_reason":"stop"' in raw) == (200, True)
            codes = [(await one(url))[0] for _ in range(12)]
            # Ten a minute, the stream among them, whatever the clock says.
            assert codes == [200] * 9 + [429] * 3
            assert (await ready(url))["warnings"] == []
            jump(ahead, 0)
            assert (await one(url))[0] == 429

            async def written() -> bool:
                return await sample(url, "pointsman_ledger_rows_total", outcome="written") == 10

            await until(written, "the ledger goes on")
    assert ledger(file) == {"finished": 10}


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_rest_is_as_long_as_it_is(tmp_path: Path, seconds: float) -> None:
    async with ReplayServer(BROKEN) as upstream:
        text = toml(upstream.url, more=MORE.replace("rest_s = 2", "rest_s = 4"))
        async with jumping(tmp_path, text) as (url, ahead):
            assert (await one(url))[0] == 502
            upstream.play(HELLO)
            jump(ahead, seconds)
            began = time.monotonic()
            seen = len(upstream.received)
            assert (await one(url))[0] in (502, 503, 200)
            async with asyncio.timeout(15):
                while (await one(url, message="again"))[0] not in (200, 429):
                    await asyncio.sleep(0.3)
            assert time.monotonic() - began < 12
            assert len(upstream.received) > seen


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_job_is_done_once_though_the_clock_jumps(tmp_path: Path, seconds: float) -> None:
    """A day ahead its lease seems over, as does its time: it is answered or told expired."""
    slow = Play(openai_body("hello"), content_type="application/json", before_s=1.5)
    file = tmp_path / "p.db"
    async with ReplayServer(slow) as upstream:
        text = toml(upstream.url, database=f"sqlite:///{file}", more=MORE)
        async with (
            jumping(tmp_path, text) as (url, ahead),
            aiohttp.ClientSession(headers=MINE) as session,
        ):
            async with session.post(url + "/jobs", json={"message": "hello"}) as answer:
                assert answer.status == 202
                name = (await answer.json())["id"]
            await upstream.until_received()
            jump(ahead, seconds)

            async def ended() -> bool:
                async with session.get(f"{url}/jobs/{name}") as answer:
                    state.append((await answer.json())["status"])
                return state[-1] not in ("queued", "processing", "running")

            state: list[str] = []
            await until(ended, "the job has an end")
            assert state[-1] in ("completed", "expired"), state
            # And those behind it are done as ever.
            async with session.post(url + "/jobs", json={"message": "hello"}) as answer:
                name = (await answer.json())["id"]
            await until(ended, "the next job has an end")
            assert state[-1] == "completed"


async def test_an_answer_is_not_harmed_by_a_clock_that_jumps_to_and_fro(tmp_path: Path) -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        jumping(tmp_path, toml(upstream.url)) as (url, ahead),
    ):
        for turn in range(20):
            jump(ahead, DAY if turn % 2 else -DAY)
            assert (await asked(url))[0] == 200
        assert await sample(url, "pointsman_requests_total", outcome="finished") == 20
        # Durations are of the clock that does not jump.
        assert 0 <= await sample(url, "pointsman_request_seconds_sum") < 60
