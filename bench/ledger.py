"""What the ledger costs a request, and what GET /usage costs with a million rows.

    python -m bench.ledger [--database URL] [--rows 1000000]

CPU is the whole process's: making the row, and its share of writing the batch and the totals, the
driver's thread included. SQLite is a file in a temporary folder; a PostgreSQL is named by its URL
and works in processes of its own, whose time is not in the figure.
"""

from __future__ import annotations

import asyncio
import tempfile
import time

from sqlalchemy import func, select, text

from bench import command
from chat.events import Usage
from chat.trace import Trace
from gateway.engine.attempt import Attempt
from gateway.engine.ports import Caller, Settlement
from gateway.engine.routing import Target
from gateway.ledger import usage
from gateway.ledger.ledger import Ledger
from gateway.ledger.prices import Prices
from gateway.ledger.rows import DAY_MS, rows_of
from gateway.monitor.recorder import TOGETHER
from gateway.settings import Ledger as LedgerSettings
from gateway.store.database import Database
from gateway.store.tables.ledger import ATTEMPTS, DAYS

REQUESTS = 20_000
PER_FLUSH = 500
"""A thousand requests a second, written twice a second."""
PRICED = Prices()
DAYS_BACK = 90
APPS = 20
MODELS = (("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("local", "smollm2:135m"))
ENDS = (("local", "smollm2:135m"), ("openai", "gpt-4o"))


class Named:
    """As much of a provider as the ledger looks at."""

    def __init__(self, name: str) -> None:
        self.name = name


class Unheard:
    def ledger_rows(self, outcome: str, count: int) -> None: ...

    def ledger_waits(self, count: int) -> None: ...

    def cache_saves(self, route: str, nano: int) -> None: ...


def settled(number: int) -> Settlement:
    provider, model = MODELS[number // (DAYS_BACK * APPS) % len(MODELS)]
    target = Target(Named(provider), model, f"{provider}/{model}")  # type: ignore[arg-type]
    attempt = Attempt(target, 1.0, first_at=1.2, ended=1.9, outcome="finished")
    attempt.usage = Usage(900, 200, 100)
    trace = Trace(f"{number:024x}", "auto", target.name, provider, model)
    trace.tier, trace.score = ("strong", "local")[number // 7 % 2], 0.42
    trace.reason = "The classifier scored it 0.42 and chose strong."
    app = number // DAYS_BACK % APPS
    return Settlement(
        "finished",
        "openai",
        trace,
        attempt.usage,
        True,
        caller=Caller(f"app{app}", f"Application {app}"),
        attempts=(attempt,),
    )


async def cost(ledger: Ledger) -> tuple[float, float]:
    """CPU of one request, in µs: noting it, and all of it."""
    given = [settled(number) for number in range(REQUESTS)]
    noting = whole = 0.0
    for start in range(0, REQUESTS, PER_FLUSH):
        began = time.process_time()
        for place in range(start, start + PER_FLUSH, TOGETHER):
            some = given[place : min(place + TOGETHER, start + PER_FLUSH)]
            ledger.settled([(time.time(), settlement) for settlement in some])
        noting += time.process_time() - began
        assert await ledger.flush()
        whole += time.process_time() - began
    return noting / REQUESTS * 1e6, whole / REQUESTS * 1e6


async def fill(database: Database, ledger: Ledger, rows: int) -> float:
    """Seconds in which the ledger got to so many rows, over DAYS_BACK days."""
    async with database.read() as connection:
        there = (await connection.execute(select(func.count()).select_from(ATTEMPTS))).scalar_one()
    began, today = time.monotonic(), int(time.time() * 1000)
    for start in range(there, rows, 1000):
        for number in range(start, start + 1000):
            at = today - (number % DAYS_BACK) * DAY_MS
            ledger._waiting.extend(rows_of(settled(number), PRICED, lambda _: ENDS, at))
        assert await ledger.flush()
    return time.monotonic() - began


async def asked(database: Database, by: tuple[str, ...], caller: str | None) -> float:
    """Milliseconds of GET /usage's questions; the median of nine."""
    last = usage.EPOCH.fromordinal(usage.EPOCH.toordinal() + int(time.time()) // 86_400)
    first = last.fromordinal(last.toordinal() - DAYS_BACK)
    times = []
    for _ in range(9):
        began = time.perf_counter()
        await usage.usage(database, usage.Asked(first, last, caller, by))
        times.append(time.perf_counter() - began)
    return sorted(times)[4] * 1000


async def run(url: str, rows: int) -> None:
    database = Database(url)
    await database.open()
    ledger = Ledger(
        database, LedgerSettings(waiting=10_000), Unheard(), {}, Prices(), lambda _: ENDS
    )
    noting, whole = await cost(ledger)
    print(f"a request: {noting:.1f} µs to note it, {whole:.1f} µs with its share of the writing")
    seconds = await fill(database, ledger, rows)
    async with database.read() as connection:
        days = (await connection.execute(select(func.count()).select_from(DAYS))).scalar_one()
    print(f"{rows} rows in {seconds:.0f} s; {days} rows of totals")
    for by in (("day",), ("app",), ("model",), ("day", "app", "model")):
        everybody, one = await asked(database, by, None), await asked(database, by, "app3")
        print(f"usage by {', '.join(by)}: {everybody:.1f} ms for all, {one:.1f} ms for one app")
    began = time.perf_counter()
    async with database.read() as connection:
        await connection.execute(text("SELECT day, sum(cost_nano) FROM ledger GROUP BY day"))
    print(f"for comparison, one sum over the rows: {(time.perf_counter() - began) * 1000:.0f} ms")
    await database.close()


def main() -> None:
    parser = command.parser("python -m bench.ledger", __doc__)
    parser.add_argument("--database", default="")
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(given.database or f"sqlite:///{folder}/ledger.db", given.rows))


if __name__ == "__main__":
    main()
