"""The fast scorer: the fitted numbers of a `Model`, served with numpy alone.

Most of what a scikit-learn call on one prompt costs is its own checks. The arrays here come from
the fitted estimators, travel in `model.npz` (no pickle), and give the same score to 1e-6.
"""

from __future__ import annotations

import math
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
        self._dense = arrays["dense_coefficients"]
        self._dense_intercept = arrays["dense_intercept"]
        self._sparse = arrays["sparse_coefficients"]
        self._sparse_intercept = arrays["sparse_intercept"]
        self._centres = arrays["centres"]
        self._half_norms = arrays["centre_half_norms"]
        self._starts = arrays["bag_starts"]
        self._ends = [*self._starts[1:].tolist(), len(self._centres)]
        self._bags = list(zip(self._starts.tolist(), self._ends, strict=True))
        self._values = arrays["centre_values"]
        self._feature = arrays["tree_feature"]
        self._threshold = arrays["tree_threshold"]
        self._children = arrays["tree_children"]
        self._leaf = arrays["tree_value"]
        self._roots = arrays["tree_roots"]
        self._depth = int(arrays["tree_depth"])
        self._baseline = arrays["tree_baseline"]
        self._offset = arrays["blend_offset"]
        self._spread = arrays["blend_spread"]
        self._level_weight = float(arrays["level_weight"])
        self._calibration = (arrays["calibration_x"], arrays["calibration_y"])
        self._far = float(arrays["far"])
        self._kinds = [str(name) for name in arrays["domains"]]
        self._questions = int(self._sparse_intercept.size)

    def __call__(self, text: str) -> Scored:
        """Score one prompt of any length and any script."""
        return self.features(features.extract(text, self._embedding))

    def features(self, x: Features) -> Scored:
        """Score a prompt whose features are known."""
        standard = np.minimum(np.maximum((x.surface - self._mean) * self._inverse, -CLIP), CLIP)
        dense = (
            np.concatenate((standard * SURFACE_SCALE, x.meaning)) @ self._dense
            + self._dense_intercept
        )
        questions = self._questions
        place = np.concatenate((x.meaning, (standard * CLUSTER_SCALE).astype(np.float32)))
        clusters, distance = self._clusters(place)
        asked = [0 if x.options >= 2 else 1, LEVEL]
        answers = np.stack(
            [
                dense[asked],
                (x.weights @ self._sparse.take(x.rows, axis=0) + self._sparse_intercept)[asked],
                clusters[asked],
                self._trees(x.surface, asked),
            ]
        )
        blended = ((answers - self._offset[:, asked]) / self._spread[:, asked]).mean(axis=0)
        need = float(blended[0] + self._level_weight * blended[1])
        probability = float(np.interp(-need, *self._calibration))
        score = (1.0 - TIE_BREAK) * probability + TIE_BREAK / (1.0 + math.exp(min(need, 700.0)))
        logits = dense[questions:]
        likely = np.exp(logits - logits.max())
        kind = int(likely.argmax())
        return Scored(
            score,
            self._kinds[kind],
            float(likely[kind] / likely.sum()),
            distance > self._far,
        )

    def _clusters(self, place: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
        """Mean of the nearest centres' values over the bags; distance in the finest bag."""
        away = self._half_norms - self._centres @ place
        nearest = [start + int(away[start:end].argmin()) for start, end in self._bags]
        squared = 2.0 * float(away[nearest[-1]]) + float(place @ place)
        return self._values[nearest].mean(axis=0), math.sqrt(max(squared, 0.0))

    def _trees(self, surface: NDArray[np.float64], asked: list[int]) -> NDArray[np.float64]:
        """Sums over all trees of the questions at once: a leaf's children are itself."""
        node = self._roots[asked]
        for _ in range(self._depth):
            right = surface.take(self._feature.take(node)) > self._threshold.take(node)
            node = self._children.take(2 * node + right)
        total = self._leaf.take(node).sum(axis=1) + self._baseline[asked]
        return np.asarray(total, dtype=np.float64)


def arrays_of(model: Any) -> dict[str, NDArray[Any]]:
    """The numbers of a fitted `classifier.model.Model`, as the scorer wants them."""
    learners = model.learners
    centres = np.concatenate([bag.cluster_centers_ for bag in learners.clusters]).astype(np.float32)
    sizes = [len(bag.cluster_centers_) for bag in learners.clusters]
    feature, threshold, children, value, roots, deepest = _flat_trees(learners.trees)
    wide = centres.astype(np.float64)
    return {
        "surface_mean": learners.scale.mean,
        "surface_spread": learners.scale.spread,
        "dense_coefficients": np.vstack([learners.dense.coef_, model.domain.coef_]).T.copy(),
        "dense_intercept": np.concatenate([learners.dense.intercept_, model.domain.intercept_]),
        "sparse_coefficients": np.ascontiguousarray(learners.sparse.coef_.T, np.float32),
        "sparse_intercept": np.asarray(learners.sparse.intercept_),
        "centres": centres,
        "centre_half_norms": ((wide * wide).sum(axis=1) / 2.0).astype(np.float32),
        "bag_starts": np.concatenate(([0], np.cumsum(sizes)[:-1])),
        "centre_values": np.concatenate(learners.cluster_values),
        "tree_feature": feature,
        "tree_threshold": threshold,
        "tree_children": children,
        "tree_value": value,
        "tree_roots": roots,
        "tree_depth": np.array(deepest),
        "tree_baseline": np.array([float(t._baseline_prediction.item()) for t in learners.trees]),
        "blend_offset": model.offset,
        "blend_spread": model.spread,
        "calibration_x": np.asarray(model.calibrator.X_thresholds_, dtype=np.float64),
        "calibration_y": np.asarray(model.calibrator.y_thresholds_, dtype=np.float64),
        "far": np.array(model.far),
        "level_weight": np.array(model.level_weight),
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
