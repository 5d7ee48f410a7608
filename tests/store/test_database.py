"""The store on both databases: migrated once, in step with the tables, safe for two processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from gateway.store.database import HEAD, Database, StoreError
from gateway.store.tables import METADATA


@pytest.mark.parametrize("migrated", [False, True])
async def test_the_migrations_make_exactly_the_tables(store_url: str, migrated: bool) -> None:
    database = Database(store_url)
    if migrated:
        # No empty database any more, so that each migration runs.
        async with database.begin() as connection:
            await connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
    await database.open()

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, METADATA))

    async with database.begin() as connection:
        found = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert found.scalar() == HEAD
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_the_folder_of_a_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "pointsman.db"
    database = Database(f"sqlite:///{path}")
    await database.open()
    await database.close()
    assert path.exists()


async def test_two_processes_may_start_on_an_empty_database_at_once(store_url: str) -> None:
    databases = [Database(store_url) for _ in range(4)]
    await asyncio.gather(*(database.open() for database in databases))
    for database in databases:
        await database.close()


async def test_a_transaction_that_raises_leaves_nothing(store_url: str) -> None:
    database = Database(store_url)
    await database.open()
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE thing (n INTEGER)"))

    async def half() -> None:
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO thing VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half()
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM thing"))).scalar() == 0
    await database.close()


async def test_writers_that_read_first_wait_for_each_other(store_url: str) -> None:
    database = Database(store_url)
    await database.open()
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE purse (n INTEGER)"))
        await connection.execute(text("INSERT INTO purse VALUES (0)"))

    async def add() -> None:
        async with database.begin() as connection:
            lock = "" if database.is_sqlite else " FOR UPDATE"
            seen = (await connection.execute(text(f"SELECT n FROM purse{lock}"))).scalar_one()
            await asyncio.sleep(0.001)
            await connection.execute(text("UPDATE purse SET n = :n"), {"n": seen + 1})

    await asyncio.gather(*(add() for _ in range(20)))
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT n FROM purse"))).scalar() == 20
    await database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@h/d", "must be sqlite"),
        ("nonsense", "not the URL"),
        ("sqlite:////proc/no/such/place.db", "store.database"),
        ("postgresql://u:secret@127.0.0.1:9/d", "store.database"),
    ],
)
async def test_a_database_that_cannot_be_used_is_said_without_its_password(
    url: str, said: str
) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        await Database(url).open()
    assert "secret" not in str(caught.value)


async def test_a_database_in_memory_has_the_tables_too() -> None:
    database = Database("")
    await database.open()
    async with database.begin() as connection:
        await connection.execute(text("SELECT 1"))
    await database.close()
