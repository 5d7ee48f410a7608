"""The estimators, fitted with scikit-learn, and the pipeline that joins them.

Two questions order prompts, each centred within its data set so that no set's level is learnt:
how much a strong model gains over a small one, and how hard the prompt is for everybody. Where a
prompt looks like the labelled ones (it offers answer options) the gain is trusted; elsewhere the
difficulty is, because a gain learnt on one benchmark is often worse than chance on another.
A third question is not centred: how often the small model fails on this kind of work. It is what
makes the score a probability. Its weight was chosen on unseen folds of the training part, where
it brings the calibration error of four benchmarks from .11-.14 to .04-.07 (LLMRouter's tasks: .08
to .07, our own prompts: .14 to .11) and APGR on MMLU-Pro from .572 to .568.
Four unlike learners answer each question and are averaged in units of their own spread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge

from classifier.features import SPARSE, Features
from classifier.labels import OWN, Prompt, centred, weights

Floats = NDArray[np.float64]

TARGETS = ("gain", "difficulty", "level")
LEARNERS = ("dense", "sparse", "clusters", "trees")
SURFACE_SCALE = 0.15
CLUSTER_SCALE = 0.03
CLIP = 4.0
FOLDS = 5
TIE_BREAK = 0.004


@dataclass(frozen=True)
class Parameters:
    """What may be turned; all of it is written in the card."""

    seed: int = 0
    dense_alpha: float = 3.0
    sparse_alpha: float = 2.0
    cluster_counts: tuple[int, ...] = (16, 32, 64, 96)
    cluster_seeds: int = 2
    cluster_shrink: float = 8.0
    tree_count: int = 80
    tree_depth: int = 4
    domain_c: float = 3.0
    level_weight: float = 1.0
    own_weight: float = 2.0
    noisy_weight: float = 0.5
    calibration_bins: int = 40
    far_quantile: float = 0.995


@dataclass(frozen=True)
class Matrix:
    """Many prompts: surface (n, s), meaning (n, 256), sparse (n, SPARSE), options (n,)."""

    surface: Floats
    meaning: NDArray[np.float32]
    sparse: csr_matrix
    options: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[Any]) -> Matrix:
        return Matrix(self.surface[rows], self.meaning[rows], self.sparse[rows], self.options[rows])


def matrix(features: Sequence[Features]) -> Matrix:
    """Stack the features of single prompts."""
    ends = np.cumsum([0, *(f.rows.size for f in features)])
    return Matrix(
        np.array([f.surface for f in features]),
        np.array([f.meaning for f in features]),
        csr_matrix(
            (
                np.concatenate([f.weights for f in features]),
                np.concatenate([f.rows for f in features]),
                ends,
            ),
            shape=(len(features), SPARSE),
        ),
        np.array([f.options for f in features]),
    )


@dataclass
class Scale:
    """Surface features brought to a common spread, clipped so that nothing strange runs away."""

    mean: Floats
    spread: Floats

    def standard(self, surface: Floats) -> Floats:
        return np.clip((surface - self.mean) / self.spread, -CLIP, CLIP)

    def dense(self, x: Matrix) -> Floats:
        return np.hstack([self.standard(x.surface) * SURFACE_SCALE, x.meaning])

    def place(self, x: Matrix) -> NDArray[np.float32]:
        standard = self.standard(x.surface) * CLUSTER_SCALE
        return np.hstack([x.meaning, standard.astype(np.float32)])


@dataclass
class Learners:
    """The four learners of all questions, in scikit-learn's own objects."""

    scale: Scale
    dense: Ridge
    sparse: Ridge
    clusters: list[KMeans]
    cluster_values: list[Floats]
    trees: list[HistGradientBoostingRegressor]

    def predict(self, x: Matrix) -> Floats:
        """Shape (learners, prompts, targets)."""
        place = self.scale.place(x)
        bags = [
            values[bag.predict(place)]
            for bag, values in zip(self.clusters, self.cluster_values, strict=True)
        ]
        return np.stack(
            [
                self.dense.predict(self.scale.dense(x)),
                self.sparse.predict(x.sparse),
                np.mean(bags, axis=0),
                np.stack([tree.predict(x.surface) for tree in self.trees], axis=1),
            ]
        )

    def distance(self, x: Matrix) -> Floats:
        """Distance of each prompt to the nearest centre of the finest bag."""
        return np.asarray(self.clusters[-1].transform(self.scale.place(x)).min(axis=1), dtype=float)


@dataclass
class Model:
    """The whole fitted pipeline: the reference that the fast scorer must equal."""

    learners: Learners
    offset: Floats
    spread: Floats
    calibrator: IsotonicRegression
    domain: LogisticRegression
    far: float
    level_weight: float

    def need(self, x: Matrix) -> Floats:
        """How much a prompt needs the strong model, in no unit; higher is more."""
        predicted = self.learners.predict(x)
        return gated(predicted, self.offset, self.spread, x.options, self.level_weight)

    def score(self, x: Matrix) -> Floats:
        """The calibrated probability that the small model answers well, 0..1."""
        need = self.need(x)
        return settled(np.asarray(self.calibrator.predict(-need)), need)

    def domains(self, x: Matrix) -> Floats:
        """Probabilities of the kinds of work, shape (n, kinds)."""
        return np.asarray(self.domain.predict_proba(self.learners.scale.dense(x)), dtype=float)

    def out_of_distribution(self, x: Matrix) -> NDArray[np.bool_]:
        """Whether a prompt lies farther from every centre than nearly all training prompts."""
        return self.learners.distance(x) > self.far


def gated(
    predicted: Floats,
    offset: Floats,
    spread: Floats,
    options: NDArray[np.int64],
    level_weight: float,
) -> Floats:
    """Average the learners in units of their spread; options decide which question counts."""
    blended = ((predicted - offset[:, None, :]) / spread[:, None, :]).mean(axis=0)
    order = np.where(options >= 2, blended[:, 0], blended[:, 1])
    return np.asarray(order + level_weight * blended[:, 2], dtype=float)


def settled(probability: Floats, need: Floats) -> Floats:
    """Break the ties of the isotonic steps, so that a share asked for can be given."""
    return np.asarray((1.0 - TIE_BREAK) * probability + TIE_BREAK / (1.0 + np.exp(need)))


def _row_weights(prompts: Sequence[Prompt], parameters: Parameters) -> Floats:
    """1/sqrt(n) by source; our own count more, the set with format failures less."""
    sources = [p.source for p in prompts]
    factor = {OWN: parameters.own_weight, "llmrouter_9m": parameters.noisy_weight}
    scale = np.array([factor.get(source, 1.0) for source in sources])
    return np.asarray(weights(sources) * scale, dtype=float)


def targets(prompts: Sequence[Prompt]) -> Floats:
    """(n, 3): gain and difficulty, centred within (source, benchmark); level, as it is."""
    keys = [f"{p.source}/{p.benchmark}" for p in prompts]
    gain = np.array([p.strong - p.small for p in prompts])
    hard = np.array([1.0 - p.mean for p in prompts])
    level = np.array([1.0 - p.small for p in prompts])
    return np.stack([centred(gain, keys), centred(hard, keys), level], axis=1)


def fit_learners(x: Matrix, y: Floats, w: Floats, parameters: Parameters) -> Learners:
    """Fit the four learners on rows x with targets y and weights w."""
    scale = Scale(x.surface.mean(axis=0), x.surface.std(axis=0) + 1e-6)
    place = scale.place(x)
    clusters, values = [], []
    for count in parameters.cluster_counts:
        for seed in range(parameters.cluster_seeds):
            bag = KMeans(
                min(count, len(place)), n_init=1, max_iter=30, random_state=parameters.seed + seed
            ).fit(place, sample_weight=w)
            size = np.bincount(bag.labels_, w, bag.n_clusters)[:, None] + parameters.cluster_shrink
            total = [np.bincount(bag.labels_, w * column, bag.n_clusters) for column in y.T]
            clusters.append(bag)
            values.append(np.stack(total, axis=1) / size)
    trees = [
        HistGradientBoostingRegressor(
            max_iter=parameters.tree_count,
            max_depth=parameters.tree_depth,
            learning_rate=0.08,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=parameters.seed,
        ).fit(x.surface, column, sample_weight=w)
        for column in y.T
    ]
    dense = Ridge(alpha=parameters.dense_alpha).fit(scale.dense(x), y, sample_weight=w)
    sparse = Ridge(alpha=parameters.sparse_alpha, solver="sparse_cg", tol=1e-4).fit(
        x.sparse, y, sample_weight=w
    )
    sparse.coef_ = sparse.coef_.astype(np.float32)
    return Learners(scale, dense, sparse, clusters, values, trees)


def fold_of(group: str) -> int:
    """The fold of a group: its own hash decides, so that a question is never in two."""
    return hashlib.sha256(group.encode()).digest()[1] % FOLDS


def fit(prompts: Sequence[Prompt], x: Matrix, parameters: Parameters, tell: Any) -> Model:
    """Fit everything; blend and calibration see only predictions made without the row's group."""
    y, w = targets(prompts), _row_weights(prompts, parameters)
    folds = np.array([fold_of(p.group) for p in prompts])
    unseen = np.zeros((len(LEARNERS), len(prompts), len(TARGETS)))
    for fold in range(FOLDS):
        tell(f"fold {fold + 1} of {FOLDS}")
        away, here = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if here.size:
            part = fit_learners(x[away], y[away], w[away], parameters)
            unseen[:, here, :] = part.predict(x[here])
    offset, spread = unseen.mean(axis=1), unseen.std(axis=1) + 1e-9
    tell("calibration")
    need = gated(unseen, offset, spread, x.options, parameters.level_weight)
    calibrator = _calibrate(need, np.array([p.small for p in prompts]), w, parameters)
    tell("all folds together")
    learners = fit_learners(x, y, w, parameters)
    tell("kinds of work")
    domain = LogisticRegression(C=parameters.domain_c, max_iter=300).fit(
        learners.scale.dense(x), [p.domain for p in prompts], sample_weight=w
    )
    far = float(np.quantile(learners.distance(x), parameters.far_quantile))
    return Model(learners, offset, spread, calibrator, domain, far, parameters.level_weight)


def _calibrate(
    need: Floats, small: Floats, w: Floats, parameters: Parameters
) -> IsotonicRegression:
    """Isotonic regression over the means of bins of equal weight: smooth enough to rank with."""
    order = np.argsort(need, kind="stable")
    reached = np.cumsum(w[order])
    edges = np.linspace(0.0, reached[-1], parameters.calibration_bins + 1)[1:-1]
    bins = [b for b in np.split(order, np.searchsorted(reached, edges)) if b.size]
    return IsotonicRegression(out_of_bounds="clip", y_min=0.0, y_max=1.0).fit(
        [-np.average(need[b], weights=w[b]) for b in bins],
        [np.average(small[b], weights=w[b]) for b in bins],
        sample_weight=[w[b].sum() for b in bins],
    )
