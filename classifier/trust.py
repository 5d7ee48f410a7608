"""Whether the expert that the gate names is the right one.

The gate can only say which of the sets it knows a prompt is most like, and it is as sure of
questions from elsewhere as of those that it learnt from. So a second logistic regression looks at
how sure the gate is, how far the prompt's form is from the set's, and how far its words are from
the set's clusters. It has learnt from prompts that the gate and the clusters had not seen, and from
every family of benchmarks as it looks to a gate that never heard of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from classifier.experts import Expert
from classifier.likeness import Likeness
from classifier.views import Views

Floats = NDArray[np.float64]

# Bounds of the numbers: the gate's log-odds, its largest logit, the form's distance and how much of
# it is beyond the usual, the distance to the clusters.
LOWEST = (-5.0, -5.0, 0.0, 0.0, 0.0)
HIGHEST = (12.0, 20.0, 15.0, 14.0, 4.0)


@dataclass
class Trust:
    """A logistic regression over the numbers, each less its mean and by its spread."""

    mean: Floats
    spread: Floats
    doubter: LogisticRegression

    def of(self, numbers: Floats) -> Floats:
        """The chance, 0..1, that the expert is the right one, of rows of `numbers_of`."""
        likely = self.doubter.predict_proba((numbers - self.mean) / self.spread)[:, 1]
        return np.asarray(likely, dtype=float)

    def linear(self) -> tuple[Floats, float]:
        """(weights, intercept) of the numbers as they are."""
        weights = self.doubter.coef_[0] / self.spread
        return weights, float(self.doubter.intercept_[0] - weights @ self.mean)


def logits_of(gate: LogisticRegression, seen: NDArray[Any]) -> Floats:
    """(n, sets), also where there are only two."""
    raw = gate.decision_function(seen)
    return np.asarray(raw if raw.ndim == 2 else np.column_stack([np.zeros(len(raw)), raw]), float)


def numbers_of(logits: Floats, form: Floats, away: Floats) -> Floats:
    """(n, 5) from the gate's logits (n, sets), the form's distance and that to the clusters."""
    largest = logits.max(axis=1)
    others = np.exp(logits - largest[:, None]).sum(axis=1) - 1.0
    odds = -np.log(np.maximum(others, 1e-12))
    found = np.column_stack([odds, largest, form, form - 1.0, away])
    return np.asarray(np.clip(found, LOWEST, HIGHEST), dtype=float)


def distances(
    experts: Sequence[Expert], views: Views, seen: Floats, who: NDArray[np.int64]
) -> Floats:
    """How far each prompt is from the clusters of the expert `who` (n,) names for it."""
    topics, found = views.topics(seen), np.ones(len(seen))
    for i, expert in enumerate(experts):
        rows = np.flatnonzero(who == i)
        if rows.size:
            found[rows] = expert.learners.bag.away(topics[rows])
    return found


def fit_trust(
    seen: Floats,
    views: Views,
    sets: NDArray[np.str_],
    families: NDArray[np.str_],
    folds: NDArray[np.int64],
    experts: Sequence[Expert],
    likeness: Likeness,
    gate_c: float,
) -> Trust | None:
    """From rows of the experts' own prompts; None where no family can be left out."""
    place = {expert.name: i for i, expert in enumerate(experts)}
    own = np.array([place[name] for name in sets.tolist()])
    unseen = np.ones(len(seen))
    for i, expert in enumerate(experts):
        unseen[own == i] = expert.away

    narrow = seen.astype(np.float32)  # Some twenty gates in half the time.

    def looks(
        known: NDArray[np.bool_], rows: NDArray[np.int64]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        gate = LogisticRegression(C=gate_c, max_iter=300).fit(narrow[known], sets[known])
        logits = logits_of(gate, narrow[rows])
        who = np.array([place[str(name)] for name in gate.classes_])[logits.argmax(axis=1)]
        away = distances(experts, views, seen[rows], who)
        right = who == own[rows]
        away[right] = unseen[rows][right]
        return numbers_of(logits, likeness.far(views.surface(seen[rows]), who), away), right

    parts, truth, weight = [], [], []
    for fold in np.unique(folds):
        known, rows = folds != fold, np.flatnonzero(folds == fold)
        if len(set(sets[known].tolist())) > 1:
            found, right = looks(known, rows)
            parts.append(found)
            truth.append(right)
            weight.append(np.full(len(rows), 1.0 / len(seen)))
    hidden = sorted(set(families.tolist()))
    for family in hidden:
        known, rows = families != family, np.flatnonzero(families == family)
        if len(set(sets[known].tolist())) > 1:
            parts.append(looks(known, rows)[0])
            truth.append(np.zeros(len(rows), dtype=bool))
            weight.append(np.full(len(rows), 1.0 / len(rows) / len(hidden)))
    right = np.concatenate(truth) if truth else np.zeros(0, dtype=bool)
    if right.all() or not right.any():
        return None
    numbers, w = np.vstack(parts), np.concatenate(weight)
    mean, spread = numbers.mean(axis=0), numbers.std(axis=0) + 1e-9
    doubter = LogisticRegression(max_iter=500)
    doubter.fit((numbers - mean) / spread, right, sample_weight=w / w.mean())
    return Trust(mean, spread, doubter)
