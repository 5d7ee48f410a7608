"""How well a router orders prompts: PGR curves, APGR, CPT, AUC, calibration error.

PGR(a) = (quality(a) - weak) / (strong - weak) at strong share a (RouteLLM, arXiv 2406.18665).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]


def shown(value: float | None, style: str = ".3f") -> str:
    """A figure as text; a dash where there is none."""
    return "-" if value is None or np.isnan(value) else format(value, style)


def recovered(need: Floats, small: Floats, strong: Floats) -> Floats:
    """PGR at 0, 1, ... n prompts to the strong model, the neediest first; nan without a gap."""
    gap = (strong - small)[np.argsort(-need, kind="stable")]
    if not gap.sum() > 0:
        return np.full(len(gap) + 1, np.nan)
    return np.asarray(np.concatenate(([0.0], np.cumsum(gap))) / gap.sum(), dtype=float)


def quality(need: Floats, small: Floats, strong: Floats, points: int) -> list[float]:
    """The mean score at `points` strong shares from 0 to 1, the neediest prompts first."""
    gap = (strong - small)[np.argsort(-need, kind="stable")]
    reached = np.concatenate(([0.0], np.cumsum(gap))) / len(gap) + small.mean()
    at = np.round(np.linspace(0, len(gap), points)).astype(int)
    return [round(float(value), 4) for value in reached[at]]


def apgr(need: Floats, small: Floats, strong: Floats) -> float:
    """The mean of PGR over the strong share; 0.5 is chance."""
    return float(recovered(need, small, strong).mean())


def cpt(need: Floats, small: Floats, strong: Floats, share: float) -> float:
    """The smallest strong share that recovers `share` of the gap, 0..1; chance needs `share`."""
    curve = recovered(need, small, strong)
    reached = np.flatnonzero(curve >= share)
    return float(reached[0] / (len(curve) - 1)) if reached.size else float("nan")


def auc(score: Floats, small: Floats) -> float:
    """How well the score tells prompts that the small model answers well; nan with one class."""
    well = small >= 0.5
    return float(roc_auc_score(well, score)) if 0 < well.sum() < len(well) else float("nan")


def calibration_error(score: Floats, small: Floats, bins: int = 10) -> float:
    """Mean distance of predicted and seen chance over bins of equal size, weighted by size."""
    parts = np.array_split(np.argsort(score, kind="stable"), bins)
    gaps = [abs(score[p].mean() - small[p].mean()) * len(p) for p in parts if p.size]
    return float(sum(gaps) / len(score))


def interval(
    measure: Callable[..., float], *columns: Floats, draws: int = 300, seed: int = 0
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a measure over prompts."""
    rng = np.random.default_rng(seed)
    n = len(columns[0])
    found = []
    for _ in range(draws):
        rows = rng.integers(0, n, n)
        found.append(measure(*(column[rows] for column in columns)))
    if np.isnan(found).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)


def paired(
    measure: Callable[..., float],
    ours: Floats,
    theirs: Floats,
    *columns: Floats,
    draws: int = 500,
    seed: int = 0,
) -> dict[str, float | None]:
    """The paired bootstrap of measure(ours) - measure(theirs): mean, 95 % interval, share below 0.

    Both see the same draws of prompts, so what makes a draw hard does not count.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        rows = rng.integers(0, len(ours), len(ours))
        rest = [column[rows] for column in columns]
        found.append(measure(ours[rows], *rest) - measure(theirs[rows], *rest))
    values = np.array(found)
    values = values[np.isfinite(values)]
    if not values.size:
        return {"mean": None, "low": None, "high": None, "worse": None}
    low, high = np.quantile(values, (0.025, 0.975))
    return {
        "mean": round(float(values.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "worse": round(float((values < 0).mean()), 4),
    }
