"""What a person's own labels add to a score, served with numpy alone.

Near the prompts that were labelled, an expert of their own who also hears the prior counts; far
from them nothing changes. Near means: no farther from one of their centres than any of them is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.bags import Clusters
from classifier.curves import curves_in

# From this many radii on a prompt is far from the labelled ones; within one radius it is near.
FAR = 1.25
# The chance of being one of them, among everyday prompts, from which on that begins to count, and
# from which it counts in full.
LIKELY = (0.1, 0.3)


@dataclass(frozen=True, slots=True)
class Judged:
    """A score 0..1, a gain -1..1 and the need that both came from."""

    score: float
    gain: float
    need: float


class AdapterScorer:
    """The fitted numbers of a `classifier.adapter.Adapter`."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._head = arrays["own_head"]
        self._intercept = float(arrays["own_intercept"])
        self._prior = float(arrays["own_prior"])
        sizes = [int(n) for n in arrays["own_sizes"]]
        centres = arrays["own_centres"].astype(np.float32)
        if sum(sizes) != len(centres):
            raise ValueError("the clusters of the own labels do not add up")
        self._bag = Clusters(sizes, centres, arrays["own_values"]) if len(centres) else None
        self._radius = float(arrays["own_radius"])
        self._near = arrays["own_near"].astype(np.float32)
        self._near_half = ((self._near.astype(np.float64) ** 2).sum(axis=1) / 2).astype(np.float32)
        self._gate = arrays["own_gate"]
        self._gate_intercept = float(arrays["own_gate_intercept"])
        if len(self._gate) != len(self._head) or self._near.shape[1] != len(self._head):
            raise ValueError("the own labels' places do not fit the features")
        self._small = curves_in(arrays, "own_small", 1)[0]
        self._gain = curves_in(arrays, "own_gain", 1)[0]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> AdapterScorer | None:
        """The adapter in an artefact's arrays, if there is one."""
        return cls(arrays) if "own_head" in arrays else None

    def nearness(self, seen: NDArray[np.float64]) -> float:
        """1 within a radius of the labelled prompts and like them; 0 far off, or unlike them."""
        logit = float(self._gate @ seen) + self._gate_intercept
        likely = 1.0 / (1.0 + math.exp(-min(max(logit, -700.0), 700.0)))
        alike = min(max((likely - LIKELY[0]) / (LIKELY[1] - LIKELY[0]), 0.0), 1.0)
        if alike == 0.0:
            return 0.0
        at = seen.astype(np.float32)
        squared = 2.0 * float((self._near_half - self._near @ at).min()) + float(at @ at)
        away = math.sqrt(max(squared, 0.0)) / self._radius
        return min(max((FAR - away) / (FAR - 1.0), 0.0), 1.0, alike)

    def judge(
        self,
        seen: NDArray[np.float64],
        topics: NDArray[np.float32],
        score: float,
        gain: float,
    ) -> Judged | None:
        """The prior's word and the own labels', by how near the prompt is; None if it is far."""
        near = self.nearness(seen)
        if near == 0.0:
            return None
        need = float(self._head @ seen) + self._intercept
        need += self._prior * gain
        if self._bag is not None:
            need += self._bag.value(topics)[0]
        return Judged(
            score + near * (self._small(-need) - score),
            gain + near * (self._gain(need) - gain),
            need,
        )
