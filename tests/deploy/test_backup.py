"""What is saved while a gateway writes comes back whole, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.deploy.kept import ROOT, asked, keeper
from tests.replay.server import Play, ReplayServer, openai_body
from tests.store.servers import _postgres_binaries, postgres


async def ran(folder: Path, *command: str, database: str, code: int = 0) -> str:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        cwd=folder,
        env={
            "PATH": f"{_postgres_binaries()}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": database,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        said, _ = await child.communicate()
    assert child.returncode == code, said.decode()
    return said.decode()


async def names(folder: Path, database: str) -> set[str]:
    listed = await ran(folder, "gateway", "codes", "list", "--json", database=database)
    rows = json.loads(listed)
    return {row["name"] for row in (rows["data"] if isinstance(rows, dict) else rows)}


async def there_and_back(folder: Path, database: str) -> None:
    """App codes are made, saved, added to, and as they were after the restore."""
    for name in ("one", "two"):
        await ran(folder, "gateway", "codes", "create", "--name", name, database=database)
    await ran(folder, "deploy.backup", "save", "backup", database=database)
    assert (folder / "backup").stat().st_mode & 0o077 == 0

    await ran(folder, "gateway", "codes", "create", "--name", "three", database=database)
    assert await names(folder, database) == {"one", "two", "three"}

    await ran(folder, "deploy.backup", "restore", "backup", database=database)
    assert await names(folder, database) == {"one", "two"}
    await ran(folder, "gateway", "codes", "create", "--name", "four", database=database)
    assert await names(folder, database) == {"one", "two", "four"}


async def test_sqlite_comes_back_as_it_was(tmp_path: Path) -> None:
    await there_and_back(tmp_path, f"sqlite:///{tmp_path}/kept.db")


async def test_postgresql_comes_back_as_it_was(tmp_path: Path) -> None:
    with postgres() as database:
        await there_and_back(tmp_path, database)


async def test_a_copy_taken_while_a_gateway_writes_is_whole(tmp_path: Path) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    async with (
        ReplayServer(play) as upstream,
        keeper(tmp_path, upstream.url, workers=1) as (_, url),
    ):
        traffic = asyncio.create_task(asked(url, 60))
        await asyncio.sleep(0.3)
        database = f"sqlite:///{tmp_path}/var/pointsman.db"
        await ran(tmp_path, "deploy.backup", "save", "copy", database=database)
        await traffic
    with closing(sqlite3.connect(tmp_path / "copy")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master")}
    assert "alembic_version" in tables


async def test_what_cannot_be_saved_or_restored_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/kept.db"
    await ran(tmp_path, "gateway", "codes", "create", "--name", "one", database=database)
    (tmp_path / "broken").write_bytes(b"not a database, but long enough to look like one" * 50)
    said = await ran(tmp_path, "deploy.backup", "restore", "broken", database=database, code=1)
    assert "backup: broken: file is not a database" in said
    said = await ran(tmp_path, "deploy.backup", "save", "broken", database=database, code=1)
    assert "is there already" in said
    said = await ran(tmp_path, "deploy.backup", "save", "x", database="sqlite:///none.db", code=1)
    assert "there is no database" in said
    assert await names(tmp_path, database) == {"one"}


@pytest.mark.parametrize("words", [(), ("save",), ("sell", "x")])
async def test_wrong_words_show_the_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    said = await ran(tmp_path, "deploy.backup", *words, database="sqlite:///x.db", code=2)
    assert "restore FILE" in said
