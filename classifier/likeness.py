"""How far a prompt is from the form of a labelled set: its layout, not its subject.

The distance of its surface to the set's mean, in units of the set's spread, as a part of what 99 in
100 of the set's prompts keep within.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A spread that no number of a set's surface falls below, as part of its spread over all sets.
FLOOR = 0.1
USUAL = 0.99


@dataclass
class Likeness:
    """Of each set: the mean of its surface (k, s), 1 / spread (k, s), and how far is usual (k,)."""

    mean: Floats
    inverse: Floats
    limit: Floats

    def far(self, surface: Floats, who: NDArray[np.int64]) -> Floats:
        """How far rows of the scaled surface (n, s) are from the sets `who`; 1 is the limit."""
        units = (surface - self.mean[who]) * self.inverse[who]
        return np.asarray(np.sqrt((units * units).mean(axis=1)) / self.limit[who], dtype=float)


def fit_likeness(parts: list[Floats], scale: float) -> Likeness:
    """From the scaled surfaces of the sets' prompts; `scale` is the spread over all of them."""
    means, inverses, limits = [], [], []
    for surface in parts:
        mean = surface.mean(axis=0)
        inverse = 1.0 / np.sqrt(surface.var(axis=0) + (FLOOR * scale) ** 2)
        units = (surface - mean) * inverse
        means.append(mean)
        inverses.append(inverse)
        limits.append(float(np.quantile(np.sqrt((units * units).mean(axis=1)), USUAL)))
    return Likeness(np.array(means), np.array(inverses), np.array(limits))
