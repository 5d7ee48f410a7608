"""`store.database = ""`: what is in memory stays there until the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import text

from gateway.store.database import Database
from tests.accounts.processes import gateway
from tests.faults.seen import scraped, summed, toml
from tests.replay.server import Play, ReplayServer, openai_body

LEAVERS = 200
ASKED = 60


async def leave(url: str, path: str, after_s: float) -> None:
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    await asyncio.sleep(after_s)
    writer.transport.abort()


async def test_callers_who_leave_while_they_read_take_nothing_with_them(tmp_path: Path) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    async with ReplayServer(play) as upstream, aiohttp.ClientSession() as session:

        async def asked() -> int:
            async with session.get(one.url + "/usage?by=model") as answer:
                found = await answer.json()
                assert answer.status == 200, found
                return sum(row["requests"] for row in found["rows"])

        async def ask(count: int) -> None:
            for _ in range(count):
                body = {"message": "hello", "model": "lab/m", "stream": False}
                async with session.post(one.url + "/complete", json=body) as answer:
                    assert answer.status == 200

        async with gateway(tmp_path, toml(upstream.url)) as one:
            await ask(ASKED)
            async with asyncio.timeout(10):
                while await asked() != ASKED:
                    await asyncio.sleep(0.1)
            files = len(os.listdir(f"/proc/{one.child.pid}/fd"))
            paths = ("/usage?by=model", "/usage?by=day", "/usage/savings")
            for at in range(0, LEAVERS, 4):
                # Some before, some in the midst of it, some behind it.
                await asyncio.gather(
                    *(leave(one.url, paths[n % 3], n % 20 / 2000) for n in range(at, at + 4))
                )
            assert await asked() == ASKED
            # New rows are written, too.
            await ask(5)
            async with asyncio.timeout(10):
                while await asked() != ASKED + 5:
                    await asyncio.sleep(0.1)
            text = await scraped(one.url)
            assert summed(text, "pointsman_ledger_dropped_total") == 0
            async with asyncio.timeout(10):
                while len(os.listdir(f"/proc/{one.child.pid}/fd")) > files + 3:
                    await asyncio.sleep(0.1)
            # Nothing of it is on the disk.
            for number in os.listdir(f"/proc/{one.child.pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    name = os.readlink(f"/proc/{one.child.pid}/fd/{number}")
                    assert not name.endswith(".db")
                    assert not name.startswith("/pointsman-")
            assert sorted(os.listdir(tmp_path)) == ["gateway.log", "gateway.toml"]
        said = one.log.read_text("utf-8")
        assert "no such table" not in said


async def test_two_in_one_process_are_two() -> None:
    one, two = Database(""), Database("")
    await one.open()
    await two.open()
    async with one.begin() as connection:
        await connection.execute(text("CREATE TABLE mine (name TEXT)"))
    async with two.read() as connection:
        found = await connection.execute(text("SELECT name FROM sqlite_master"))
        assert "mine" not in {row[0] for row in found}
    await one.close()
    await two.close()


@pytest.mark.parametrize("where", ["in memory", "file"])
async def test_who_is_cancelled_at_any_moment_holds_nothing(tmp_path: Path, where: str) -> None:
    database = Database("" if where == "in memory" else f"sqlite:///{tmp_path}/p.db")
    await database.open()
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE counted (number INTEGER)"))
        for _ in range(1000):
            await connection.execute(text("INSERT INTO counted VALUES (1)"))

    async def read() -> None:
        async with database.read() as connection:
            await connection.execute(text("SELECT number, count(*) FROM counted GROUP BY 1"))

    async def write() -> None:
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO counted VALUES (2)"))
            await connection.execute(text("INSERT INTO counted VALUES (3)"))

    for turn in range(100):
        tasks = [asyncio.create_task(one()) for one in (read, write, read, write)]
        await asyncio.sleep(turn / 10000)
        for task in tasks:
            task.cancel()
        # Their tracebacks are held on to, as a log may do.
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in ended} <= {type(None), asyncio.CancelledError}
        async with asyncio.timeout(3), database.begin() as connection:
            await connection.execute(text("INSERT INTO counted VALUES (1)"))
    async with database.read() as connection:
        found = await connection.execute(text("SELECT number, count(*) FROM counted GROUP BY 1"))
        counts: dict[int, int] = {row[0]: row[1] for row in found}
        assert counts[1] == 1100
        # Both or none.
        assert counts.get(2) == counts.get(3)
    await database.close()


async def test_readers_wait_for_no_writer(tmp_path: Path) -> None:
    """Of another process, which may take long."""
    databases = [Database(f"sqlite:///{tmp_path}/p.db") for _ in range(2)]
    for one in databases:
        await one.open()
    async with databases[0].begin() as writing:
        await writing.execute(text("CREATE TABLE mine (name TEXT)"))
        async with asyncio.timeout(3), databases[1].read() as reading:
            found = await reading.execute(text("SELECT count(*) FROM alembic_version"))
            assert found.scalar() == 1
    for one in databases:
        await one.close()
