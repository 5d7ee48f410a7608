"""What a person's own labels teach beyond the prior: an expert who also hears what the prior says.

Four voices are stacked on predictions for unseen groups: the gain that the prior foretells, and
the three learners of `classifier.experts`, fitted on the new labels alone. With few labels the
stack leans on the prior, with many on the labels. It counts near the labelled prompts and nowhere
else, so what the prior knew of other work stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from classifier import curves
from classifier.adapter_scorer import FAR, LIKELY
from classifier.experts import ExpertParameters, Learners, calibrate, fit_learners, stack
from classifier.views import Views

Floats = NDArray[np.float64]

VOICES = ("prior", "clusters", "surface", "words")
PLACES, PER_PLACE = 16, 12
GATE_C = 3.0


@dataclass(frozen=True)
class Known:
    """Labelled prompts as numbers, a row each.

    seen: (n, d), surface and words; prior: (2, n), its score and gain; small, strong: (n,), the
    labels, where unknown the prior's word; w: (n,) weights; folds: (n,) of the rows' groups.
    """

    seen: Floats
    prior: Floats
    small: Floats
    strong: Floats
    w: Floats
    folds: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[Any]) -> Known:
        return Known(
            self.seen[rows],
            self.prior[:, rows],
            self.small[rows],
            self.strong[rows],
            self.w[rows],
            self.folds[rows],
        )


@dataclass
class Adapter:
    """The fitted expert, its two curves, and where it counts."""

    learners: Learners
    share: Floats
    small: IsotonicRegression
    gain: IsotonicRegression
    places: KMeans
    radius: float
    gate: LogisticRegression

    def need(self, seen: Floats, prior: Floats) -> Floats:
        """How much each prompt needs the strong model, in no unit."""
        return np.asarray(self.share @ voices(self.learners, seen, prior), dtype=float)

    def nearness(self, seen: Floats) -> Floats:
        """How much the adapter counts, 0..1."""
        away = self.places.transform(seen.astype(np.float32)).min(axis=1) / self.radius
        likely = self.gate.predict_proba(seen)[:, 1]
        inside = np.clip((FAR - away) / (FAR - 1.0), 0.0, 1.0)
        alike = np.clip((likely - LIKELY[0]) / (LIKELY[1] - LIKELY[0]), 0.0, 1.0)
        return np.asarray(np.minimum(inside, alike), dtype=float)

    def estimate(self, seen: Floats, prior: Floats) -> tuple[Floats, Floats]:
        """(score, gain) of the prior and the own labels together, before ties are broken."""
        need, near = self.need(seen, prior), self.nearness(seen)
        score = prior[0] + near * (self.small.predict(-need) - prior[0])
        return score, prior[1] + near * (self.gain.predict(need) - prior[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The numbers that `AdapterScorer` serves."""
        learners, bag = self.learners, self.learners.bag
        _, clusters, surface, words = self.share
        head = words * learners.words.coef_
        head[: learners.views.surfaces] += surface * learners.surface.coef_
        intercept = words * learners.words.intercept_ + surface * learners.surface.intercept_
        return {
            "own_head": head,
            "own_intercept": np.array(float(intercept)),
            "own_prior": np.array(self.share[0]),
            "own_centres": bag.centres.astype(np.float16),
            "own_values": bag.values * clusters,
            "own_sizes": np.array(bag.sizes, dtype=np.int64),
            "own_near": self.places.cluster_centers_.astype(np.float32),
            "own_radius": np.array(self.radius),
            "own_gate": self.gate.coef_[0].copy(),
            "own_gate_intercept": np.array(float(self.gate.intercept_[0])),
            **curves.arrays_of("own_small", [self.small]),
            **curves.arrays_of("own_gain", [self.gain]),
        }


def voices(learners: Learners, seen: Floats, prior: Floats) -> Floats:
    """(4, n): what each of the voices says, all of them higher for more need."""
    return np.vstack([prior[1:], learners.predict(seen)])


def fit(
    known: Known, views: Views, background: Floats, parameters: ExpertParameters, seed: int = 0
) -> Adapter:
    """Fit on all rows; stack and curves see predictions for unseen folds only.

    `background` are prompts of other work, (m, d), from which the labelled ones are told.
    """
    gain = known.strong - known.small
    unseen = np.zeros((len(VOICES), len(known.seen)))
    for fold in np.unique(known.folds):
        away, here = known.folds != fold, known.folds == fold
        if not away.any():
            away = here
        part = fit_learners(known.seen[away], views, gain[away], known.w[away], parameters, seed)
        unseen[:, here] = voices(part, known.seen[here], known.prior[:, here])
    weight, spread = stack(unseen, gain, parameters.stack_prior)
    share = weight / spread
    need = share @ unseen
    places = KMeans(
        max(1, min(PLACES, len(known.seen) // PER_PLACE)), n_init=1, max_iter=20, random_state=seed
    ).fit(known.seen.astype(np.float32))
    distances = places.transform(known.seen.astype(np.float32)).min(axis=1)
    both = np.vstack([known.seen, background])
    mine = np.concatenate([np.ones(len(known.seen)), np.zeros(len(background))])
    return Adapter(
        fit_learners(known.seen, views, gain, known.w, parameters, seed),
        share,
        calibrate(-need, known.small, known.w),
        calibrate(need, gain, known.w),
        places,
        float(distances.max()) + 1e-6,
        LogisticRegression(C=GATE_C, class_weight="balanced", max_iter=300).fit(both, mine),
    )


def alone(known: Known, judged: Known, views: Views, parameters: ExpertParameters) -> Floats:
    """The need of `judged` by the labels of `known` without any prior: what it is compared with."""
    gain = known.strong - known.small
    unseen = np.zeros((len(VOICES) - 1, len(known.seen)))
    for fold in np.unique(known.folds):
        away, here = known.folds != fold, known.folds == fold
        part = fit_learners(known.seen[away], views, gain[away], known.w[away], parameters, 0)
        unseen[:, here] = part.predict(known.seen[here])
    weight, spread = stack(unseen, gain, parameters.stack_prior)
    whole = fit_learners(known.seen, views, gain, known.w, parameters, 0)
    return np.asarray((weight / spread) @ whole.predict(judged.seen), dtype=float)
