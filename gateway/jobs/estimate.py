"""How long a wait will be: from the times that answers took, never from a constant.

`position` answers have to begin before a job's turn is over, on `slots` workers. The time to that
is a sum of service times, of which the samples give mean and spread by type; the quote's upper
end adds SURE spreads, and what the jobs that run now may still take, whose ages nobody knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SURE = 1.65
"""Standard deviations: 95 % of a normal sum, as service times have long tails."""
FIRST_GUESS_S = 10.0
"""Of an answer, while nobody was answered yet."""
HALF = 10
"""Samples of its own that a type needs to count by half; the rest is what all types took."""
QUANTILE = 0.9
SWEEP_S = 1.0
"""Until a job that may be asked again is seen."""
Pace = tuple[int, float]
"""How many requests an application's limit lets through in so many seconds."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Seconds. The wait is likely between both, and seldom above `high`."""

    low: float
    high: float

    def held(self, left_s: float, before: int, pace: Pace) -> Quote:
        """The same wait, begun when a limit lets go: `before` others are let through first."""
        count, seconds = pace
        # All of a window may be free when its first request leaves it, or when its last does.
        first = left_s + before // count * seconds
        last = left_s + math.ceil(before / count) * seconds
        return Quote(first + self.low, last + self.high + SWEEP_S)

    @property
    def words(self) -> str:
        """As seed 002 writes it: "2-3 minutes"."""
        if self.high < 90:
            return _range(math.floor(self.low), math.ceil(self.high), "second")
        if self.high < 5400:
            return _range(math.floor(self.low / 60), math.ceil(self.high / 60), "minute")
        return _range(math.floor(self.low / 3600), math.ceil(self.high / 3600), "hour")


def _range(low: int, high: int, unit: str) -> str:
    if high < 1:
        return f"less than 1 {unit}"
    if low >= high:
        return f"{high} {unit}{'' if high == 1 else 's'}"
    if low < 1:
        return f"less than {high} {unit}{'' if high == 1 else 's'}"
    return f"{low}-{high} {unit}s"


@dataclass(frozen=True, slots=True)
class _Times:
    mean: float
    variance: float
    high: float
    """A quantile of one answer."""


class Estimator:
    """`samples`: (type, seconds) of the last answers."""

    def __init__(self, samples: Sequence[tuple[str, float]] = ()) -> None:
        by_type: dict[str, list[float]] = {}
        for kind, seconds in samples:
            by_type.setdefault(kind, []).append(max(0.0, seconds))
        every = [seconds for _, seconds in samples]
        self._samples = max(1, len(every))
        self._all = _times(every) if every else _guess()
        self._by_type = {
            kind: _mixed(_times(values), self._all, len(values)) for kind, values in by_type.items()
        }

    def service(self, kind: str) -> float:
        """Mean seconds of one answer of this type."""
        return self._by_type.get(kind, self._all).mean

    def answer(self, kind: str) -> float:
        """Seconds that nine of ten answers of this type stay under."""
        return self._by_type.get(kind, self._all).high

    def mean(self, types: Mapping[str, int]) -> float:
        """Mean seconds of an answer of this mix."""
        return self._of_mix(types).mean

    def wait(self, position: int, slots: int, types: Mapping[str, int], *, idle: int = 0) -> Quote:
        """For the one at `position` (1 is next), of a queue with so many of each type, before
        `slots` workers of which `idle` have nothing to do."""
        slots = max(1, slots)
        if position <= idle:
            return Quote(0.0, 1.0)
        ahead = position - idle
        times = self._of_mix(types)
        mean = times.mean * ahead / slots
        # Chance in the answers ahead, and in the few samples that stand for all of them.
        chance = max(ahead, slots) + ahead**2 / self._samples
        spread = math.sqrt(times.variance * chance) / slots
        # The first to end is somewhere within its own time, and all may have begun together.
        rest = times.high / slots if ahead >= slots else times.high * (1 - ahead / slots)
        low = max(0.0, mean - times.mean / slots - spread)
        return Quote(low, mean + SURE * spread + rest)

    def _of_mix(self, types: Mapping[str, int]) -> _Times:
        total = sum(types.values())
        if not total:
            return self._all
        parts = [
            (count / total, self._by_type.get(kind, self._all)) for kind, count in types.items()
        ]
        mean = sum(share * part.mean for share, part in parts)
        square = sum(share * (part.variance + part.mean**2) for share, part in parts)
        return _Times(mean, max(0.0, square - mean**2), max(part.high for _, part in parts))


def _guess() -> _Times:
    return _Times(FIRST_GUESS_S, FIRST_GUESS_S**2, 2 * FIRST_GUESS_S)


def _times(values: Sequence[float]) -> _Times:
    count = len(values)
    mean = sum(values) / count
    variance = sum((value - mean) ** 2 for value in values) / max(1, count - 1)
    if count < HALF:
        # A few samples say little of a spread.
        variance = max(variance, (mean / 2) ** 2)
    ordered = sorted(values)
    high = ordered[min(count - 1, math.ceil(QUANTILE * count) - 1 if count >= HALF else count)]
    return _Times(mean, variance, max(high, mean))


def _mixed(own: _Times, every: _Times, count: int) -> _Times:
    share = count / (count + HALF)
    return _Times(
        share * own.mean + (1 - share) * every.mean,
        share * own.variance + (1 - share) * every.variance,
        share * own.high + (1 - share) * every.high,
    )
