"""Whether a prompt has the form of a labelled set: its layout, not its subject.

The gate can only say which of the sets it knows a prompt is most like. It is as sure of questions
from elsewhere as of those that it learnt from, so a set's expert counts in full only for prompts
that look like the set's own: whose surface is no farther from the set's mean, in units of the set's
spread, than that of all but one in a hundred of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A spread that no number of a set's surface falls below, as part of its spread over all sets.
FLOOR = 0.1
USUAL = 0.99
# From so many limits on a prompt is not like the set at all.
FAR = 1.25


@dataclass
class Likeness:
    """Of each set: the mean of its surface (k, s), 1 / spread (k, s), and how far is usual (k,)."""

    mean: Floats
    inverse: Floats
    limit: Floats

    def of(self, surface: Floats, who: NDArray[np.int64]) -> Floats:
        """How alike rows of the scaled surface (n, s) are to the sets `who` (n,), 0..1."""
        units = (surface - self.mean[who]) * self.inverse[who]
        far = np.sqrt((units * units).mean(axis=1)) / self.limit[who]
        return np.asarray(np.clip((FAR - far) / (FAR - 1.0), 0.0, 1.0), dtype=float)


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
