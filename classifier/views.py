"""How learners look at a row of features: surface, words, and topics.

Topics are the words' strongest directions, each brought to the same spread (whitening), at length
1. Clusters of topics tell subjects apart where clusters of words mostly tell how common the words
are; and a centre of 96 numbers costs less than half of one of 256.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

Floats = NDArray[np.float64]

TOPICS = 96


@dataclass
class Views:
    """surfaces: how many columns, the first, are surface; topics: words @ turn - at, length 1."""

    surfaces: int
    turn: NDArray[np.float32]
    at: NDArray[np.float32]

    def surface(self, seen: Floats) -> Floats:
        """The columns of the surface."""
        return seen[:, : self.surfaces]

    def topics(self, seen: Floats) -> NDArray[np.float32]:
        """(n, TOPICS), each row of length 1."""
        raw = seen[:, self.surfaces :].astype(np.float32) @ self.turn - self.at
        return np.asarray(raw / (np.linalg.norm(raw, axis=1, keepdims=True) + np.float32(1e-9)))


def fit_views(seen: Floats, surfaces: int) -> Views:
    """The directions of many prompts' words; single precision, for so they serve."""
    words = seen[:, surfaces:]
    count = min(TOPICS, *words.shape)
    found = PCA(count, svd_solver="covariance_eigh").fit(words)
    turn = (found.components_ / np.sqrt(found.explained_variance_ + 1e-12)[:, None]).T
    return Views(surfaces, turn.astype(np.float32), (found.mean_ @ turn).astype(np.float32))
