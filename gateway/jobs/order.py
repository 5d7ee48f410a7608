"""Slices of rank: how many wait before a rank is a sum of a few hundred counters at most."""

from __future__ import annotations

from collections.abc import Iterable

FINEST = 16
"""Slices of level 0 in a second."""
BITS = 6
"""A slice holds 64 of the level below."""
LEVELS = 4
"""Level 3: slices of 16384 s."""
ALL, TYPE = 4, 9
"""Levels of the sum of all, and of those of a type."""

Key = tuple[int, int, str]
"""Level, bucket, label."""


def slices(rank: float) -> list[int]:
    """Its bucket on each level, finest first."""
    finest = int(rank * FINEST)
    return [finest >> (BITS * level) for level in range(LEVELS)]


Move = tuple[float, str, int, int]
"""A job's rank and type; +1 or -1 among those who wait, and in the line: one that its
application's limit holds waits, and is in nobody's way."""


def changes(jobs: Iterable[Move]) -> list[tuple[Key, int]]:
    """What to add to which counter, in the one order in which counters are locked."""
    found: dict[Key, int] = {}
    for rank, kind, waits, lines in jobs:
        if waits:
            for key in ((ALL, 0, ""), (TYPE, 0, kind)):
                found[key] = found.get(key, 0) + waits
        if lines:
            for level, bucket in enumerate(slices(rank)):
                found[level, bucket, ""] = found.get((level, bucket, ""), 0) + lines
    return sorted(found.items(), key=lambda item: (-item[0][0], item[0][1], item[0][2]))
