"""The real process: a job that was accepted survives `kill -9`, and SIGTERM gives it back."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.test_drain import config, process, until_ready
from tests.ports import free_port
from tests.replay.server import Play, ReplayServer, openai_stream

MORE = """
[store]
database = "sqlite:///{folder}/pointsman.db"
[jobs]
workers = 2
lease_s = 5.0
"""
STALL = Play(openai_stream("never"), stall=0)
FAST = Play(openai_stream("Hello", " there"))


def toml(port: int, upstream: str, folder: Path) -> str:
    return config(port, upstream) + MORE.format(folder=folder)


async def asked(session: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    found: list[str] = []
    for number in range(count):
        body = {"message": f"Question {number}", "model": "lab/m"}
        async with session.post(url + "/jobs", json=body) as answer:
            assert answer.status == 202
            found.append((await answer.json())["id"])
    return found


async def until_all(
    session: aiohttp.ClientSession, url: str, ids: list[str], status: str
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(40):
        for name in ids:
            while True:
                async with session.get(f"{url}/jobs/{name}") as answer:
                    assert answer.status == 200
                    told = await answer.json()
                if told["status"] == status:
                    found.append(told)
                    break
                await asyncio.sleep(0.05)
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_jobs_survive_the_process_that_took_them(how: signal.Signals, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with ReplayServer(STALL) as upstream, aiohttp.ClientSession() as session:
        settings = toml(port, upstream.url, tmp_path)
        async with process(tmp_path, settings) as first:
            await until_ready(port)
            ids = await asked(session, url, 6)
            await upstream.until_received(2)
            first.send_signal(how)
            async with asyncio.timeout(15):
                code = await first.wait()
            assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL)
        assert len(upstream.received) == 2
        upstream.play(FAST)
        async with process(tmp_path, settings):
            await until_ready(port)
            done = await until_all(session, url, ids, "completed")
        assert {one["answer"]["text"] for one in done} == {"Hello there"}
        # The two that ran were taken again; a stop is no mark against them, a lost worker is.
        again = 2 if how == signal.SIGKILL else 1
        assert sorted(one["attempts"] for one in done) == [1, 1, 1, 1, again, again]
        assert len(upstream.received) == 8
