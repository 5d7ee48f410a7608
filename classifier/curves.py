"""Isotonic curves as arrays, and read without numpy's cost for a single number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Curve:
    """Straight lines between points, flat beyond the ends: what IsotonicRegression predicts."""

    __slots__ = ("_x", "_y")

    def __init__(self, x: list[float], y: list[float]) -> None:
        if not x or len(x) != len(y):
            raise ValueError("a curve needs points")
        self._x, self._y = x, y

    def __call__(self, at: float) -> float:
        x, y = self._x, self._y
        i = bisect_right(x, at)
        if i == 0:
            return y[0]
        if i == len(x):
            return y[-1]
        return y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1])


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
