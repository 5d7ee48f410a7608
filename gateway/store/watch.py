"""Who wants to know that another process changed the database: one look for all of them.

Each names a number that is another one after a change, and is told of it. On SQLite the look is
`PRAGMA data_version` on a connection that is kept for it, 10 µs and no thread: it moves when any
other connection committed, those of this process too, and only then are the numbers read. On
PostgreSQL one statement reads them all. Who hears of a change by another way looks at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from gateway.store.database import Database, File
from gateway.tick import tick

LOOK_S = 0.5
"""Between two looks: what was changed is in force everywhere within a second."""
ANSWER_S = 10.0
"""A database that says nothing for so long is taken for gone."""

log = logging.getLogger("pointsman.store")


def _alone(fault: BaseException) -> None:
    """A database that is gone is told by those who have to write to it."""


@dataclass(frozen=True, slots=True)
class Wish:
    number: ColumnElement[Any]
    """In one row; 0 where there is none."""
    heard: Callable[[int], Awaitable[object]]
    """Told the number when it may be another one: at first, and whenever anything was changed.
    It is told again where it raises."""
    lost: Callable[[BaseException], object] = _alone
    """Told why nobody could look, or what `heard` raised of the database."""


class Watch:
    """One in memory is nobody else's: it is not looked at."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wishes: list[Wish] = []
        self._asked: Select[Any] | None = None
        self._glance: _Glance | None = None
        self._again = True
        """The numbers are read though nothing moved."""
        self._turn = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    def add(self, wish: Wish) -> None:
        """Before the first look."""
        self._wishes.append(wish)

    def start(self) -> None:
        if self._database.durable and self._wishes:
            self._looking = asyncio.create_task(self._look_on())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._forget()

    async def look(self) -> None:
        """Now. Whoever wants to know was told when it returns."""
        if not self._database.durable:
            return
        # One at a time: an older number is not told behind a newer one.
        async with self._turn:
            try:
                numbers = await self._numbers()
            except Exception as fault:
                # Whatever it is: who looks no more would let in whose code was revoked.
                self._again = True
                for wish in self._wishes:
                    wish.lost(fault)
                return
            if numbers is None:
                return
            self._again = False
            for wish, number in zip(self._wishes, numbers, strict=True):
                await self._tell(wish, number)

    async def _look_on(self) -> None:
        while True:
            await tick(LOOK_S)
            await self.look()

    async def _tell(self, wish: Wish, number: int) -> None:
        try:
            await wish.heard(number)
        except (SQLAlchemyError, OSError) as fault:
            self._again = True
            wish.lost(fault)
        except Exception:
            # A fault of ours keeps nobody else from what he wants to know.
            self._again = True
            log.exception("a change could not be followed")

    async def _numbers(self) -> Sequence[int] | None:
        """None where nothing was changed."""
        asked = self._asked
        if asked is None:
            numbers: list[Any] = [func.coalesce(wish.number, 0) for wish in self._wishes]
            asked = self._asked = select(*numbers)
        file = await self._database.same_file()
        if file is not None:
            try:
                if self._glance is None or self._glance.file != file:
                    self._forget()
                    self._glance = _Glance(file, self._written(asked))
                return self._glance.numbers(self._again)
            except sqlite3.Error:
                # Locked or broken. The store's own connections wait for it, and say what it is.
                self._forget()
        async with asyncio.timeout(ANSWER_S), self._database.read() as connection:
            return tuple((await connection.execute(asked)).one())

    def _written(self, asked: Select[Any]) -> str:
        dialect = self._database.engine.dialect
        return str(asked.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))

    def _forget(self) -> None:
        if self._glance is not None:
            self._glance.close()
            self._glance = None


class _Glance:
    """At a SQLite file, in the loop itself: what it reads is memory that all processes share, and
    a page or two. Raises sqlite3.Error, at once where it would have to wait."""

    def __init__(self, file: File, statement: str) -> None:
        self.file = file
        self._statement = statement
        self._version = -1
        address = f"{file.path.absolute().as_uri()}?mode=rw"
        self._connection = sqlite3.connect(address, timeout=0, isolation_level=None, uri=True)

    def numbers(self, again: bool) -> Sequence[int] | None:
        """None while nobody committed, unless `again`."""
        # To the last row: a statement left in the middle would hold up the WAL's checkpoints.
        ((version,),) = self._connection.execute("PRAGMA data_version").fetchall()
        if version == self._version and not again:
            return None
        # Asked before: what is changed in between is read now, and once more.
        (row,) = self._connection.execute(self._statement).fetchall()
        self._version = version
        found: tuple[int, ...] = row
        return found

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
