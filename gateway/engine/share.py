"""The share asked for is the share given, whatever the traffic.

The classifier's percentiles are those of its own reference prompts; a route's traffic is another.
So a route ranks each score among its last ones (the card's percentile stands in while they are
few), and what was given too much or too little moves the line until it is made up for. Nothing is
kept but scores and one sum.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable

WINDOW = 200
"""Scores among which one is ranked."""
PRIOR = 40
"""Scores that the card's percentile weighs as much as, at first."""
STIFFNESS = 16.0
"""Decisions too many that move the line by the whole range; more are never made up for."""


class LiveShare:
    def __init__(self, toss: Callable[[], float] = random.random) -> None:
        self._toss = toss
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._sorted: list[float] = []
        self._debt = 0.0

    def rank(self, score: float, percentile: float | None) -> float:
        """Share of the traffic that scores lower, 0..1; equal scores in the order of a toss."""
        low = bisect_left(self._sorted, score)
        equal = bisect_right(self._sorted, score) - low
        seen = len(self._sorted)
        below = low + self._toss() * equal
        weight = 0.0 if percentile is None else PRIOR * max(0.0, 1 - seen / WINDOW)
        if weight + seen == 0:
            return self._toss()
        return (below + weight * (percentile or 0.0)) / (seen + weight)

    def is_strong(self, rank: float, share: float) -> bool:
        """Whether the hardest `share` has this one. 0 and 1 are exact."""
        if share in (0.0, 1.0):
            return share == 1.0
        return rank < share + self._debt / STIFFNESS

    def add(self, score: float, share: float, *, strong: bool) -> None:
        """What was decided at last."""
        if len(self._recent) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._recent[0])]
        self._recent.append(score)
        insort(self._sorted, score)
        self._debt = min(max(self._debt + share - strong, -STIFFNESS), STIFFNESS)
