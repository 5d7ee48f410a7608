"""The one database: SQLite by default, PostgreSQL when the settings say so.

`begin()` is for writing, `at_once()` for what is written often, `read()` for reading. SQLite takes
its write lock when a transaction begins, as one that reads first and writes later would fail under
it instead of waiting.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from gateway.store.core import AsyncConnection, AsyncEngine, create_async_engine
from gateway.store.whole import WholeConnection, whole

T = TypeVar("T")

HEAD = "0008"
"""The newest migration."""
MIGRATIONS = Path(__file__).with_name("migrations")
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
BUSY_MS = 5000
"""How long a write waits for another process's write on SQLite."""
LOCK = 0x706F696E
"""Of PostgreSQL's advisory locks: held by the process that migrates."""


@dataclass(frozen=True, slots=True)
class File:
    """A database's, as it was found. Another one in its place has another number."""

    path: Path
    device: int
    number: int


class StoreError(ValueError):
    """The database cannot be used; says why, without the password."""


class Database:
    """`url`: sqlite:///path, postgresql://..., or "" for a database in memory that ends with the
    process. Raises StoreError."""

    def __init__(self, url: str) -> None:
        self.durable = bool(url)
        self.engine, self._path = _engine(url)
        self._direct: Engine | None = None
        """To the same file from a thread of one's own, for `at_once`."""
        if self._path is not None:
            self._direct = create_engine(self.engine.url.set(drivername="sqlite"))
            _tune(self._direct)
        # In memory all share one connection, so each waits for his turn.
        self._turn: asyncio.Lock | nullcontext[None] = nullcontext() if url else asyncio.Lock()
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._file: File | None = None
        """That the connections have open."""
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Makes or migrates the tables. Raises StoreError."""
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self.durable:
                from gateway.store.tables import METADATA

                async with self.begin() as connection:
                    await connection.run_sync(METADATA.create_all)
            elif self._path is None:
                await self._up_to_date()
            else:
                # One process at a time: also the change to WAL, which waits for nobody.
                lock = await asyncio.to_thread(_locked, self._path)
                try:
                    await self._up_to_date()
                    self._file = _found(self._path)
                finally:
                    lock.close()
        except (DBAPIError, OSError) as fault:
            raise StoreError(f"store.database: {_words(fault)}") from None

    async def close(self) -> None:
        await self._disposed()

    async def _disposed(self) -> None:
        await self.engine.dispose()
        if self._direct is not None:
            self._direct.dispose()

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection, None]:
        """A transaction that may write; it is rolled back when the block raises."""
        await self.same_file()
        async with self._turn, self._connection() as connection:
            yield connection
            await connection.commit()

    async def at_once(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns of a transaction that may write; it is rolled back when it raises.

        On an SQLite file a thread does all of it in one go. In `begin()` each statement goes to
        the driver's thread and back three times: a few rows take 2.2 ms of CPU instead of 1.4,
        and two statements wake the loop eleven times instead of once.
        """
        if self._direct is None:
            async with self.begin() as connection:
                return await connection.run_sync(work)
        await self.same_file()
        return await whole(asyncio.to_thread(self._worked, work))

    def _worked(self, work: Callable[[Connection], T]) -> T:
        assert self._direct is not None
        with self._direct.begin() as connection:
            return work(connection)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection, None]:
        """A connection that only reads, without a transaction around its statements."""
        await self.same_file()
        async with self._turn, self._connection() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    def _connection(self) -> AsyncConnection:
        return WholeConnection(self.engine) if self.is_sqlite else self.engine.connect()

    async def same_file(self) -> File | None:
        """Nothing goes into a file that was taken away: nobody would read it again. Raises
        OperationalError while there is none; one that was put there is opened. Returns the one
        that is open; None where there is no file."""
        if self._file is None or self._path is None or _found(self._path) == self._file:
            return self._file
        async with self._changing:
            found = _found(self._path)
            if found is None:
                missing = FileNotFoundError(f"the file {self._path} is gone")
                raise OperationalError(None, None, missing)
            if found != self._file:
                await self._disposed()
                # Not asked for its number again meanwhile.
                self._file = None
                try:
                    await self._up_to_date()
                finally:
                    self._file = found
        return found

    async def _up_to_date(self) -> None:
        if await self._revision() != HEAD and not await self._made():
            await self._migrate()

    async def _made(self) -> bool:
        """Makes the tables of an empty SQLite file at once: Alembic costs a start 0.2 s and its
        process 11 MB for good. A test holds the tables against the migrations."""
        if not self.is_sqlite:
            return False
        from gateway.store.tables import METADATA

        async with self.begin() as connection:
            there = await connection.execute(text("SELECT count(*) FROM sqlite_master"))
            if there.scalar():
                return False
            await connection.run_sync(METADATA.create_all)
            await connection.execute(
                text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
            )
            head = text("INSERT INTO alembic_version VALUES (:head)")
            await connection.execute(head, {"head": HEAD})
        return True

    async def _revision(self) -> str | None:
        async with self.read() as connection:
            try:
                found = await connection.execute(text("SELECT version_num FROM alembic_version"))
            except DBAPIError:
                return None
            return found.scalar()

    async def _migrate(self) -> None:
        # Here, as nobody else needs it and it costs a start 0.2 s.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")

        def upgrade(connection: Connection) -> None:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

        # One process migrates a database at a time; the next one finds it done.
        async with self._connection() as connection:
            if not self.is_sqlite:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            await connection.run_sync(upgrade)
            await connection.commit()


def _found(path: Path) -> File | None:
    """The one that is there now."""
    try:
        found = path.stat()
    except OSError:
        return None
    return File(path, found.st_dev, found.st_ino)


def _locked(path: Path) -> IO[str]:
    """Holds until it is closed."""
    file = path.with_name(path.name + ".migrating").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _engine(given: str) -> tuple[AsyncEngine, Path | None]:
    try:
        url = make_url(given or "sqlite://")
    except ArgumentError:
        raise StoreError("store.database: is not the URL of a database") from None
    name = url.get_backend_name()
    if name not in DRIVERS:
        raise StoreError(f"store.database: must be sqlite:/// or postgresql://, not {name}")
    url = url.set(drivername=DRIVERS[name])
    if name == "postgresql":
        try:
            return create_async_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=10), None
        except ModuleNotFoundError:
            raise StoreError(
                "store.database: PostgreSQL needs asyncpg, of the extra `postgres`"
            ) from None
    if not url.database:
        # One connection for all, or each would have an empty database of its own.
        engine = create_async_engine(url, poolclass=StaticPool)
        path = None
    else:
        path = Path(url.database)
        engine = create_async_engine(url)
    _tune(engine.sync_engine)
    return engine, path


def _tune(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        # The driver begins no transactions of its own: ours say how they begin.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={BUSY_MS}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # The database itself knows of no such level.
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _words(fault: BaseException) -> str:
    """The driver's own first line: no statement, no address with a password."""
    origin = getattr(fault, "orig", None) or fault
    return (str(origin).strip() or type(origin).__name__).splitlines()[0]
