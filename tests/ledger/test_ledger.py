"""One row for each attempt: what it says, and that it is written whatever happens."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from chat.events import Usage
from chat.trace import Trace
from gateway.engine.ports import Settlement
from gateway.ledger.ledger import Ledger
from gateway.ledger.prices import Prices
from gateway.ledger.totals import main as totals_main
from gateway.ledger.totals import rebuild
from gateway.settings import Ledger as LedgerSettings
from gateway.store.database import Database
from tests.ledger import books
from tests.replay.gateway import openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream
from tests.store import servers

PRICES = {
    "easy/m": {"input": 1, "output": 2, "date": "2026-11-01"},
    "hard/m": {"input": 10, "output": 20},
}


def note(ledger: Ledger, settlement: Settlement) -> None:
    ledger.settled([(ledger._now(), settlement)])


class Counted:
    def __init__(self) -> None:
        self.rows = {"written": 0, "dropped": 0}

    def ledger_rows(self, outcome: str, count: int) -> None:
        self.rows[outcome] += count

    def cache_saves(self, route: str, nano: int) -> None:
        pass

    def ledger_waits(self, count: int) -> None:
        pass


@pytest.fixture
async def written(
    store_url: str,
) -> AsyncGenerator[tuple[Ledger, Database, Counted, dict[str, str]]]:
    database = Database(store_url)
    await database.open()
    counted, warnings = Counted(), dict[str, str]()
    given = settings(prices=PRICES).prices
    ends = (("easy", "m"), ("hard", "m"))
    ledger = Ledger(
        database, LedgerSettings(waiting=1000), counted, warnings, Prices(given), lambda route: ends
    )
    yield ledger, database, counted, warnings
    await database.close()


def settled(**changes: Any) -> Settlement:
    trace = Trace("r1", provider="easy", model="m", target="easy/m", route="auto")
    trace.total_ms = 5.0
    for name in [name for name in changes if hasattr(trace, name)]:
        setattr(trace, name, changes.pop(name))
    given: dict[str, Any] = {
        "outcome": "finished",
        "door": "openai",
        "trace": trace,
        "usage": Usage(100, 10),
        "committed": True,
    }
    return Settlement(**(given | changes))


Written = tuple[Ledger, Database, Counted, dict[str, str]]


async def test_what_was_settled_is_written_with_its_cost_and_its_day(written: Written) -> None:
    ledger, database, counted, _ = written
    for _ in range(2500):
        note(ledger, settled())
        if ledger.waiting == 1000:
            assert await ledger.flush()
    assert await ledger.flush()
    rows = await books.attempts(database)
    assert len(rows) == counted.rows["written"] == 2500
    assert {row["cost_nano"] for row in rows} == {100 * 1000 + 10 * 2000}
    assert {row["priced_on"] for row in rows} == {"2026-11-01"}
    (day,) = await books.days(database)
    assert day["requests"] == day["answers"] == 2500
    assert day["cost_nano"] == 2500 * 120_000
    assert day["input_tokens"] == 250_000


async def test_the_totals_made_anew_from_the_rows_are_the_totals(written: Written) -> None:
    ledger, database, _, _ = written
    for number in range(900):
        note(
            ledger,
            settled(
                tier=(None, "local", "strong")[number % 3],
                model=("m", "unknown")[number % 2],
                provider=("easy", "hard", "mystery")[number % 3],
                outcome=("finished", "failed", "cancelled", "finished")[number % 4],
                error="timeout" if number % 4 == 1 else None,
                cache="hit" if number % 5 == 0 else None,
                usage=Usage() if number % 7 == 0 else Usage(number, number // 2, number // 3),
            ),
        )
        if number % 100 == 99:
            assert await ledger.flush()
    before = await books.days(database)
    assert len(before) > 10
    async with database.begin() as connection:
        await rebuild(connection)
    assert await books.days(database) == before


async def test_rows_that_are_too_old_go_and_their_totals_stay(written: Written) -> None:
    ledger, database, _, _ = written
    now = time.time()
    for days in (40, 35, 31, 2, 0):
        ledger._now = partial(float, now - days * 86_400)
        note(ledger, settled())
    assert await ledger.flush()
    ledger._now = lambda: now
    before = await books.days(database)
    ledger.settings = LedgerSettings(keep_days=30)
    assert await ledger.clean() == 3
    assert await books.count(database) == 2
    assert await books.days(database) == before
    async with database.begin() as connection:
        await rebuild(connection)
    assert await books.days(database) == before


def test_the_totals_are_made_anew_by_a_command(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pointsman.db"
    assert totals_main(["rebuild", "--database", url]) == 0
    assert totals_main(["rebuild", "--database", "mysql://x"]) == 1


async def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(
    written: Written, store_url: str
) -> None:
    ledger, database, counted, _ = written
    note(ledger, settled())
    bad = settled()
    bad.trace.total_ms = "nonsense" if store_url.startswith("postgres") else 2**70  # type: ignore[assignment]
    note(ledger, bad)
    note(ledger, settled(model="m\0n" * 100, outcome="failed", error="timeout"))
    note(ledger, settled(usage=Usage(-5, 2**80)))
    assert await ledger.flush()
    assert counted.rows == {"written": 3, "dropped": 1}
    assert await books.count(database) == 3


async def test_what_cannot_be_noted_raises_at_nobody(written: Written) -> None:
    ledger, _, counted, _ = written
    broken = settled()
    broken.trace.reason = None  # type: ignore[assignment]
    note(ledger, broken)
    assert counted.rows["dropped"] == 1


async def test_a_batch_whose_answer_was_lost_is_not_written_twice(written: Written) -> None:
    ledger, database, _, _ = written
    note(ledger, settled())
    batch = ledger._next()
    await ledger._write(batch)
    ledger._batch = batch
    assert batch.doubtful
    assert await ledger.flush()
    assert await books.count(database) == 1
    (day,) = await books.days(database)
    assert day["requests"] == 1


async def test_two_processes_with_one_number_both_write(written: Written) -> None:
    ledger, database, _, _ = written
    note(ledger, settled())
    batch = ledger._next()
    await ledger._write(batch)
    # Another process, that by chance made the same id.
    ledger._writer += 1
    note(ledger, settled())
    second = ledger._next()
    second.first = batch.first
    ledger._batch = second
    assert not await ledger.flush()
    assert await ledger.flush()
    assert await books.count(database) == 2


async def test_writers_of_the_same_days_wait_for_each_other(written: Written) -> None:
    ledger, database, counted, warnings = written
    others = [ledger]
    for _ in range(3):
        others.append(
            Ledger(
                database,
                ledger.settings,
                counted,
                warnings,
                Prices({}),
                lambda route: (None, None),
            )
        )
    for turn in range(200):
        for place, one in enumerate(others):
            note(one, settled(model=f"m{(turn * (place + 1)) % 17}"))
    assert all(await asyncio.gather(*(one.flush() for one in others)))
    assert await books.count(database) == 800
    assert sum(day["attempts"] for day in await books.days(database)) == 800


async def test_rows_wait_while_the_database_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.db"
    database = Database(f"sqlite:///{path}?timeout=0.1")
    await database.open()
    counted, warnings = Counted(), dict[str, str]()
    ledger = Ledger(
        database,
        LedgerSettings(waiting=1000),
        counted,
        warnings,
        Prices({}),
        lambda _: (None, None),
    )
    async with database.read() as connection:
        await connection.execute(text("PRAGMA busy_timeout=50"))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for _ in range(1500):
        note(ledger, settled())
    assert ledger.waiting == 1000
    assert counted.rows["dropped"] == 500
    assert not await ledger.flush()
    assert "1000 rows wait" in warnings["ledger"]
    holder.execute("COMMIT")
    holder.close()
    assert await ledger.flush()
    assert warnings == {}
    assert await books.count(database) == 1000
    await database.close()


async def test_rows_wait_while_postgresql_is_gone() -> None:
    with servers.postgres() as url:
        database = Database(url)
        await database.open()
        counted, warnings = Counted(), dict[str, str]()
        ledger = Ledger(
            database, LedgerSettings(), counted, warnings, Prices({}), lambda _: (None, None)
        )
        note(ledger, settled())
        assert await ledger.flush()
    note(ledger, settled())
    assert not await ledger.flush()
    assert "1 rows wait" in warnings["ledger"]
    assert counted.rows == {"written": 1, "dropped": 0}
    await database.close()


async def test_a_fallback_leaves_a_row_for_the_target_that_failed(tmp_path: Path) -> None:
    easy, hard = ReplayServer(openai_error(400, "no")), ReplayServer(Play(openai_stream("a", "b")))
    async with easy, hard:
        easy.play(openai_error(503, "down"))
        given = settings(
            providers={"easy": openai_provider(easy.url), "hard": openai_provider(hard.url)},
            classifier={"on_failure": "local"},
            attempts={"per_target": 2},
            prices=PRICES,
        )
        async with running(given) as gateway:
            answer = await gateway.complete(message="hello")
            assert answer.status == 200
            assert await gateway.services.ledger.flush()
            rows = await books.attempts(gateway.services.database)
    assert [row["provider"] for row in rows] == ["easy", "easy", "hard"]
    assert [row["outcome"] for row in rows] == ["failed", "failed", "finished"]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert [bool(row["answered"]) for row in rows] == [False, False, True]
    last = rows[-1]
    assert last["cost_nano"] == 3 * 10_000 + 2 * 20_000
    assert last["local_nano"] == 3 * 1000 + 2 * 2000
    assert last["strong_nano"] == last["cost_nano"]
    assert last["tier"] == "local"
    assert last["caller_id"] == "open"
    assert last["first_ms"] is not None
    assert last["total_ms"] >= last["first_ms"]
    assert len({row["request_id"] for row in rows}) == 1


async def test_a_caller_who_leaves_leaves_a_row(tmp_path: Path) -> None:
    hard = ReplayServer(Play(openai_stream("a", "b"), stall=400))
    async with hard:
        given = settings(
            providers={"hard": openai_provider(hard.url)}, routes={"auto": {"strong": ["hard/m"]}}
        )
        async with running(given) as gateway:
            request = gateway.session.post(gateway.url + "/complete", json={"message": "hello"})
            async with request as response:
                await response.content.readany()
            await hard.until_left()
            async with asyncio.timeout(5):
                while not gateway.services.ledger.waiting:
                    await asyncio.sleep(0.01)
            assert await gateway.services.ledger.flush()
            (row,) = await books.attempts(gateway.services.database)
    assert row["outcome"] == "cancelled"
    # Nobody counted, and a restart must not forget what it cost.
    assert row["estimated"]
    assert row["input_tokens"] > 0
    assert row["output_tokens"] > 0
    assert row["cost_nano"] is None
    assert not row["answered"]
