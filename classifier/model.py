"""The estimators, fitted with scikit-learn, and the pipeline that joins them.

Two heads order prompts. Both predict how much a strong model gains over a small one, centred
within each data set so that no set's level is learnt. One learns from all prompts and serves those
that offer answer options, as most labelled prompts do. The other learns from open prompts alone,
each benchmark with the same say: of the heads tried leave-one-benchmark-out it was the one that
stayed above chance on average, where a head of difficulty did not.
A third head says how well small models do on this kind of work: the mean of the data set that the
prompt looks like. It moves whole kinds, not the order within one, and is given little weight.
Three calibration curves, one for each form of prompt, make the score a probability and keep the
order within a form.
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

from classifier import embedding
from classifier.features import VOCABULARY, Features
from classifier.labels import OWN, Prompt, centred, weights

Floats = NDArray[np.float64]

TARGETS = ("gain", "open", "level")
LEARNERS = ("dense", "surface", "trees")
# How much each learner (row) counts in each target (column).
SHARES = np.array([[2 / 3, 0.5, 2 / 3], [0.0, 0.5, 0.0], [1 / 3, 0.0, 1 / 3]])
SURFACE_SCALE = 0.15
CLUSTER_SCALE = 0.03
CLIP = 4.0
FOLDS = 5
TIE_BREAK = 0.004
# From how many answer options on a prompt has another form, and with it a calibration of its own.
FORMS = (2, 6)


@dataclass(frozen=True)
class Parameters:
    """What may be turned; all of it is written in the card."""

    seed: int = 0
    dense_alpha: float = 3.0
    rarity: float = 1e-3
    tree_count: int = 80
    tree_depth: int = 4
    cluster_count: int = 96
    domain_c: float = 3.0
    level_near: float = 0.2
    level_far: float = 0.4
    own_weight: float = 2.0
    own_open_weight: float = 4.0
    pair_weight: float = 4.0
    noisy_weight: float = 0.5
    calibration_bins: int = 40
    far_quantile: float = 0.995


@dataclass(frozen=True)
class Matrix:
    """Many prompts: surface (n, s), meaning (n, 256), tokens (n, VOCABULARY), options (n,)."""

    surface: Floats
    meaning: NDArray[np.float32]
    tokens: csr_matrix
    options: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[Any]) -> Matrix:
        return Matrix(self.surface[rows], self.meaning[rows], self.tokens[rows], self.options[rows])


def matrix(features: Sequence[Features]) -> Matrix:
    """Stack the features of single prompts."""
    ends = np.cumsum([0, *(f.rows.size for f in features)])
    tokens = csr_matrix(
        (
            np.concatenate([f.weights for f in features]),
            np.concatenate([f.rows for f in features]),
            ends,
        ),
        shape=(len(features), VOCABULARY),
    )
    tokens.sum_duplicates()
    return Matrix(
        np.array([f.surface for f in features]),
        np.array([f.meaning for f in features]),
        tokens,
        np.array([f.options for f in features]),
    )


@dataclass
class Scale:
    """Brings the views to a common spread, clipped so that nothing strange runs away.

    rarity, (VOCABULARY,): a / (a + share of the token in the training prompts), after Arora,
    Liang and Ma (ICLR 2017), so that `the` says little and `isotope` much.
    """

    mean: Floats
    spread: Floats
    rarity: NDArray[np.float32]

    def standard(self, surface: Floats) -> Floats:
        return np.clip((surface - self.mean) / self.spread, -CLIP, CLIP)

    def salient(self, x: Matrix) -> Floats:
        """The place in the embedding with rare tokens counted more; length 1 or 0."""
        total = np.asarray(x.tokens.multiply(self.rarity[None]).tocsr() @ embedding.load().table)
        return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-9), float)

    def dense(self, x: Matrix) -> Floats:
        return np.hstack([self.standard(x.surface) * SURFACE_SCALE, x.meaning, self.salient(x)])

    def place(self, x: Matrix) -> NDArray[np.float32]:
        standard = self.standard(x.surface) * CLUSTER_SCALE
        return np.hstack([x.meaning, standard.astype(np.float32)])


@dataclass
class Learners:
    """The learners of all targets, in scikit-learn's own objects; one a target."""

    scale: Scale
    dense: list[Ridge]
    surface: list[Ridge]
    trees: list[HistGradientBoostingRegressor]

    def predict(self, x: Matrix) -> Floats:
        """Shape (learners, prompts, targets)."""
        dense = self.scale.dense(x)
        surface = dense[:, : x.surface.shape[1]]
        return np.stack(
            [
                np.stack([head.predict(dense) for head in self.dense], axis=1),
                np.stack([head.predict(surface) for head in self.surface], axis=1),
                np.stack([tree.predict(x.surface) for tree in self.trees], axis=1),
            ]
        )


@dataclass
class Model:
    """The whole fitted pipeline: the reference that the fast scorer must equal."""

    learners: Learners
    offset: Floats
    spread: Floats
    calibrators: list[IsotonicRegression]
    domain: LogisticRegression
    clusters: KMeans
    far: float
    levels: tuple[float, float]

    def need(self, x: Matrix) -> Floats:
        """How much a prompt needs the strong model, in no unit; higher is more."""
        predicted = self.learners.predict(x)
        return gated(predicted, self.offset, self.spread, x.options, self.levels)

    def score(self, x: Matrix) -> Floats:
        """The calibrated probability that the small model answers well, 0..1."""
        need = self.need(x)
        forms = form(x.options)
        curves = np.stack([curve.predict(-need) for curve in self.calibrators])
        return settled(curves[forms, np.arange(len(need))], need)

    def domains(self, x: Matrix) -> Floats:
        """Probabilities of the kinds of work, shape (n, kinds)."""
        return np.asarray(self.domain.predict_proba(self.learners.scale.dense(x)), dtype=float)

    def out_of_distribution(self, x: Matrix) -> NDArray[np.bool_]:
        """Whether a prompt lies farther from every centre than nearly all training prompts."""
        return distance(self.clusters, self.learners.scale.place(x)) > self.far


def form(options: NDArray[np.int64]) -> NDArray[np.int64]:
    """The form of each prompt: 0 open, 1 a few answer options, 2 many."""
    return np.searchsorted(FORMS, options, side="right")


def distance(clusters: KMeans, place: NDArray[np.float32]) -> Floats:
    """Distance of each prompt to the nearest centre."""
    return np.asarray(clusters.transform(place).min(axis=1), dtype=float)


def gated(
    predicted: Floats,
    offset: Floats,
    spread: Floats,
    options: NDArray[np.int64],
    levels: tuple[float, float],
) -> Floats:
    """Average the learners in units of their spread; options decide which head counts."""
    units = (predicted - offset[:, None, :]) / spread[:, None, :]
    blended = np.einsum("lnt,lt->nt", units, SHARES)
    near, far = blended[:, 0] + levels[0] * blended[:, 2], blended[:, 1] + levels[1] * blended[:, 2]
    return np.asarray(np.where(options >= 2, near, far), dtype=float)


def settled(probability: Floats, need: Floats) -> Floats:
    """Break the ties of the isotonic steps, so that a share asked for can be given."""
    return np.asarray((1.0 - TIE_BREAK) * probability + TIE_BREAK / (1.0 + np.exp(need)))


def _row_weights(prompts: Sequence[Prompt], x: Matrix, parameters: Parameters) -> Floats:
    """(n, 3), a column a target: 1/sqrt(n) by source; by benchmark, open prompts only, for `open`.

    The published pair counts more for it is the very question; the set with format failures less.
    """
    sources = [p.source for p in prompts]
    factor = {
        OWN: parameters.own_weight,
        "routellm_mmlu1531": parameters.pair_weight,
        "llmrouter_9m": parameters.noisy_weight,
    }
    usual = weights(sources) * np.array([factor.get(source, 1.0) for source in sources])
    opened = weights([_set(p) for p in prompts]) * (x.options < 2)
    opened *= np.array([parameters.own_open_weight if s == OWN else 1.0 for s in sources])
    return np.stack([usual, opened, usual], axis=1)


def _set(prompt: Prompt) -> str:
    return f"{prompt.source}/{prompt.benchmark}"


def targets(prompts: Sequence[Prompt]) -> Floats:
    """(n, 3): the gain twice, centred within its set; the share that small models fail there."""
    gain = centred(np.array([p.strong - p.small for p in prompts]), [_set(p) for p in prompts])
    kinds = [_set(p) + (f" {p.small:.1f}" if p.source == OWN else "") for p in prompts]
    failed = np.array([1.0 - p.small for p in prompts])
    return np.stack([gain, gain, failed - centred(failed, kinds)], axis=1)


def fit_learners(x: Matrix, y: Floats, w: Floats, parameters: Parameters) -> Learners:
    """Fit the learners on rows x with targets y and weights w, both (n, targets)."""
    seen = np.asarray(x.tokens.sum(axis=0)).ravel()
    rarity = parameters.rarity / (parameters.rarity + seen / seen.sum())
    scale = Scale(x.surface.mean(axis=0), x.surface.std(axis=0) + 1e-6, rarity.astype(np.float32))
    dense = scale.dense(x)
    surface = dense[:, : x.surface.shape[1]]
    heads: list[Ridge] = []
    plain: list[Ridge] = []
    trees: list[HistGradientBoostingRegressor] = []
    for target, weight in zip(y.T, w.T, strict=True):
        rows = np.flatnonzero(weight > 0)
        if not rows.size:
            rows = np.arange(len(y))
        mean = weight[rows] / max(weight[rows].mean(), 1e-12)
        heads.append(Ridge(alpha=parameters.dense_alpha).fit(dense[rows], target[rows], mean))
        plain.append(Ridge(alpha=parameters.dense_alpha).fit(surface[rows], target[rows], mean))
        trees.append(
            HistGradientBoostingRegressor(
                max_iter=parameters.tree_count,
                max_depth=parameters.tree_depth,
                learning_rate=0.08,
                min_samples_leaf=40,
                l2_regularization=5.0,
                early_stopping=False,
                random_state=parameters.seed,
            ).fit(x.surface[rows], target[rows], sample_weight=mean)
        )
    return Learners(scale, heads, plain, trees)


def fold_of(group: str) -> int:
    """The fold of a group: its own hash decides, so that a question is never in two."""
    return hashlib.sha256(group.encode()).digest()[1] % FOLDS


def fit(prompts: Sequence[Prompt], x: Matrix, parameters: Parameters, tell: Any) -> Model:
    """Fit everything; blend and calibration see only predictions made without the row's group."""
    y, w = targets(prompts), _row_weights(prompts, x, parameters)
    levels = parameters.level_near, parameters.level_far
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
    need = gated(unseen, offset, spread, x.options, levels)
    small, forms = np.array([p.small for p in prompts]), form(x.options)
    calibrators = []
    for kind in range(len(FORMS) + 1):
        rows = np.flatnonzero(forms == kind)
        if rows.size < parameters.calibration_bins:
            rows = np.arange(len(prompts))
        calibrators.append(_calibrate(need[rows], small[rows], w[rows, 0], parameters))
    tell("all folds together")
    learners = fit_learners(x, y, w, parameters)
    tell("kinds of work")
    domain = LogisticRegression(C=parameters.domain_c, max_iter=300).fit(
        learners.scale.dense(x), [p.domain for p in prompts], sample_weight=w[:, 0]
    )
    place = learners.scale.place(x)
    clusters = KMeans(
        min(parameters.cluster_count, len(place)),
        n_init=1,
        max_iter=30,
        random_state=parameters.seed,
    ).fit(place, sample_weight=w[:, 0])
    far = float(np.quantile(distance(clusters, place), parameters.far_quantile))
    return Model(learners, offset, spread, calibrators, domain, clusters, far, levels)


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
