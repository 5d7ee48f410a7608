"""Counts of the last minute by the second, and of the last minutes by five, in bounded memory.

Times are kept in bins that grow by 8 %, so that a percentile is right to 4 % whatever the load.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeVar

from chat.request import Json

T = TypeVar("T")

WINDOW_S = 60
POINT_S = 5
POINTS = 120
GROWTH = math.log(1.08)
LEAST = -60
"""The bin of everything below 0.01 ms."""
BOUNDS = tuple(math.exp(GROWTH * (LEAST + 1 + number)) for number in range(330))
"""Milliseconds: where each bin but the first begins, up to twelve days. A place in a table is
cheaper than a logarithm."""
MOST_TARGETS = 200
"""Told apart in one second; callers can name any model."""

WELL = frozenset(("", "finished", "cancelled", "kept"))
"""Outcomes of attempts that are no error of the target's."""

Bins = Counter[int]


class Seen(NamedTuple):
    """What is counted of one request. `at`: the second in which it ended; `line`: the tier, or
    the route that has none; `first` and `total` are bins."""

    at: int
    failed: bool
    cancelled: bool
    input_tokens: int
    output_tokens: int
    first: int | None
    total: int | None
    line: str
    target: str
    failed_before: Sequence[str] = ()
    """Targets that failed it before that one had it."""


def failed_before(tried: Iterable[tuple[str, str]], target: str) -> Sequence[str]:
    """Of all attempts of a request, targets and outcomes: where it failed unseen, each once."""
    return tuple(
        dict.fromkeys(name for name, outcome in tried if name != target and outcome not in WELL)
    )


def seen_of_row(row: dict[str, Json]) -> Seen:
    """A row that another process sent."""
    return Seen(
        int(row["at"]),
        row["outcome"] == "failed",
        row["outcome"] == "cancelled",
        row.get("input_tokens") or 0,
        row.get("output_tokens") or 0,
        bin_of(row.get("first_token_ms")),
        bin_of(row.get("total_ms")),
        (row["tier"] or row["route"]) if row["route"] else "",
        row["target"] or "",
        failed_before(
            ((one["target"], one["outcome"]) for one in row.get("attempts") or ()),
            row["target"] or "",
        ),
    )


@dataclass(slots=True)
class Tally:
    """What ended in one stretch of time."""

    at: int
    requests: int = 0
    errors: int = 0
    cancelled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first: Bins = field(default_factory=Counter)
    total: Bins = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    targets: dict[str, TargetTally] = field(default_factory=dict)
    most_targets: int = MOST_TARGETS

    def add(self, some: Iterable[Seen]) -> None:
        """Column by column: one by one it was 141 steps of the interpreter for each."""
        columns = tuple(zip(*some, strict=True))
        if not columns:
            return
        _, failed, cancelled, came, went, first, total, lines, targets, before = columns
        self.requests += len(failed)
        self.errors += sum(failed)
        self.cancelled += sum(cancelled)
        self.input_tokens += sum(came)
        self.output_tokens += sum(went)
        _count(self.first, first)
        _count(self.total, total)
        _count(self.tiers, lines)
        for (name, how, when), count in Counter(zip(targets, failed, first, strict=True)).items():
            target = self.targets.get(name) or self._new(name)
            if target is not None:
                target.requests += count
                target.errors += how and count
                if when is not None:
                    target.first[when] += count
        for name in chain.from_iterable(before):
            target = self.targets.get(name) or self._new(name)
            if target is not None:
                target.requests += 1
                target.errors += 1

    def _new(self, name: str) -> TargetTally | None:
        """None for no target, and where there is no room for more."""
        if not name or len(self.targets) >= self.most_targets:
            return None
        found = self.targets[name] = TargetTally()
        return found

    def merge(self, other: Tally) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.cancelled += other.cancelled
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.first.update(other.first)
        self.total.update(other.total)
        self.tiers.update(other.tiers)
        for name, target in other.targets.items():
            mine = self.targets.get(name)
            if mine is None:
                if len(self.targets) >= self.most_targets:
                    return
                mine = self.targets[name] = TargetTally()
            mine.merge(target)


@dataclass(slots=True)
class Point:
    """What is shown of a stretch that is over. It is kept for ten minutes, so it holds no more."""

    at: int
    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first: Bins = field(default_factory=Counter)

    def merge(self, other: Tally | Point) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.first.update(other.first)


def _count(into: Counter[T], values: Iterable[T | None]) -> None:
    """None and "" are nothing to count."""
    found = Counter(values)
    for value, count in found.items():
        if value is not None and value != "":
            into[value] += count


@dataclass(slots=True)
class TargetTally:
    requests: int = 0
    errors: int = 0
    first: Bins = field(default_factory=Counter)

    def merge(self, other: TargetTally) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.first.update(other.first)


class Window:
    """Of all callers, or of one. `targets`: whether they are told apart, too."""

    def __init__(self, since: float, targets: bool = True) -> None:
        self.since = since
        self._most_targets = MOST_TARGETS if targets else 0
        self.requests = self.errors = self.cancelled = 0
        self.input_tokens = self.output_tokens = 0
        self._seconds: deque[Tally] = deque()
        self._points: deque[Point] = deque(maxlen=POINTS)

    def add(self, tally: Tally) -> None:
        """What ended in one second, or in a part of it."""
        self.requests += tally.requests
        self.errors += tally.errors
        self.cancelled += tally.cancelled
        self.input_tokens += tally.input_tokens
        self.output_tokens += tally.output_tokens
        seconds, at = self._seconds, tally.at
        if seconds and seconds[-1].at > at:
            # Of another process, and late: its second is closed.
            min(seconds, key=lambda one: abs(one.at - at)).merge(tally)
            self._point(at).merge(tally)
            return
        if not seconds or seconds[-1].at < at:
            self._close()
            seconds.append(Tally(at, most_targets=self._most_targets))
            self._forget(at)
        seconds[-1].merge(tally)

    def _close(self) -> None:
        """The second that ends goes into its point: one sum instead of two for each request."""
        if self._seconds:
            last = self._seconds[-1]
            self._point(last.at).merge(last)

    def _point(self, second: int) -> Point:
        """The one of that time; another process's row may be a little late."""
        at, points = second - second % POINT_S, self._points
        if not points or points[-1].at < at:
            points.append(Point(at))
        if points[-1].at == at:
            return points[-1]
        return min(points, key=lambda point: abs(point.at - at))

    def totals(self) -> dict[str, Json]:
        return {
            "since": self.since,
            "requests": self.requests,
            "errors": self.errors,
            "cancelled": self.cancelled,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }

    def last(self, now: float) -> Tally:
        """Everything of the last minute."""
        whole = Tally(int(now))
        self._forget(int(now))
        for tally in self._seconds:
            whole.merge(tally)
        return whole

    def points(self, now: float) -> list[dict[str, Json]]:
        """Oldest first, without a gap in the last ten minutes."""
        newest = int(now) - int(now) % POINT_S
        known = {point.at: point for point in self._points}
        if self._seconds:
            last = self._seconds[-1]
            at = last.at - last.at % POINT_S
            known[at] = _sum(known.get(at), last)
        first = max(newest - POINT_S * (POINTS - 1), int(self.since) - int(self.since) % POINT_S)
        return [_shown(known.get(at) or Point(at)) for at in range(first, newest + 1, POINT_S)]

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0].at <= now - WINDOW_S:
            self._seconds.popleft()


def percentiles(bins: Bins) -> dict[str, Json]:
    return {
        "p50": percentile(bins, 0.5),
        "p95": percentile(bins, 0.95),
        "p99": percentile(bins, 0.99),
        "count": bins.total(),
    }


def percentile(bins: Bins, share: float) -> float | None:
    """Milliseconds; None of nothing."""
    left = share * bins.total()
    for number in sorted(bins):
        left -= bins[number]
        if left <= 0:
            return round(math.exp((number + 0.5) * GROWTH), 1)
    return None


def _shown(point: Point) -> dict[str, Json]:
    return {
        "at": point.at,
        "requests": point.requests,
        "errors": point.errors,
        "input_tokens": point.input_tokens,
        "output_tokens": point.output_tokens,
        "first_token_p50_ms": percentile(point.first, 0.5),
        "first_token_p95_ms": percentile(point.first, 0.95),
    }


def _sum(point: Point | None, last: Tally) -> Point:
    """A point with the second that is not in it yet."""
    whole = Point(last.at)
    if point is not None:
        whole.merge(point)
    whole.merge(last)
    return whole


def bin_of(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else LEAST + bisect_right(BOUNDS, milliseconds)
