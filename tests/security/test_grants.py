"""Who is let in is a number, not a name: by whatever way callers come, no more begin than may."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, Callable

import pytest

from chat.errors import QueueFull
from gateway.engine.pressure import LEAST, LOOK_S, Pressure
from gateway.settings import Server

MOST = 3
LATE_MS = 100.0


class House:
    """A Pressure on a clock of its own, and callers at each step of their ways in."""

    def __init__(self, most: int) -> None:
        self.now = 100.0
        self.pressure = Pressure(Server(max_in_flight=most, max_lag_ms=LATE_MS), lambda: self.now)
        self.waiting = self.running = self.begun = 0
        """Let in and not begun yet; begun and not ended; begun ever."""

    def question(self) -> None:
        """Asked where it is read."""
        self.waiting += self.pressure.turns_away(self.running + 1) is None

    def door(self) -> None:
        """For a question whose body comes later."""
        with contextlib.suppress(QueueFull):
            self.pressure.admit(self.running + 1)
            self.waiting += 1

    def begin(self) -> None:
        if self.waiting:
            self.waiting -= 1
            self.another()

    def another(self) -> None:
        """Comes by a way on which he was not asked, such as a socket."""
        with contextlib.suppress(QueueFull):
            self.pressure.begin(self.running + 1)
            self.running += 1
            self.begun += 1

    def mistake(self) -> None:
        """Let in, and its body is no JSON."""
        self.waiting -= self.waiting > 0

    def end(self) -> None:
        self.running -= self.running > 0

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.pressure._due += seconds

    def look(self, late: float = 0.0) -> None:
        self.now += LOOK_S + late
        self.pressure._look()

    def overload(self) -> None:
        self.look(0.2)
        self.look(0.2)
        assert self.pressure.tight


@pytest.fixture
async def built() -> AsyncGenerator[Callable[[int], House]]:
    houses: list[House] = []

    def house(most: int) -> House:
        houses.append(House(most))
        houses[-1].pressure.start()
        return houses[-1]

    yield house
    for one in houses:
        one.pressure.stop()


@pytest.mark.parametrize("tight", [False, True])
async def test_no_more_run_at_once_than_may_by_whatever_ways_they_come(
    built: Callable[[int], House], tight: bool
) -> None:
    begun = 0
    for seed in range(100):
        house, chance = built(MOST), random.Random(seed)
        if tight:
            house.overload()
        steps = [house.question, house.door, house.begin, house.another, house.mistake, house.end]
        for _ in range(300):
            house.passes(0.002)
            chance.choice([*steps, house.look] if chance.random() < 0.1 else steps)()
            assert house.running <= MOST
        house.pressure.stop()
        begun += house.begun
    assert begun > 100 * MOST


async def test_an_overloaded_gateway_begins_no_more_than_its_rate_by_whatever_ways_they_come(
    built: Callable[[int], House],
) -> None:
    for seed in range(100):
        house, chance = built(1000), random.Random(seed)
        house.overload()
        steps = [house.question, house.door, house.begin, house.another, house.mistake, house.end]
        for _ in range(1000):
            house.passes(0.001)
            chance.choice(steps)()
        house.pressure.stop()
        # Without a look its rate is what it was; what had gathered at first is nothing.
        assert 1 <= house.begun <= LEAST + 1


async def test_who_is_turned_away_where_he_begins_is_none_of_those_who_were_answered(
    built: Callable[[int], House],
) -> None:
    """So many would be let in as were answered, and none was."""
    house = built(1)
    house.another()
    house.look(0.2)
    for _ in range(500):
        house.another()
    assert (house.begun, house.pressure.shed) == (1, 500)
    house.look(0.2)
    assert house.pressure.tight
    house.end()
    for _ in range(1000):
        house.passes(0.001)
        house.another()
        house.end()
    assert house.begun - 1 <= LEAST + 1
