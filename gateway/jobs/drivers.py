"""Where the queue's transactions run: a SQLite of one thread, or PostgreSQL's connections.

A transaction is a generator: it yields a statement with its values and is sent the rows. So the
queue's logic is written once, and SQLite runs all of a transaction in one hop to its thread,
where a hop for each statement would cost more than the statements.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from gateway.store.tables import jobs as tables

if TYPE_CHECKING:
    import asyncpg  # type: ignore[import-untyped]

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]
Statement: TypeAlias = tuple[str, dict[str, Any]]
Work: TypeAlias = Generator[Statement, Sequence[Row], T]
NAME = re.compile(r":([a-z_][a-z_0-9]*)")
BUSY_MS = 10_000


class Driver(Protocol):
    name: str

    def now(self) -> float:
        """By the database's clock, where several machines share it."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def write(self, work: Callable[[], Work[T]]) -> T: ...

    async def read(self, work: Callable[[], Work[T]]) -> T: ...


class SqliteDriver:
    """`path`: None keeps it in memory, until the end of the process."""

    name = "sqlite"

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._connection: sqlite3.Connection | None = None

    def now(self) -> float:
        return time.time()

    async def open(self) -> None:
        await self._in_thread(self._open)

    async def close(self) -> None:
        if self._connection is not None:
            await self._in_thread(self._connection.close)
            self._connection = None
        self._thread.shutdown()

    async def write(self, work: Callable[[], Work[T]]) -> T:
        return await self._in_thread(self._write, work)

    async def read(self, work: Callable[[], Work[T]]) -> T:
        return await self._in_thread(self._run, work)

    async def _in_thread(self, do: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *given)

    def _open(self) -> None:
        connection = sqlite3.connect(
            self._path or ":memory:", isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={BUSY_MS}",
            # What a transaction needs of a large queue stays in memory.
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if self._path is None:
            for statement in _schema():
                connection.execute(statement)
        self._connection = connection

    def _write(self, work: Callable[[], Work[T]]) -> T:
        assert self._connection is not None
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            found = self._run(work)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return found

    def _run(self, work: Callable[[], Work[T]]) -> T:
        assert self._connection is not None
        steps = work()
        rows: Sequence[Row] | None = None
        while True:
            try:
                statement, values = steps.send(rows)  # type: ignore[arg-type]
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            rows = self._connection.execute(statement, values).fetchall()


class PostgresDriver:
    name = "postgresql"

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._ahead = 0.0

    def now(self) -> float:
        return time.time() + self._ahead

    async def open(self) -> None:
        import asyncpg

        self._pool = await asyncpg.create_pool(
            self._url, min_size=1, max_size=8, command_timeout=30
        )
        assert self._pool is not None
        before = time.time()
        theirs = await self._pool.fetchval(
            "SELECT extract(epoch FROM clock_timestamp())::double precision"
        )
        self._ahead = theirs - (before + time.time()) / 2

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def write(self, work: Callable[[], Work[T]]) -> T:
        assert self._pool is not None
        async with self._pool.acquire() as connection, connection.transaction():
            return await _fetched(connection, work)

    async def read(self, work: Callable[[], Work[T]]) -> T:
        assert self._pool is not None
        async with self._pool.acquire() as connection:
            return await _fetched(connection, work)


async def _fetched(connection: Any, work: Callable[[], Work[T]]) -> T:
    steps = work()
    rows: Sequence[Row] | None = None
    while True:
        try:
            statement, values = steps.send(rows)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        numbered, names = _numbered(statement)
        rows = await connection.fetch(numbered, *(values[name] for name in names))


@cache
def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    """`:name` -> `$1`."""
    names = tuple(dict.fromkeys(NAME.findall(statement)))
    return NAME.sub(lambda match: f"${names.index(match[1]) + 1}", statement), names


def _schema() -> list[str]:
    dialect = sqlite.dialect()
    found: list[str] = []
    for table in (tables.JOBS, tables.EVENTS, tables.COUNTS, tables.WORKERS, tables.RESTS):
        found.append(str(CreateTable(table).compile(dialect=dialect)))
        found += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    return found
