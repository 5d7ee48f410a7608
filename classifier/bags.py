"""A bag of k-means: several clusterings of one set, of several sizes, and what each cluster gains.

Of each clustering a prompt hears those clusters that are about as near as the nearest, by a softmax
over half their squared distance. So a word more or less moves a little, where the nearest alone
would make it jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import truediv

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A cluster that is farther by this much of half the squared distance counts 1/e of the nearest.
SOFT = 0.02


@dataclass
class Bag:
    """Clusterings of the given sizes, one after the other: centres, and the value of each, about 0.

    For many prompts at once, as training needs it; `Clusters` serves the same numbers.
    """

    sizes: list[int]
    centres: NDArray[np.float32]
    values: Floats

    def predict(self, topics: NDArray[np.float32]) -> Floats:
        """The mean over the bag of what near clusters say, shape (n,); 0 without any."""
        if not self.sizes:
            return np.zeros(len(topics))
        far, starts = self._far(topics), _starts(self.sizes)
        nearest = np.repeat(np.minimum.reduceat(far, starts, axis=1), self.sizes, axis=1)
        weight = np.exp((nearest - far) / SOFT)
        said = np.add.reduceat(weight * self.values, starts, axis=1)
        said /= np.add.reduceat(weight, starts, axis=1)
        return np.asarray(said.mean(axis=1), dtype=float)

    def away(self, topics: NDArray[np.float32]) -> Floats:
        """The squared distance to the nearest centre, the mean over the bag; 1 without any."""
        if not self.sizes:
            return np.ones(len(topics))
        nearest = np.minimum.reduceat(self._far(topics), _starts(self.sizes), axis=1)
        return np.asarray(1.0 + 2.0 * nearest.mean(axis=1), dtype=float)

    def _far(self, topics: NDArray[np.float32]) -> Floats:
        """Half the squared distance to each centre, less a half."""
        return np.asarray(_half(self.centres)[None] - topics @ self.centres.T, dtype=float)


class Clusters:
    """A bag as it serves: one prompt at a time, in as few steps of numpy as there can be."""

    __slots__ = ("_centres", "_count", "_half", "_starts", "_values")

    def __init__(self, sizes: Sequence[int], centres: NDArray[np.float32], values: Floats) -> None:
        if sum(sizes) != len(centres) or len(values) != len(centres) or not len(sizes):
            raise ValueError("the clusters do not add up")
        # Distances come out in units of SOFT, so that they need no more scaling.
        self._centres = centres / np.float32(SOFT)
        self._half = _half(centres) / np.float32(SOFT)
        self._values = np.asarray(values, dtype=np.float32)
        self._starts = _starts(sizes)
        self._count = len(sizes)

    def value(self, topics: NDArray[np.float32]) -> tuple[float, float]:
        """What near clusters say, and the squared distance to the nearest; means over the bag."""
        near = self._centres.dot(topics)
        near -= self._half
        # Lengths are at most 1, so this is between -75 and 50 and its exponential a number.
        away = sum(np.maximum.reduceat(near, self._starts).tolist())
        weight = np.exp(near, out=near)
        whole = np.add.reduceat(weight, self._starts)
        weight *= self._values
        said = np.add.reduceat(weight, self._starts)
        heard = sum(map(truediv, said.tolist(), whole.tolist()))
        return heard / self._count, 1.0 - 2.0 * SOFT * away / self._count


def _starts(sizes: Sequence[int]) -> NDArray[np.intp]:
    """Where each clustering begins."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)


def _half(centres: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(((centres.astype(np.float64) ** 2).sum(axis=1) / 2.0).astype(np.float32))
