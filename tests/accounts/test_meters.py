"""The arithmetic of limits and budgets: in memory, on a board that workers share, in a Redis. All
three say the same."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.accounts import outcome
from gateway.accounts.app import App
from gateway.accounts.board import Board
from gateway.accounts.meter import NOTHING, Calendar, Need
from gateway.accounts.meters import Counts, Meters
from gateway.accounts.meters_redis import RedisMeters
from gateway.accounts.outcome import Outcome
from gateway.settings import Access
from gateway.terms import Terms
from tests.store import servers

T = TypeVar("T")


def app(**terms: object) -> App:
    return App.of("app", Terms.model_validate({"name": "App", **terms}))


async def now(found: T | Awaitable[T]) -> T:
    return await found if inspect.isawaitable(found) else found


@pytest.fixture(params=["memory", "board", "redis"])
async def counts(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Counts]:
    if request.param == "memory":
        yield Meters()
    elif request.param == "board":
        yield Meters(Board(2), 1)
    else:
        with servers.redis(tmp_path) as url:
            redis = Redis.from_url(url)
            meters = RedisMeters(redis, Meters(), Access)
            yield meters
            await meters.close()
            await redis.aclose()


async def settled(counts: Counts) -> None:
    """Waits for what was told in the background."""
    if isinstance(counts, RedisMeters):
        await asyncio.sleep(0.05)


async def admit(counts: Counts, one: App, id_: int) -> Outcome:
    return await now(counts.admit(one, id_))


async def reserve(counts: Counts, one: App, id_: int, need: Need) -> Outcome:
    return await now(counts.reserve(one, id_, need))


async def test_a_window_takes_no_more_than_it_allows(counts: Counts) -> None:
    one = app(rate_limit="3/minute")
    told = [await admit(counts, one, id_) for id_ in range(5)]
    assert [found.code for found in told] == [0, 0, 0, outcome.REQUESTS, outcome.REQUESTS]
    assert [found.requests_used for found in told] == [1, 2, 3, 3, 3]
    assert 55 < told[3].wait_s <= 63
    assert told[3].wait_s == pytest.approx(told[3].requests_reset_s)


async def test_only_so_many_run_at_a_time(counts: Counts) -> None:
    one = app(concurrency=2)
    assert [(await admit(counts, one, id_)).code for id_ in range(3)] == [0, 0, outcome.CONCURRENCY]
    counts.settle(one, 0, None, NOTHING, 0)
    await settled(counts)
    assert (await admit(counts, one, 3)).code == 0


async def test_what_is_set_aside_counts_as_spent_until_it_is_settled(counts: Counts) -> None:
    one = app(budget_day="1.00")
    most = Need(400_000_000, 10, 10)
    for id_ in range(3):
        await admit(counts, one, id_)
    told = [await reserve(counts, one, id_, most) for id_ in range(3)]
    assert [found.code for found in told] == [0, 0, outcome.MONEY_DAY + outcome.HELD]
    assert told[2].left == 10**9
    for id_ in range(3):
        need = most if id_ < 2 else None
        counts.settle(one, id_, need, Need(100_000_000 if need else 0, 0, 5), 0)
    await settled(counts)
    await admit(counts, one, 4)
    found = await reserve(counts, one, 4, Need(800_000_001, 1, 1))
    assert (found.code, found.left) == (outcome.MONEY_DAY, 800_000_000)
    assert 0 < found.wait_s <= 86_400
    assert (await reserve(counts, one, 4, Need(800_000_000, 1, 1))).code == 0


async def test_a_budget_that_is_used_up_lets_nobody_in(counts: Counts) -> None:
    one = app(tokens_month=10)
    await admit(counts, one, 1)
    need = Need(0, 10, 5)
    assert (await reserve(counts, one, 1, need)).code == 0
    counts.settle(one, 1, need, Need(0, 0, 12), 0)
    await settled(counts)
    assert (await admit(counts, one, 2)).code == outcome.TOKENS_MONTH


async def test_tokens_of_a_window_are_corrected_when_they_are_known(counts: Counts) -> None:
    one = app(token_limit="100/hour")
    need = Need(0, 90, 60)
    for id_ in (1, 2):
        await admit(counts, one, id_)
    first = await reserve(counts, one, 1, need)
    assert (first.code, first.tokens_used) == (0, 60)
    assert (await reserve(counts, one, 2, need)).code == outcome.TOKENS
    counts.settle(one, 1, need, Need(0, 0, 15), first.ticket)
    await settled(counts)
    second = await reserve(counts, one, 2, need)
    assert (second.code, second.tokens_used) == (0, 75)
    large = await reserve(counts, one, 2, Need(0, 1, 101))
    assert large.code == outcome.TOKENS + outcome.TOO_LARGE


async def test_what_the_ledger_remembers_is_spent(counts: Counts) -> None:
    one = app(budget_month="1.00")
    spent = [("app", Need(1, 0, 1), Need(999_999_999, 0, 9))]
    assert isinstance(counts, Meters | RedisMeters)
    told = counts.remember(spent)
    if told is not None:
        await told
    await admit(counts, one, 1)
    assert (await reserve(counts, one, 1, Need(2, 1, 1))).code == outcome.MONEY_MONTH
    assert (await reserve(counts, one, 1, Need(1, 1, 1))).code == 0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 30), st.lists(st.floats(0, 40), min_size=1, max_size=120))
def test_in_no_stretch_of_a_window_more_passes_than_it_allows(
    limit: int, pauses: list[float]
) -> None:
    clock = Clock()
    meters, one = Meters(clock=clock, wall=clock), app(rate_limit=f"{limit}/minute")
    passed: list[float] = []
    for id_, pause in enumerate(pauses):
        clock.now += pause
        found = meters.admit(one, id_)
        if found.code == 0:
            passed.append(clock.now)
        else:
            # Whoever waits as long as he is told gets in.
            clock.now += found.wait_s + 0.001
            assert meters.admit(one, id_).code == 0
            passed.append(clock.now)
    for at in passed:
        assert sum(at - 60 < other <= at for other in passed) <= limit


def test_a_new_day_begins_with_nothing_spent_and_a_new_month_too() -> None:
    clock = Clock()
    clock.now = 1_796_083_200.0 - 10  # ten seconds before December 2026
    meters, one = Meters(clock=clock, wall=clock), app(budget_day="1", budget_month="3")
    need = Need(10**9, 1, 1)
    meters.admit(one, 1)
    assert meters.reserve(one, 1, need).code == 0
    meters.settle(one, 1, need, need, 0)
    found = meters.admit(one, 2)
    assert (found.code, found.wait_s) == (outcome.MONEY_DAY, 10)
    clock.now += 11
    assert meters.admit(one, 2).code == 0
    assert meters.standing("app").month == NOTHING
    # A clock that is put back gives no budget anew.
    meters.reserve(one, 2, need)
    meters.settle(one, 2, need, need, 0)
    clock.now -= 20
    assert meters.admit(one, 3).code == outcome.MONEY_DAY


@given(st.integers(0, 4_000_000_000))
def test_the_calendar_agrees_with_the_librarys(wall: int) -> None:
    from datetime import UTC, datetime, timedelta

    day, month, (day_s, month_s) = Calendar().at(float(wall))
    told = datetime.fromtimestamp(wall, UTC)
    assert day == wall // 86_400
    assert month == told.year * 12 + told.month - 1
    assert (told + timedelta(seconds=day_s)).time().isoformat() == "00:00:00"
    assert (told + timedelta(seconds=month_s)).day == 1
    assert (told + timedelta(seconds=month_s - 1)).month == told.month


def test_workers_count_on_one_board_and_a_dead_ones_holds_are_spent() -> None:
    board = Board(2)
    first, second = Meters(board, 0), Meters(board, 1)
    one = app(budget_day="1.00", concurrency=3, rate_limit="4/hour")
    need = Need(600_000_000, 1, 1)
    first.admit(one, 1)
    assert first.reserve(one, 1, need).code == 0
    second.admit(one, 2)
    assert second.reserve(one, 2, need).code == outcome.MONEY_DAY + outcome.HELD
    assert second.standing("app").running == 2
    # The first dies, and another takes its place.
    again = Meters(board, 0)
    assert again.standing("app").running == 1
    assert again.standing("app").day.money == 600_000_000
    assert again.admit(one, 3).requests_used == 3
