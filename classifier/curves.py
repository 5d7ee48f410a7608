"""Isotonic curves as arrays, and read without numpy's cost for a single number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Curve:
    """Straight lines between points, flat beyond the ends: what IsotonicRegression predicts."""

    __slots__ = ("_lines", "_x")

    def __init__(self, x: list[float], y: list[float]) -> None:
        if not x or len(x) != len(y):
            raise ValueError("a curve needs points")
        self._x = x
        # Where each line begins and how steep it is, also of the flat ones before and behind.
        steep = [
            (up - down) / (right - left) if right > left else 0.0
            for left, right, down, up in zip(x, x[1:], y, y[1:], strict=False)
        ]
        self._lines = [(x[0], y[0], 0.0), *zip(x, y, [*steep, 0.0], strict=True)]

    def __call__(self, at: float) -> float:
        x, y, steep = self._lines[bisect_right(self._x, at)]
        return y + steep * (at - x)


def curves_in(arrays: Mapping[str, NDArray[Any]], name: str, count: int) -> list[Curve]:
    """The curves that `arrays_of` wrote under a name; ValueError if they are not `count`."""
    ends = arrays[f"{name}_ends"]
    x, y = arrays[f"{name}_x"], arrays[f"{name}_y"]
    if len(ends) != count or not len(ends) or int(ends[-1]) != len(x) or len(x) != len(y):
        raise ValueError(f"there are not {count} curves {name!r}")
    starts = [0, *ends[:-1].tolist()]
    return [
        Curve(x[start:end].tolist(), y[start:end].tolist())
        for start, end in zip(starts, ends.tolist(), strict=True)
    ]


def arrays_of(name: str, fitted: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """The points of fitted IsotonicRegressions, one after the other."""
    return {
        f"{name}_x": np.concatenate([c.X_thresholds_ for c in fitted]).astype(np.float64),
        f"{name}_y": np.concatenate([c.y_thresholds_ for c in fitted]).astype(np.float64),
        f"{name}_ends": np.cumsum([len(c.X_thresholds_) for c in fitted]),
    }
