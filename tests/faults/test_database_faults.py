"""The database locked, full or gone: callers notice nothing, rows wait, and are written later."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.accounts.processes import gateway
from tests.faults.seen import asked, ledger, ready, sample, scraped, summed, toml, until
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream
from tests.store import servers

HELLO = Play(openai_body("hello"), content_type="application/json")
WORDS = [f"w{n} " for n in range(30)]
MANY = 50


async def unharmed(url: str, upstream: ReplayServer) -> None:
    """MANY callers, and one stream."""
    upstream.play(HELLO)
    answers = await asyncio.gather(*(asked(url) for _ in range(MANY - 1)))
    assert {status for status, _ in answers} == {200}
    upstream.play(Play(openai_stream(*WORDS), chunk=200, delay_s=0.02))
    status, raw = await asked(url, stream=True)
    assert status == 200
    assert b'"finish_reason":"stop"' in raw


async def warned(url: str) -> bool:
    told = await ready(url)
    assert told["status"] == "ready"
    return any("The ledger cannot be written" in one for one in told["warnings"])


async def waiting(url: str, what: str) -> None:
    async def told() -> bool:
        return await warned(url) and await sample(url, "pointsman_ledger_waiting") == MANY

    await until(told, what)


async def all_written(url: str, rows: int) -> None:
    async def written() -> bool:
        text = await scraped(url)
        done = summed(text, "pointsman_ledger_rows_total", outcome="written")
        return done == rows and not summed(text, "pointsman_ledger_waiting")

    await until(written, "every row is written")

    async def calm() -> bool:
        return not (await ready(url))["warnings"]

    await until(calm, "the warning is taken back")
    assert await sample(url, "pointsman_ledger_rows_total", outcome="dropped") == 0


async def test_while_the_database_is_locked_rows_wait(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    async with (
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, database=f"sqlite:///{file}")) as running,
    ):
        url = running.url
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await unharmed(url, upstream)
            await waiting(url, "the lock is told")
            other.execute("ROLLBACK")
        await all_written(url, MANY)
    assert ledger(file) == {"finished": MANY}
    assert running.child.returncode == 0


async def test_while_the_disk_is_full_rows_wait(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    async with (
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, database=f"sqlite:///{file}")) as running,
    ):
        url, pid = running.url, running.child.pid
        await unharmed(url, upstream)
        await all_written(url, MANY)
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        # No file of the process grows any more, as on a full disk.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        await unharmed(url, upstream)
        await waiting(url, "the full disk is told")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        await all_written(url, 2 * MANY)
    assert ledger(file) == {"finished": 2 * MANY}
    assert running.child.returncode == 0


async def test_more_rows_than_may_wait_are_dropped_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    async with ReplayServer(HELLO) as upstream:
        given = toml(upstream.url, database=f"sqlite:///{file}", more="[ledger]\nwaiting = 1000")
        async with gateway(tmp_path, given) as running:
            url = running.url
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                for _ in range(11):
                    answers = await asyncio.gather(*(asked(url) for _ in range(100)))
                    assert {status for status, _ in answers} == {200}
                assert await sample(url, "pointsman_ledger_rows_total", outcome="dropped") == 100
                other.execute("ROLLBACK")

            async def written() -> bool:
                return await sample(url, "pointsman_ledger_rows_total", outcome="written") == 1000

            await until(written, "those that waited are written")
    assert ledger(file) == {"finished": 1000}


async def test_while_the_databases_file_is_gone_rows_wait(tmp_path: Path) -> None:
    """It is moved away, and put back: nothing goes into a file that nobody will read."""
    file, away = tmp_path / "p.db", tmp_path / "away"
    away.mkdir()
    async with (
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, database=f"sqlite:///{file}")) as running,
    ):
        url = running.url
        await unharmed(url, upstream)
        await all_written(url, MANY)
        for name in ("p.db", "p.db-wal", "p.db-shm"):
            (tmp_path / name).rename(away / name)
        await unharmed(url, upstream)
        await waiting(url, "the lost file is told")
        assert ledger(away / "p.db") == {"finished": MANY}
        # A copy, as from a backup: another file of the same name.
        for part in away.iterdir():
            (tmp_path / part.name).write_bytes(part.read_bytes())
        await all_written(url, 2 * MANY)
    assert ledger(file) == {"finished": 2 * MANY}
    assert running.child.returncode == 0


async def test_while_postgresql_is_gone_rows_wait(tmp_path: Path) -> None:
    with servers.stoppable_postgres() as server:
        async with (
            ReplayServer(HELLO) as upstream,
            gateway(tmp_path, toml(upstream.url, database=server.url)) as running,
        ):
            url = running.url
            await unharmed(url, upstream)
            await all_written(url, MANY)
            await asyncio.to_thread(server.stop)
            await unharmed(url, upstream)
            await waiting(url, "the lost server is told")
            await asyncio.to_thread(server.start)
            await all_written(url, 2 * MANY)
        assert running.child.returncode == 0
