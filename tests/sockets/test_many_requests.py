"""The list of requests over a ledger of many days is the ledger's, whole and in its order."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from bench.rows import RARE, fill
from gateway.routes.books import Wanted, page
from gateway.store.database import Database
from gateway.store.tables.ledger import ATTEMPTS

ROWS, DAYS_BACK = 3000, 9
HOUR_S = 3600


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncGenerator[Database, None]:
    database = Database(f"sqlite:///{tmp_path}/ledger.db")
    await database.open()
    await fill(database, ROWS, DAYS_BACK)
    yield database
    await database.close()


async def whole(database: Database, wanted: Wanted) -> list[str]:
    """Page by page to the end."""
    found: list[str] = []
    before: int | None = None
    while True:
        given = Wanted(
            wanted.scope, wanted.exact, wanted.caller, wanted.since, wanted.until, before, limit=7
        )
        rows, before = await page(database, given)
        found += [str(row["request_id"]) for row in rows]
        if before is None:
            return found


async def told(database: Database, condition: str) -> list[str]:
    asked = select(ATTEMPTS.c.request_id).where(text(condition)).order_by(ATTEMPTS.c.id.desc())
    async with database.read() as connection:
        return list((await connection.execute(asked)).scalars())


async def test_every_page_of_one_caller_is_found_on_his_days(ledger: Database) -> None:
    mine = await whole(ledger, Wanted("app-3"))
    assert len(mine) == ROWS / 20
    assert mine == await told(ledger, "caller_id = 'app-3'")
    assert await whole(ledger, Wanted(RARE)) == await told(ledger, f"caller_id = '{RARE}'")
    assert len(await whole(ledger, Wanted(RARE))) == 1
    assert await whole(ledger, Wanted("nobody")) == []
    named = await whole(ledger, Wanted(None, caller="Application 3"))
    assert named == mine
    failed = await whole(ledger, Wanted("app-3", {"outcome": "failed"}))
    assert failed == await told(ledger, "caller_id = 'app-3' AND outcome = 'failed'")
    assert failed


async def test_a_time_bounds_the_pages_of_one_caller_and_of_all(ledger: Database) -> None:
    async with ledger.read() as connection:
        latest = (await connection.execute(text("SELECT max(at) FROM ledger"))).scalar_one() / 1000
    since, until = latest - 60 * HOUR_S, latest - 30 * HOUR_S
    between = f"at >= {int(since * 1000)} AND at < {int(until * 1000)}"
    every = await whole(ledger, Wanted(None, since=since, until=until))
    assert every == await told(ledger, between)
    mine = await whole(ledger, Wanted("app-3", since=since, until=until))
    assert mine == await told(ledger, f"caller_id = 'app-3' AND {between}")
    assert 0 < len(mine) < len(every)


async def test_days_whose_numbers_run_into_each_other_lose_and_repeat_nothing(
    ledger: Database,
) -> None:
    """Two processes write around midnight: a row of the new day may have the lower number."""
    async with ledger.begin() as connection:
        days = "SELECT DISTINCT day FROM ledger ORDER BY day DESC LIMIT 1 OFFSET 1"
        first = text(
            f"SELECT min(id) FROM ledger WHERE day = ({days})"
        )  # Today may be minutes old.
        low = (await connection.execute(first)).scalar_one()
        rows = await connection.execute(
            text("SELECT id, at, day FROM ledger WHERE id >= :low ORDER BY id LIMIT 40"),
            {"low": low},
        )
        new = rows.all()
        rows = await connection.execute(
            text("SELECT id, at, day FROM ledger WHERE id < :low ORDER BY id DESC LIMIT 40"),
            {"low": low},
        )
        swap = text("UPDATE ledger SET at = :at, day = :day WHERE id = :id")
        for one, other in zip(new, rows.all(), strict=True):
            await connection.execute(swap, {"id": one.id, "at": other.at, "day": other.day})
            await connection.execute(swap, {"id": other.id, "at": one.at, "day": one.day})
    assert await whole(ledger, Wanted("app-3")) == await told(ledger, "caller_id = 'app-3'")
