"""The one look at the database by which a process follows what others change in it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, event, func, insert, select

from gateway.accounts.codebook import CodeBook
from gateway.store.database import Database
from gateway.store.tables.settings import PROFILES
from gateway.store.watch import Watch, Wish
from gateway.terms import Terms
from tests.accounts.processes import command
from tests.store import servers


class Follower:
    """What one was told."""

    def __init__(self, number: ColumnElement[Any]) -> None:
        self.told: list[int] = []
        self.lost: list[str] = []
        self.wish = Wish(number, self._heard, lambda fault: self.lost.append(str(fault)))

    async def _heard(self, number: int) -> None:
        self.told.append(number)


def how_many() -> ColumnElement[int]:
    return select(func.count()).select_from(PROFILES).scalar_subquery()


async def add(database: Database, name: str) -> None:
    row = {"caller_id": name, "display_name": "", "email": "", "changed_at": 0.0}
    async with database.begin() as connection:
        await connection.execute(insert(PROFILES).values(row))


async def until(true: Callable[[], bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Database]:
    database = Database(url)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def watching(database: Database, *followers: Follower) -> AsyncGenerator[Watch]:
    watch = Watch(database)
    for follower in followers:
        watch.add(follower.wish)
    watch.start()
    try:
        yield watch
    finally:
        await watch.close()


async def test_what_another_process_changed_is_told(store_url: str, tmp_path: Path) -> None:
    async with opened(store_url) as database:
        codes = Follower(CodeBook(database).number)
        async with watching(database, codes):
            await until(lambda: codes.told == [0] or len(codes.told) > 1)
            before = codes.told[-1]
            code, said, complained = await command(
                tmp_path, "codes", "create", "--name", "Cards", DATABASE_URL=store_url
            )
            assert code == 0, said + complained
            await until(lambda: codes.told[-1] > before)
            assert codes.lost == []


async def test_what_this_process_changed_is_told_at_the_next_look(store_url: str) -> None:
    async with opened(store_url) as database:
        codes, profiles = Follower(CodeBook(database).number), Follower(how_many())
        watch = Watch(database)
        watch.add(codes.wish)
        watch.add(profiles.wish)
        await watch.look()
        assert (codes.told, profiles.told) == ([0], [0])
        await CodeBook(database).create(Terms(name="Cards"))
        await watch.look()
        await add(database, "one")
        await watch.look()
        assert codes.told[-1] > 0
        assert profiles.told[-1] == 1
        await watch.close()


async def test_nothing_is_read_while_nothing_was_changed(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/pointsman.db") as database:
        profiles = Follower(how_many())
        async with watching(database, profiles) as watch:
            await until(lambda: profiles.told == [0])
            asked: list[str] = []
            assert watch._glance is not None
            watch._glance._connection.set_trace_callback(asked.append)
            engine = database.engine.sync_engine
            event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
            await until(lambda: len(asked) >= 4)
            assert set(asked) == {"PRAGMA data_version"}
            assert profiles.told == [0]
            await add(database, "one")
            await until(lambda: profiles.told == [0, 1])


async def test_a_watch_holds_up_no_checkpoint(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/pointsman.db") as database:
        watch = Watch(database)
        watch.add(Follower(how_many()).wish)
        await watch.look()
        await add(database, "one")
        await watch.look()
        other = sqlite3.connect(tmp_path / "pointsman.db")
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        other.close()
        await watch.close()


async def test_a_postgresql_that_stops_is_told_and_followed_again(tmp_path: Path) -> None:
    with servers.stoppable_postgres() as server:
        async with opened(server.url) as database:
            profiles = Follower(how_many())
            async with watching(database, profiles):
                await until(lambda: 0 in profiles.told)
                await asyncio.to_thread(server.stop)
                await until(lambda: profiles.lost != [])
                await asyncio.to_thread(server.start)
                row = "INSERT INTO profiles VALUES ('one', '', '', 0)"
                await asyncio.to_thread(server.sql, row)
                await until(lambda: 1 in profiles.told)


async def test_a_file_that_is_taken_away_is_told_and_the_next_one_is_followed(
    tmp_path: Path,
) -> None:
    path, kept = tmp_path / "pointsman.db", tmp_path / "kept.db"
    async with opened(f"sqlite:///{kept}") as database:
        await add(database, "one")
        await add(database, "two")
    async with opened(f"sqlite:///{path}") as database:
        profiles = Follower(how_many())
        async with watching(database, profiles):
            await until(lambda: profiles.told == [0])
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                (tmp_path / name).unlink()
            await until(lambda: profiles.lost != [])
            assert "is gone" in profiles.lost[-1]
            shutil.copy(kept, tmp_path / "new.db")
            os.replace(tmp_path / "new.db", path)
            await until(lambda: profiles.told[-1] == 2)
            # Also what is changed in it from now on.
            await add(database, "three")
            await until(lambda: profiles.told[-1] == 3)


async def test_who_fails_keeps_nobody_else_from_it_and_is_told_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(f"sqlite:///{tmp_path}/pointsman.db") as database:
        tries: list[int] = []
        lost: list[BaseException] = []

        async def heard(number: int) -> None:
            tries.append(number)
            if len(tries) == 1:
                raise OSError("the disk")
            if len(tries) == 2:
                raise ZeroDivisionError

        after = Follower(how_many())
        watch = Watch(database)
        watch.add(Wish(how_many(), heard, lost.append))
        watch.add(after.wish)
        for _ in range(5):
            await watch.look()
        # Told until it took it, and then no more: nothing was changed.
        assert tries == [0, 0, 0]
        assert after.told == [0, 0, 0]
        assert [str(fault) for fault in lost] == ["the disk"]
        assert "a change could not be followed" in caplog.text
        await watch.close()


async def test_a_locked_file_is_asked_by_those_who_wait_for_it(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.db"
    async with opened(f"sqlite:///{path}") as database:
        profiles = Follower(how_many())
        watch = Watch(database)
        watch.add(profiles.wish)
        await watch.look()
        assert watch._glance is not None
        # What a lock of another's looks like: the look's own connection cannot be used.
        watch._glance._connection.close()
        await add(database, "one")
        await watch.look()
        assert profiles.told[-1] == 1
        assert profiles.lost == []
        # And it has one of its own again.
        await watch.look()
        assert watch._glance is not None
        await watch.close()


async def test_a_database_in_memory_is_nobody_elses() -> None:
    async with opened("") as database:
        profiles = Follower(how_many())
        async with watching(database, profiles) as watch:
            await watch.look()
            assert profiles.told == []
