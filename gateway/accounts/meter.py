"""How much one application used, in cells of whole numbers.

The cells are a list, or a row of memory that several workers share; the arithmetic is the same.

A window is cut in slots: whatever stands in the current one and in the SLOTS before it counts, so
in no stretch of its length more passes than it allows. Budgets go by UTC's days and months. What
runs holds what it may cost: that counts as spent until it is settled.
"""

from __future__ import annotations

import time
from typing import Protocol

from gateway.accounts import outcome
from gateway.accounts.app import App
from gateway.accounts.outcome import Outcome
from gateway.terms import Rate

SLOTS = 20
_RING = SLOTS + 1
# Of a window: its length, the number of its newest slot, the total, then the slots.
_LENGTH, _NEWEST, _TOTAL, _FIRST = 0, 1, 2, 3
_WINDOW = _FIRST + _RING
OWNER = 0
_REQUESTS = 1
_TOKENS = _REQUESTS + _WINDOW
# Of a span: its number, money, tokens.
_DAY = _TOKENS + _WINDOW
_MONTH = _DAY + 3
_HELD = _MONTH + 3
# Of a worker: requests that run, money and tokens that they hold.
_PER_WORKER = 3
DAY_S = 86_400


class Cells(Protocol):
    """A list of whole numbers, or memory cast to them."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, amount: int, /) -> None: ...

    def __len__(self) -> int: ...


def cells(workers: int) -> int:
    """How many a meter has."""
    return _HELD + workers * _PER_WORKER


class Meter:
    """One application. `row` is its cells; `worker` says whose requests these are."""

    __slots__ = ("_held", "_mine", "_row")

    def __init__(self, row: Cells, worker: int = 0) -> None:
        self._row = row
        self._mine = _HELD + worker * _PER_WORKER
        self._held = range(_HELD, len(row), _PER_WORKER)

    def admit(
        self, app: App, now: float, day: int, month: int, left_s: tuple[float, float]
    ) -> Outcome:
        """Counts a request in, or says why not. `now`: any clock in seconds; `left_s`: seconds
        to the end of the day and of the month."""
        row = self._row
        code, wait, left = self._spent(app, day, month, left_s)
        if code == outcome.OK and app.concurrency is not None:
            running = 0
            for held in self._held:
                running += row[held]
            if running >= app.concurrency:
                code, wait = outcome.CONCURRENCY, outcome.SOON_S
        used = reset = 0.0
        if app.requests is not None:
            slot = self._move(_REQUESTS, app.requests, now)
            if code == outcome.OK:
                if row[_REQUESTS + _TOTAL] + 1 > app.requests.count:
                    code = outcome.REQUESTS
                    wait = self._room(_REQUESTS, app.requests, now, 1)
                else:
                    self._add(_REQUESTS, slot, 1)
            used = row[_REQUESTS + _TOTAL]
            reset = self._reset(_REQUESTS, app.requests, now)
        if code == outcome.OK:
            row[self._mine] += 1
        tokens_used, tokens_reset = self._tokens(app, now)
        return Outcome(code, wait, int(used), reset, tokens_used, tokens_reset, left)

    def reserve(
        self,
        app: App,
        need: Need,
        now: float,
        day: int,
        month: int,
        left_s: tuple[float, float],
    ) -> Outcome:
        """Sets aside what a request may need, or says why not."""
        row = self._row
        self.turn(day, month)
        money = tokens = 0
        for held in self._held:
            money += row[held + 1]
            tokens += row[held + 2]
        code, wait, left, slot = outcome.OK, 0.0, 0, 0
        for which, limit, spent, holds, wanted, until in (
            (outcome.MONEY_DAY, app.budget_day, row[_DAY + 1], money, need.money, left_s[0]),
            (outcome.MONEY_MONTH, app.budget_month, row[_MONTH + 1], money, need.money, left_s[1]),
            (outcome.TOKENS_DAY, app.tokens_day, row[_DAY + 2], tokens, need.most, left_s[0]),
            (outcome.TOKENS_MONTH, app.tokens_month, row[_MONTH + 2], tokens, need.most, left_s[1]),
        ):
            if limit is None or spent + holds + wanted <= limit:
                continue
            left = max(0, limit - spent)
            if spent + wanted <= limit:
                code, wait = which + outcome.HELD, outcome.SOON_S
            else:
                code, wait = which, until
            break
        if app.tokens is not None:
            slot = self._move(_TOKENS, app.tokens, now)
            if code == outcome.OK:
                if row[_TOKENS + _TOTAL] + need.likely > app.tokens.count:
                    code = outcome.TOKENS
                    if need.likely > app.tokens.count:
                        code += outcome.TOO_LARGE
                    wait = self._room(_TOKENS, app.tokens, now, need.likely)
                else:
                    self._add(_TOKENS, slot, need.likely)
        if code == outcome.OK:
            row[self._mine + 1] += need.money
            row[self._mine + 2] += need.most
        used, reset = self._tokens(app, now)
        return Outcome(code, wait, 0, 0.0, used, reset, left, slot)

    def settle(
        self, app: App, need: Need | None, used: Need, slot: int, now: float, day: int, month: int
    ) -> None:
        """Ends a request: what it held is given back, what it `used` is spent."""
        row, mine = self._row, self._mine
        row[mine] -= 1
        if need is None:
            return
        row[mine + 1] -= need.money
        row[mine + 2] -= need.most
        self.turn(day, month)
        for span in (_DAY, _MONTH):
            row[span + 1] += used.money
            row[span + 2] += used.likely
        if app.tokens is not None:
            newest = self._move(_TOKENS, app.tokens, now)
            # What left the window meanwhile needs no correction.
            if newest - SLOTS <= slot <= newest:
                self._add(_TOKENS, slot, used.likely - need.likely)

    def remember(self, day: int, month: int, spent_day: Need, spent_month: Need) -> None:
        """What was spent before this process began."""
        row = self._row
        row[_DAY], row[_DAY + 1], row[_DAY + 2] = day, spent_day.money, spent_day.likely
        row[_MONTH], row[_MONTH + 1] = month, spent_month.money
        row[_MONTH + 2] = spent_month.likely

    def catch_up(self, day: int, month: int, spent_day: Need, spent_month: Need) -> None:
        """Others spent beside this process."""
        self.turn(day, month)
        row = self._row
        for span, spent in ((_DAY, spent_day), (_MONTH, spent_month)):
            row[span + 1] = max(row[span + 1], spent.money)
            row[span + 2] = max(row[span + 2], spent.likely)

    def bury(self) -> None:
        """The worker before this one died: what it held may have been spent, and counts so."""
        row, mine = self._row, self._mine
        for span in (_DAY, _MONTH):
            row[span + 1] += row[mine + 1]
            row[span + 2] += row[mine + 2]
        row[mine] = row[mine + 1] = row[mine + 2] = 0

    @property
    def running(self) -> int:
        return sum(self._row[held] for held in self._held)

    @property
    def spent(self) -> tuple[Need, Need]:
        """Of the day and of the month."""
        row = self._row
        return Need(row[_DAY + 1], 0, row[_DAY + 2]), Need(row[_MONTH + 1], 0, row[_MONTH + 2])

    def _spent(
        self, app: App, day: int, month: int, left_s: tuple[float, float]
    ) -> tuple[int, float, int]:
        """Whether a budget is used up already."""
        if not app.reserves:
            return outcome.OK, 0.0, 0
        row = self._row
        self.turn(day, month)
        for code, limit, spent, until in (
            (outcome.MONEY_DAY, app.budget_day, row[_DAY + 1], left_s[0]),
            (outcome.MONEY_MONTH, app.budget_month, row[_MONTH + 1], left_s[1]),
            (outcome.TOKENS_DAY, app.tokens_day, row[_DAY + 2], left_s[0]),
            (outcome.TOKENS_MONTH, app.tokens_month, row[_MONTH + 2], left_s[1]),
        ):
            if limit is not None and spent >= limit:
                return code, until, 0
        return outcome.OK, 0.0, 0

    def turn(self, day: int, month: int) -> None:
        """A new day or month begins with nothing spent. A clock that goes back a little must not
        give a budget anew."""
        row = self._row
        if day != row[_DAY] and day != row[_DAY] - 1:
            row[_DAY], row[_DAY + 1], row[_DAY + 2] = day, 0, 0
        if month != row[_MONTH] and month != row[_MONTH] - 1:
            row[_MONTH], row[_MONTH + 1], row[_MONTH + 2] = month, 0, 0

    def _move(self, at: int, rate: Rate, now: float) -> int:
        """Brings a window to `now`; the number of the current slot."""
        row = self._row
        number = int(now * SLOTS / rate.seconds)
        newest = row[at + _NEWEST]
        if number == newest and row[at + _LENGTH] == rate.seconds:
            return number
        if row[at + _LENGTH] != rate.seconds or not 0 <= number - newest <= SLOTS:
            if 0 < newest - number <= SLOTS and row[at + _LENGTH] == rate.seconds:
                return newest
            row[at + _LENGTH], row[at + _NEWEST], row[at + _TOTAL] = rate.seconds, number, 0
            for slot in range(at + _FIRST, at + _WINDOW):
                row[slot] = 0
            return number
        for passed in range(newest + 1, number + 1):
            slot = at + _FIRST + passed % _RING
            row[at + _TOTAL] -= row[slot]
            row[slot] = 0
        row[at + _NEWEST] = number
        return number

    def _add(self, at: int, slot: int, amount: int) -> None:
        self._row[at + _FIRST + slot % _RING] += amount
        self._row[at + _TOTAL] += amount

    def _room(self, at: int, rate: Rate, now: float, need: int) -> float:
        """Seconds until `need` more fits, as far as what stands there tells."""
        row = self._row
        excess = row[at + _TOTAL] + need - rate.count
        newest = row[at + _NEWEST]
        for number in range(newest - SLOTS, newest + 1):
            excess -= row[at + _FIRST + number % _RING]
            if excess <= 0:
                return self._leaves(number, rate, now)
        return float(rate.seconds)

    def _reset(self, at: int, rate: Rate, now: float) -> float:
        row = self._row
        newest = row[at + _NEWEST]
        if not row[at + _TOTAL]:
            return 0.0
        # The oldest is looked for from its end, as most windows are well used.
        for number in range(newest - SLOTS, newest + 1):
            if row[at + _FIRST + number % _RING]:
                return self._leaves(number, rate, now)
        return 0.0

    @staticmethod
    def _leaves(number: int, rate: Rate, now: float) -> float:
        return max(0.001, (number + _RING) * rate.seconds / SLOTS - now)

    def _tokens(self, app: App, now: float) -> tuple[int, float]:
        if app.tokens is None:
            return 0, 0.0
        self._move(_TOKENS, app.tokens, now)
        return self._row[_TOKENS + _TOTAL], self._reset(_TOKENS, app.tokens, now)


class Need:
    """`money` in nanos; `most`: tokens that it can be at most, `likely`: that it seems to be."""

    __slots__ = ("likely", "money", "most")

    def __init__(self, money: int, most: int, likely: int) -> None:
        self.money, self.most, self.likely = money, most, likely

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Need) and (self.money, self.most, self.likely) == (
            other.money,
            other.most,
            other.likely,
        )

    __hash__ = None  # type: ignore[assignment]


NOTHING = Need(0, 0, 0)


class Calendar:
    """UTC's days and months as numbers, and how long they last; looked up once a day."""

    def __init__(self) -> None:
        self._day = -1
        self._month = 0
        self._month_ends = 0.0

    def at(self, wall: float) -> tuple[int, int, tuple[float, float]]:
        """`wall`: seconds since 1970. The day, the month, and the seconds left of each."""
        day = int(wall // DAY_S)
        if day != self._day:
            told = time.gmtime(wall)
            self._day, self._month = day, told.tm_year * 12 + told.tm_mon - 1
            self._month_ends = float((day + _days_left(told)) * DAY_S)
        return day, self._month, ((day + 1) * DAY_S - wall, self._month_ends - wall)


def _days_left(told: time.struct_time) -> int:
    """Of the month, with today."""
    leap = told.tm_year % 4 == 0 and (told.tm_year % 100 != 0 or told.tm_year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return lengths[told.tm_mon - 1] - told.tm_mday + 1
