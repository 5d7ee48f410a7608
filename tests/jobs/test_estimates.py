"""Quoted waits against real ones, on a recorded load that is replayed by the clock of the test."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from gateway.engine.queued import ordinal
from gateway.jobs.estimate import Estimator, Quote


class Arrival(NamedTuple):
    at: float
    kind: str
    seconds: float


def recorded(seed: int, slots: int, load: float) -> list[Arrival]:
    """A day of a service in little: short and long answers with long tails, and rushes in which
    more comes than can be answered."""
    chance = random.Random(seed)
    now, found = 0.0, list[Arrival]()
    mean = 0.7 * 4.6 + 0.3 * 23
    while len(found) < 1500:
        rush = 3.0 if (now // 300) % 4 == 1 else 0.6
        now += chance.expovariate(load * rush * slots / mean)
        kind, centre = ("flashcard", 4.0) if chance.random() < 0.7 else ("essay", 20.0)
        found.append(Arrival(now, kind, chance.lognormvariate(0, 0.55) * centre))
    return found


def replayed(arrivals: Sequence[Arrival], slots: int) -> list[tuple[Quote, float]]:
    """Quote at arrival and real wait of everybody who had to wait, by the real estimator."""
    free = [0.0] * slots
    heapq.heapify(free)
    waiting: list[tuple[float, str]] = []  # (its start, type) of those before whom others stand
    ends: list[tuple[float, str, float]] = []
    samples: list[tuple[str, float]] = []
    found: list[tuple[Quote, float]] = []
    for one in arrivals:
        while ends and ends[0][0] <= one.at:
            _, kind, seconds = heapq.heappop(ends)
            samples.append((kind, seconds))
        waiting = [item for item in waiting if item[0] > one.at]
        busy = sum(end > one.at for end in free)
        start = max(one.at, heapq.heappop(free))
        heapq.heappush(free, start + one.seconds)
        heapq.heappush(ends, (start + one.seconds, one.kind, one.seconds))
        if start > one.at:
            types: dict[str, int] = {one.kind: 1}
            for _, kind in waiting:
                types[kind] = types.get(kind, 0) + 1
            estimator = Estimator(samples[-400:])
            quote = estimator.wait(len(waiting) + 1, slots, types, idle=slots - busy)
            found.append((quote, start - one.at))
            waiting.append((start, one.kind))
    return found


@pytest.mark.parametrize("slots", [1, 4, 16])
@pytest.mark.parametrize("load", [0.8, 1.1])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_quoted_wait_covers_the_real_one(slots: int, load: float, seed: int) -> None:
    told = replayed(recorded(seed, slots, load), slots)
    assert len(told) > 200
    covered = sum(wait <= quote.high for quote, wait in told) / len(told)
    assert covered >= 0.8
    # Covering is easy for whoever quotes a week: the quote stays near the truth, too.
    quoted = sum(quote.high for quote, _ in told) / len(told)
    real = sum(wait for _, wait in told) / len(told)
    assert quoted <= 2.5 * real + 10
    below = sum(wait < quote.low for quote, wait in told) / len(told)
    assert below <= 0.3


def test_slower_answers_make_longer_quotes_and_types_count_by_themselves() -> None:
    fast = Estimator([("a", 1.0)] * 50)
    slow = Estimator([("a", 1.0)] * 50 + [("b", 60.0)] * 50)
    assert slow.service("b") > 5 * slow.service("a")
    assert slow.wait(10, 2, {"b": 10}).high > 4 * slow.wait(10, 2, {"a": 10}).high
    assert fast.wait(10, 2, {"a": 10}).high < 15
    assert fast.wait(10, 4, {"a": 10}).high < fast.wait(10, 1, {"a": 10}).high


def test_with_a_worker_free_nobody_is_told_to_wait() -> None:
    assert Estimator().wait(1, 4, {"a": 1}, idle=2) == Quote(0.0, 1.0)
    assert Estimator().wait(3, 4, {"a": 3}, idle=2).high > 1


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 0.4, "less than 1 second"),
        (0.2, 1, "less than 1 second"),
        (3.3, 11.2, "3-12 seconds"),
        (12, 12, "12 seconds"),
        (0, 42, "less than 42 seconds"),
        (125, 170, "2-3 minutes"),
        (119, 120, "1-2 minutes"),
        (20, 100, "less than 2 minutes"),
        (4000, 9000, "1-3 hours"),
    ],
)
def test_a_wait_in_words(low: float, high: float, words: str) -> None:
    assert Quote(low, high).words == words


def test_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th",
    ]  # fmt: skip
