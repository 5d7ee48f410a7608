"""What of a gateway's ledger is there when its process ends."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from gateway.store.database import Database
from tests.ledger import books
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream


def toml(upstream: str, database: str) -> str:
    return f"""
[store]
database = "{database}"
[classifier]
url = "http://127.0.0.1:9"
[routes.auto]
strong = ["hard/m"]
[providers.hard]
kind = "openai"
base_url = "{upstream}/v1"
[prices."hard/m"]
input = 10
output = 20
[access]
open = true
"""


async def ask(url: str, count: int) -> None:
    body = {"model": "hard/m", "messages": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession() as session:

        async def one() -> None:
            async with session.post(url + "/v1/chat/completions", json=body) as response:
                assert response.status == 200, await response.text()
                await response.read()

        for _ in range(count // 10):
            await asyncio.gather(*(one() for _ in range(10)))


async def noted(url: str, count: int) -> None:
    database = Database(url)
    try:
        async with asyncio.timeout(10):
            while await books.count(database) < count:
                await asyncio.sleep(0.1)
    finally:
        await database.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_stop_loses_nothing_and_a_kill_at_most_the_last_second(
    store_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    play = Play(openai_body("yes"), content_type="application/json")
    async with (
        ReplayServer(play) as upstream,
        books.gateway(tmp_path, toml(upstream.url, store_url)) as gateway,
    ):
        await ask(gateway.url, 100)
        if number is signal.SIGKILL:
            # Twice the time between two writings; a machine that is busy gets more.
            await asyncio.sleep(1)
            await noted(store_url, 100)
        await ask(gateway.url, 30)
        code = gateway.kill(number)
    database = Database(store_url)
    await database.open()
    found = await books.count(database)
    totals = await books.days(database)
    await database.close()
    assert sum(day["attempts"] for day in totals) == found
    if number is signal.SIGTERM:
        assert code == 0
        assert found == 130
    else:
        assert 100 <= found <= 130


async def test_a_stream_that_runs_at_a_stop_is_in_the_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pointsman.db"
    play = Play(openai_stream(*"abcdefgh"), chunk=100, delay_s=0.1)
    async with (
        ReplayServer(play) as upstream,
        books.gateway(tmp_path, toml(upstream.url, url)) as gateway,
        aiohttp.ClientSession() as session,
    ):
        body = {"message": "hello", "model": "hard/m"}
        async with session.post(gateway.url + "/complete", json=body) as response:
            await response.content.readany()
            stopped = asyncio.create_task(asyncio.to_thread(gateway.kill, signal.SIGTERM))
            rest = await response.read()
        assert await stopped == 0
    assert b'"done":true' in rest
    database = Database(url)
    await database.open()
    (row,) = await books.attempts(database)
    await database.close()
    assert row["outcome"] == "finished"
    assert row["output_tokens"] == 8
