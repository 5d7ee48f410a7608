"""Writes the ledger: rows are made when a request settles, and written a few times a second.

Nothing here is waited for by a caller. While the database is locked, full or gone the rows wait,
a bounded number of them, and `/readyz` and the metrics say so. A batch is written with its totals
in one transaction; one whose answer was lost is looked for before it is written again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from sqlalchemy import Boolean, Connection, bindparam, delete, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from gateway.engine.ports import Settlement
from gateway.ledger.prices import Prices
from gateway.ledger.rows import ALWAYS, EndsOf, Row, rows_of, saved_in
from gateway.ledger.totals import folded
from gateway.settings import Ledger as LedgerSettings
from gateway.store.database import Database
from gateway.store.tables.ledger import ATTEMPTS

BATCH = 1000
"""Rows in one transaction."""
WRITE_S = 15.0
"""A database that says nothing for so long is taken for gone."""
LONGEST_PAUSE_S = 5.0
CLOSE_S = 10.0
"""How long a stop waits for the last rows."""
CLOSE_TRIES = 20
WARNING = "ledger"
MOST_KINDS = 256
"""Statements that are kept ready."""
CLEAN_S = 3600.0
DAY_S = 86_400

log = logging.getLogger("pointsman.ledger")


class Meter(Protocol):
    """What is counted of it."""

    def ledger_rows(self, outcome: str, count: int) -> None:
        """outcome: written or dropped."""
        ...

    def ledger_waits(self, count: int) -> None: ...

    def cache_saves(self, route: str, nano: int) -> None:
        """Billionths of a dollar that an answer which was kept did not cost."""
        ...


@dataclass(slots=True)
class _Batch:
    first: int
    """The id of its first row; the others follow."""
    rows: list[Row]
    doubtful: bool = False
    """It may have been written: the answer to its commit was lost."""


class Ledger:
    """`settled` is one of the recorder's books; `catch_up` lets it write what it has."""

    def __init__(
        self,
        database: Database,
        settings: LedgerSettings,
        meter: Meter,
        warnings: dict[str, str],
        prices: Prices,
        ends: EndsOf,
        now: Callable[[], float] = time.time,
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self._database = database
        self._meter = meter
        self._warnings = warnings
        self._prices = prices
        self._ends = ends
        self._now = now
        self._catch_up = catch_up
        self._waiting: deque[Row] = deque()
        self._batch: _Batch | None = None
        self._writer = random.getrandbits(62)
        self._last = 0
        self._lock = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        self._stops = asyncio.Event()
        self._stirred = asyncio.Event()
        """There is something to write, or an end."""
        self._inserts: dict[tuple[str, ...], str] = {}
        dialect = database.engine.dialect
        those = (ATTEMPTS.c.writer == bindparam("writer")) & ATTEMPTS.c.id.between(
            bindparam("first"), bindparam("last")
        )
        # Made once: SQLAlchemy needs 2 ms to make it, and it is run each second.
        fold = folded(dialect.name, those).compile(dialect=dialect)
        self._fold = str(fold)
        self._fold_names = tuple(fold.positiontup or ())
        self._fold_values = dict(fold.params)

    @property
    def waiting(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._waiting) + (len(self._batch.rows) if self._batch else 0)

    def settled(self, some: Sequence[tuple[float, Settlement]]) -> None:
        """Notes requests. Never raises and never waits."""
        room = self.settings.waiting - self.waiting
        for at, settlement in some:
            try:
                rows = rows_of(settlement, self._prices, self._ends, int(at * 1000))
            except Exception:
                log.exception("a request could not be noted in the ledger")
                self._dropped(max(1, len(settlement.attempts)))
                continue
            if settlement.trace.cache == "hit" and rows and (saved := saved_in(rows[0])):
                self._meter.cache_saves(settlement.trace.route, saved)
            room -= len(rows)
            if room < 0:
                self._dropped(len(rows))
                continue
            self._waiting.extend(rows)
        self._stirred.set()

    def start(self) -> None:
        self._writing = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Writes what is left, and says how much could not be."""
        self._stops.set()
        self._stirred.set()
        try:
            async with asyncio.timeout(CLOSE_S):
                if self._writing is not None:
                    # Not cancelled: a driver that is left in mid-transaction may keep it open.
                    await self._writing
                await self._flushed()
        except TimeoutError:
            self._dropped(self.waiting)
            log.error("the ledger lost rows", extra={"fields": {"rows": self.waiting}})

    async def _write_on(self) -> None:
        pause = cleaned = 0.0
        while not self._stops.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(max(self.settings.flush_s, pause)):
                    await self._stops.wait()
            self._meter.ledger_waits(self.waiting)
            self._stirred.clear()
            well = await self.flush()
            self._meter.ledger_waits(self.waiting)
            if well and self.settings.keep_days and self._now() - cleaned >= CLEAN_S:
                cleaned = self._now()
                try:
                    await self.clean()
                except (OSError, SQLAlchemyError) as fault:
                    log.error("old rows stay", extra={"fields": {"error": _words(fault)}})
            pause = 0.0 if well else min(max(pause * 2, 0.5), LONGEST_PAUSE_S)
            if not self.waiting and not self._stops.is_set():
                await self._rest()

    async def _rest(self) -> None:
        """Nobody is woken for nothing: until a row comes, or it is time to clean."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEAN_S):
                await self._stirred.wait()

    async def clean(self) -> int:
        """Deletes rows of the days that are older than `keep_days`, one day at a time; the totals
        of those days stay. Returns how many rows."""
        oldest = int((self._now() - self.settings.keep_days * DAY_S) // DAY_S)
        count = 0
        async with self._database.read() as connection:
            old = select(ATTEMPTS.c.day).where(ATTEMPTS.c.day < oldest).distinct()
            days = sorted((await connection.execute(old)).scalars())
        for day in days:
            async with self._database.begin() as connection:
                gone = await connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.day == day))
                count += gone.rowcount
        return count

    async def _flushed(self) -> None:
        for _ in range(CLOSE_TRIES):
            if await self.flush() and not self.waiting:
                return
            await asyncio.sleep(CLOSE_S / CLOSE_TRIES)
        raise TimeoutError

    async def flush(self) -> bool:
        """Writes all that waits now; False when the database would not take it. What comes
        meanwhile waits for the next time: under load there would be no end of small batches,
        which cost a request 25 µs."""
        async with self._lock:
            self._catch_up()
            left = len(self._waiting)
            while self._batch or left:
                if self._batch is None:
                    self._batch = self._next(min(left, BATCH))
                    left -= len(self._batch.rows)
                batch = self._batch
                try:
                    async with asyncio.timeout(WRITE_S):
                        await self._write(batch)
                except (TimeoutError, OSError, SQLAlchemyError, OverflowError) as fault:
                    if not await self._mended(batch, fault):
                        self._warn(fault)
                        return False
                else:
                    self._meter.ledger_rows("written", len(batch.rows))
                self._batch = None
                self._warnings.pop(WARNING, None)
        return True

    def _next(self, count: int = BATCH) -> _Batch:
        rows = list(islice(self._waiting, count))
        for _ in rows:
            self._waiting.popleft()
        return _Batch(self._number(len(rows)), rows)

    def _number(self, count: int) -> int:
        """Ids that grow with time. Two processes share one only by a rare chance, which the
        database then refuses."""
        first = max(self._last + 1, (time.time_ns() // 1000 << 12) + random.getrandbits(12))
        self._last = first + count
        return first

    async def _write(self, batch: _Batch) -> None:
        first, writer = batch.first, self._writer
        last = first + len(batch.rows) - 1
        kinds: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for number, (names, values) in enumerate(batch.rows, first):
            kinds.setdefault(names, []).append((number, writer, *values))
        mine = (ATTEMPTS.c.writer == writer) & ATTEMPTS.c.id.between(first, last)

        def write(connection: Connection) -> None:
            if batch.doubtful:
                found = connection.execute(select(ATTEMPTS.c.id).where(mine).limit(1))
                if found.first() is not None:
                    return
            batch.doubtful = True
            for names, numbered in kinds.items():
                # By the driver itself: they are tuples already, and Core would cost more.
                connection.exec_driver_sql(self._insert(names), numbered)
            connection.exec_driver_sql(self._fold, self._named(first, last))

        await self._database.at_once(write)

    def _insert(self, names: tuple[str, ...]) -> str:
        """The statement for rows that have these columns of SELDOM."""
        found = self._inserts.get(names)
        if found is None:
            if len(self._inserts) > MOST_KINDS:
                self._inserts.clear()
            columns = ("id", "writer", *ALWAYS, *names)
            places = ", ".join(self._place(number, name) for number, name in enumerate(columns, 1))
            found = f"INSERT INTO {ATTEMPTS.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
            self._inserts[names] = found
        return found

    def _place(self, number: int, name: str) -> str:
        if self._database.is_sqlite:
            return "?"
        kind = ATTEMPTS.c[name].type
        if isinstance(kind, Boolean):
            return f"CAST(${number}::INTEGER AS BOOLEAN)"
        return f"${number}::{kind.compile(self._database.engine.dialect)}"

    def _named(self, first: int, last: int) -> tuple[Any, ...]:
        given = {**self._fold_values, "writer": self._writer, "first": first, "last": last}
        return tuple(given[name] for name in self._fold_names)

    async def _mended(self, batch: _Batch, fault: BaseException) -> bool:
        """Whether a batch that failed is done with all the same: where the fault is in a row,
        that one goes and the others are written."""
        if isinstance(fault, IntegrityError):
            batch.first = self._number(len(batch.rows))
            return False
        of_a_row = isinstance(fault, OverflowError) or (
            isinstance(fault, DBAPIError)
            and not isinstance(fault, OperationalError)
            and not fault.connection_invalidated
            and _is_of_data(fault)
        )
        if not of_a_row:
            return False
        for row in batch.rows:
            try:
                await self._write(_Batch(self._number(1), [row]))
            except (SQLAlchemyError, OverflowError) as one:
                log.error("a row was refused", extra={"fields": {"error": _words(one)}})
                self._dropped(1)
            else:
                self._meter.ledger_rows("written", 1)
        return True

    def _warn(self, fault: BaseException) -> None:
        words = f"The ledger cannot be written: {_words(fault)}; {self.waiting} rows wait."
        if WARNING not in self._warnings:
            log.error("ledger not written", extra={"fields": {"error": _words(fault)}})
        self._warnings[WARNING] = words

    def _dropped(self, count: int) -> None:
        self._meter.ledger_rows("dropped", count)


def _is_of_data(fault: DBAPIError) -> bool:
    """Data that the database cannot hold, as PostgreSQL (class 22) and its driver say it."""
    state = getattr(fault.orig, "sqlstate", None)
    return (isinstance(state, str) and state.startswith("22")) or type(fault).__name__ in (
        "DataError",
        "InterfaceError",
    )


def _words(fault: BaseException) -> str:
    """The driver's own first line: no statement with its values."""
    origin = getattr(fault, "orig", None) or fault
    return (str(origin).strip() or type(origin).__name__).splitlines()[0][:200]
