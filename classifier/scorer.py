"""The fast scorer: the fitted numbers of a `Model`, served with numpy alone.

Most of what a scikit-learn call on one prompt costs is its own checks. The arrays here come from
the fitted estimators, travel in `model.npz` (no pickle), and give the same score to 1e-6.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import features
from classifier.embedding import Embedding
from classifier.features import Features

# These are those of `classifier.model`, which serving must not import: it needs scikit-learn.
SURFACE_SCALE = 0.15
CLUSTER_SCALE = 0.03
CLIP = 4.0
LEVEL = 2
TIE_BREAK = 0.004
FORMS = (2, 6)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model says of one prompt. `score` is the small model's chance, 0..1."""

    score: float
    domain: str
    domain_probability: float
    out_of_distribution: bool


class Scorer:
    """Scores one prompt at a time; immutable, safe to share between threads."""

    def __init__(self, arrays: Arrays, embedding: Embedding) -> None:
        self._embedding = embedding
        self._mean = arrays["surface_mean"]
        self._inverse = 1.0 / arrays["surface_spread"]
        self._rarity = arrays["rarity"]
        self._dense = arrays["dense_coefficients"]
        self._dense_intercept = arrays["dense_intercept"]
        self._centres = arrays["centres"]
        self._half_norms = arrays["centre_half_norms"]
        self._feature = arrays["tree_feature"]
        self._threshold = arrays["tree_threshold"]
        self._children = arrays["tree_children"]
        self._leaf = arrays["tree_value"]
        self._roots = arrays["tree_roots"]
        self._depth = int(arrays["tree_depth"])
        self._baseline = arrays["tree_baseline"]
        self._offset = arrays["blend_offset"]
        self._spread = arrays["blend_spread"]
        self._shares = arrays["blend_shares"]
        self._levels = [float(level) for level in arrays["levels"]]
        ends = arrays["calibration_ends"][:-1].tolist()
        self._curves = list(
            zip(
                np.split(arrays["calibration_x"], ends),
                np.split(arrays["calibration_y"], ends),
                strict=True,
            )
        )
        self._far = float(arrays["far"])
        self._kinds = [str(name) for name in arrays["domains"]]
        self._targets = len(self._baseline)

    def __call__(self, text: str) -> Scored:
        """Score one prompt of any length and any script."""
        return self.features(features.extract(text, self._embedding))

    def features(self, x: Features) -> Scored:
        """Score a prompt whose features are known."""
        standard = np.minimum(np.maximum((x.surface - self._mean) * self._inverse, -CLIP), CLIP)
        seen = np.concatenate((standard * SURFACE_SCALE, x.meaning, self._salient(x)))
        heads = seen @ self._dense + self._dense_intercept
        targets = self._targets
        near = x.options >= 2
        asked = [0 if near else 1, LEVEL]
        answers = np.stack(
            [heads[:targets][asked], heads[targets : 2 * targets][asked], self._trees(x, asked)]
        )
        units = (answers - self._offset[:, asked]) / self._spread[:, asked]
        blended = (units * self._shares[:, asked]).sum(axis=0)
        need = float(blended[0] + self._levels[0 if near else 1] * blended[1])
        probability = float(np.interp(-need, *self._curves[bisect_right(FORMS, x.options)]))
        score = (1.0 - TIE_BREAK) * probability + TIE_BREAK / (1.0 + math.exp(min(need, 700.0)))
        logits = heads[2 * targets :]
        likely = np.exp(logits - logits.max())
        kind = int(likely.argmax())
        return Scored(
            score,
            self._kinds[kind],
            float(likely[kind] / likely.sum()),
            self._distance(x, standard) > self._far,
        )

    def _salient(self, x: Features) -> NDArray[np.float32]:
        """The place in the embedding with rare tokens counted more; length 1 or 0."""
        total = (self._rarity.take(x.rows) * x.weights) @ self._embedding.table.take(x.rows, axis=0)
        return np.asarray(total / (np.sqrt(total @ total) + 1e-9), dtype=np.float32)

    def _distance(self, x: Features, standard: NDArray[np.float64]) -> float:
        """The distance to the nearest centre."""
        place = np.concatenate((x.meaning, (standard * CLUSTER_SCALE).astype(np.float32)))
        squared = 2.0 * float((self._half_norms - self._centres @ place).min())
        return math.sqrt(max(squared + float(place @ place), 0.0))

    def _trees(self, x: Features, asked: list[int]) -> NDArray[np.float64]:
        """Sums over all trees of the targets at once: a leaf's children are itself."""
        surface = x.surface
        node = self._roots[asked]
        for _ in range(self._depth):
            right = surface.take(self._feature.take(node)) > self._threshold.take(node)
            node = self._children.take(2 * node + right)
        total = self._leaf.take(node).sum(axis=1) + self._baseline[asked]
        return np.asarray(total, dtype=np.float64)


def arrays_of(model: Any, shares: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """The numbers of a fitted `classifier.model.Model`, as the scorer wants them."""
    learners = model.learners
    centres = model.clusters.cluster_centers_.astype(np.float32)
    feature, threshold, children, value, roots, deepest = _flat_trees(learners.trees)
    wide = centres.astype(np.float64)
    curves = model.calibrators
    dense = np.stack([head.coef_ for head in learners.dense])
    plain = np.zeros_like(dense)
    plain[:, : len(learners.scale.mean)] = [head.coef_ for head in learners.surface]
    heads = [*learners.dense, *learners.surface]
    return {
        "surface_mean": learners.scale.mean,
        "surface_spread": learners.scale.spread,
        "rarity": learners.scale.rarity,
        "dense_coefficients": np.vstack([dense, plain, model.domain.coef_]).T.copy(),
        "dense_intercept": np.concatenate(
            [[float(head.intercept_) for head in heads], model.domain.intercept_]
        ),
        "centres": centres,
        "centre_half_norms": ((wide * wide).sum(axis=1) / 2.0).astype(np.float32),
        "tree_feature": feature,
        "tree_threshold": threshold,
        "tree_children": children,
        "tree_value": value,
        "tree_roots": roots,
        "tree_depth": np.array(deepest),
        "tree_baseline": np.array([float(t._baseline_prediction.item()) for t in learners.trees]),
        "blend_offset": model.offset,
        "blend_spread": model.spread,
        "calibration_x": np.concatenate([c.X_thresholds_ for c in curves]).astype(np.float64),
        "calibration_y": np.concatenate([c.y_thresholds_ for c in curves]).astype(np.float64),
        "calibration_ends": np.cumsum([len(c.X_thresholds_) for c in curves]),
        "far": np.array(model.far),
        "blend_shares": shares,
        "levels": np.array(model.levels),
        "domains": np.array(model.domain.classes_, dtype=np.str_),
    }


def _flat_trees(forests: list[Any]) -> tuple[NDArray[Any], ...]:
    """All nodes of all trees in one row of arrays; `roots` has one row a question."""
    feature: list[int] = []
    threshold: list[float] = []
    children: list[int] = []
    value: list[float] = []
    roots: list[list[int]] = []
    deepest = 0
    for forest in forests:
        starts = []
        for (tree,) in forest._predictors:
            start = len(feature)
            starts.append(start)
            for place, node in enumerate(tree.nodes):
                here, leaf = start + place, bool(node["is_leaf"])
                feature.append(0 if leaf else int(node["feature_idx"]))
                threshold.append(np.inf if leaf else float(node["num_threshold"]))
                left, right = (here, here) if leaf else (int(node["left"]), int(node["right"]))
                children.extend((left, right) if leaf else (start + left, start + right))
                value.append(float(node["value"]) if leaf else 0.0)
                deepest = max(deepest, int(node["depth"]))
        roots.append(starts)
    return (
        np.array(feature),
        np.array(threshold),
        np.array(children),
        np.array(value),
        np.array(roots),
        np.array(deepest),
    )
