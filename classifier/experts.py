"""An expert knows one data set: which of its prompts need the strong model more than its others.

Three learners see the set's own prompts alone, since labels of other sets only blur the order
(measured: adding them cost .03 to .05 APGR on MMLU). A bag of k-means over topics gives each
cluster the mean gain of its prompts, drawn towards the set's mean, and averages over numbers of
clusters and seeds. Ridge on the surface and ridge on surface and words see trends that cross
clusters. The fourth voice is the base, which holds everywhere. How much each counts is stacked
(Breiman 1996): non-negative least squares on predictions for unseen groups, pulled to shares that
favour the clusters, for a thousand rows cannot tell how voices should be mixed (MMLU, over six ways
to cut the folds: .663 with that pull, .670 for the clusters alone). Where no learner foretells its
own set, the base alone counts.
Two isotonic curves turn the need into the small model's chance and the gain of the strong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.cluster import KMeans
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge

from classifier.bags import Bag
from classifier.views import Views

Floats = NDArray[np.float64]

VOICES = ("base", "clusters", "surface", "words")
# A cluster of an expert must hold so many prompts on average, or there is no such number of them.
PER_CLUSTER = 6
BIN = 40
# Voices that together foretell much more of the target's variance than this are hardly pulled: on
# MMLU they foretell just that, and a third of it let shares stray more (.662, with this .663).
PLAIN = 0.03
MOST_BINS = 40


@dataclass(frozen=True)
class ExpertParameters:
    """What may be turned in an expert; written in the card."""

    clusters: tuple[int, ...] = (8, 16, 32, 64)
    seeds: int = 4
    shrink: float = 10.0
    surface_alpha: float = 10.0
    words_alpha: float = 5.0
    stack_prior: float = 1.0
    # What the voices are pulled to: base, clusters, surface, words.
    stack_shares: tuple[float, ...] = (0.05, 0.8, 0.1, 0.05)


@dataclass
class Learners:
    """The three learners of one set; `predict` gives (3, n)."""

    bag: Bag
    surface: Ridge
    words: Ridge
    views: Views

    def predict(self, seen: Floats) -> Floats:
        """Rows of `seen` are surface and words side by side."""
        return np.stack(
            [
                self.bag.predict(self.views.topics(seen)),
                np.asarray(self.surface.predict(self.views.surface(seen))),
                np.asarray(self.words.predict(seen)),
            ]
        )


@dataclass
class Expert:
    """One set's learners, how they are stacked with the base, and its two curves.

    away, (n,): how far each of the set's prompts lies from clusters that did not learn from it.
    """

    name: str
    learners: Learners
    stack: Floats
    spread: Floats
    small: IsotonicRegression
    gain: IsotonicRegression
    away: Floats

    def need(self, seen: Floats, base: Floats) -> Floats:
        """How much each prompt needs the strong model, in no unit; `base` is what the base says."""
        heard = np.vstack([base[None], self.learners.predict(seen)])
        return np.asarray((self.stack / self.spread) @ heard, dtype=float)


def fit_bag(
    topics: NDArray[np.float32],
    target: Floats,
    w: Floats,
    parameters: ExpertParameters,
    seed: int,
) -> Bag:
    """Cluster the prompts of one set; `target` has mean 0 under weights w, whose own mean is 1."""
    sizes = [k for k in parameters.clusters if k * PER_CLUSTER <= len(topics)]
    kept: list[int] = []
    centres: list[NDArray[np.float32]] = []
    values: list[Floats] = []
    for size in sizes:
        for draw in range(parameters.seeds):
            found = KMeans(size, n_init=1, max_iter=15, random_state=seed + draw).fit(topics)
            count = np.bincount(found.labels_, weights=w, minlength=size)
            total = np.bincount(found.labels_, weights=w * target, minlength=size)
            kept.append(size)
            # Half precision on disk; what serves must be what the curves were fitted with.
            centres.append(found.cluster_centers_.astype(np.float16).astype(np.float32))
            values.append(total / (count + parameters.shrink))
    empty = np.zeros((0, topics.shape[1]), dtype=np.float32)
    return Bag(
        kept,
        np.concatenate(centres) if centres else empty,
        np.concatenate(values) if values else np.zeros(0),
    )


def fit_learners(
    seen: Floats, views: Views, target: Floats, w: Floats, parameters: ExpertParameters, seed: int
) -> Learners:
    """Fit the three learners on rows of one set."""
    middle = target - np.average(target, weights=w)
    return Learners(
        fit_bag(views.topics(seen), middle, w / w.mean(), parameters, seed),
        Ridge(alpha=parameters.surface_alpha).fit(views.surface(seen), middle, w),
        Ridge(alpha=parameters.words_alpha).fit(seen, middle, w),
        views,
    )


def stack(
    unseen: Floats, target: Floats, prior: float, shares: Sequence[float] = ()
) -> tuple[Floats, Floats]:
    """(weights, spread) of the voices from (k, n) predictions for unseen groups.

    Weights sum to 1. `prior` pulls them to `shares`, equal ones unless given, at the height that
    fits best: which voice is better few rows cannot tell. It pulls less where the voices foretell
    much of the target, for then rows can. Where no voice foretells it the first one alone counts:
    it learnt from more than these rows.
    """
    spread = unseen.std(axis=1) + 1e-9
    units = ((unseen - unseen.mean(axis=1, keepdims=True)) / spread[:, None]).T
    middle = target - target.mean()
    n, k = units.shape
    usual = np.array(shares or [1.0 / k] * k)
    mixed = units @ usual
    height = max(float(middle @ mixed) / (float(mixed @ mixed) + 1e-9), 0.0)
    told = min(max(height**2 * float(mixed @ mixed) / (float(middle @ middle) + 1e-9), 1e-4), 1.0)
    pull = np.sqrt(n * prior * min(1.0, PLAIN * (1.0 - told) / told))
    aim = np.concatenate([middle, pull * height * usual])
    found, _ = nnls(np.vstack([units, pull * np.eye(k)]), aim)
    total = found.sum()
    return (found / total if total > 1e-9 else np.eye(k)[0]), spread


def calibrate(x: Floats, y: Floats, w: Floats) -> IsotonicRegression:
    """Isotonic regression over the means of bins of equal weight: smooth enough to rank with."""
    order = np.argsort(x, kind="stable")
    reached = np.cumsum(w[order])
    count = int(np.clip(len(x) // BIN, 4, MOST_BINS))
    edges = np.linspace(0.0, reached[-1], count + 1)[1:-1]
    bins = [b for b in np.split(order, np.searchsorted(reached, edges)) if b.size]
    return IsotonicRegression(out_of_bounds="clip", y_min=-1.0, y_max=1.0).fit(
        [np.average(x[b], weights=w[b]) for b in bins],
        [np.average(y[b], weights=w[b]) for b in bins],
        sample_weight=[w[b].sum() for b in bins],
    )


def fit_expert(
    name: str,
    seen: Floats,
    views: Views,
    scores: tuple[Floats, Floats],
    base: Floats,
    w: Floats,
    folds: NDArray[np.int64],
    parameters: ExpertParameters,
    seed: int,
) -> Expert:
    """An expert for rows `seen` with (small, strong) scores; curves see unseen groups only.

    base: what a base that saw nothing of a row's group says of it.
    """
    small, strong = scores
    gain = strong - small
    unseen = np.zeros((len(VOICES), len(seen)))
    unseen[0] = base
    distance = np.ones(len(seen))
    for fold in np.unique(folds):
        away, here = folds != fold, folds == fold
        if away.any():
            part = fit_learners(seen[away], views, gain[away], w[away], parameters, seed)
            unseen[1:, here] = part.predict(seen[here])
            distance[here] = part.bag.away(views.topics(seen[here]))
    share, spread = stack(unseen, gain, parameters.stack_prior, parameters.stack_shares)
    need = (share / spread) @ unseen
    return Expert(
        name,
        fit_learners(seen, views, gain, w, parameters, seed),
        share,
        spread,
        calibrate(-need, small, w),
        calibrate(need, gain, w),
        distance,
    )
