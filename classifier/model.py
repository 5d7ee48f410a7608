"""The estimators, fitted with scikit-learn, and the pipeline that joins them.

A prompt that looks like one of the labelled sets is judged by that set's expert. Any other is
judged by a base that has learnt, over all sets, how much a strong model gains over a small one:
centred within each set, so that no set's level is learnt. One base head has seen all prompts and
serves those with answer options; the other has seen open prompts alone and serves the rest: of the
heads tried leave-one-benchmark-out it was the best one there. A gate, logistic regression over the
sets, says which expert a prompt is for, and how far to trust it. Where the prompt has the form of
that set too, the expert's curves count; else he only pulls at the order that the base makes, for
what he knows of levels holds in his set alone. In between both count.

Further heads say the kind of work, the length of the answer, and how well each known model does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge

from classifier import embedding, word_problems
from classifier.experts import Expert, ExpertParameters, calibrate, fit_expert
from classifier.features import VOCABULARY, Features
from classifier.heads import fit_length, fit_models
from classifier.labels import OWN, Prompt, centred, weights
from classifier.likeness import Likeness, fit_likeness
from classifier.views import Views, fit_views

Floats = NDArray[np.float64]

SURFACE_SCALE = 0.15
CLUSTER_SCALE = 0.03
CLIP = 4.0
FOLDS = 5
TIE_BREAK = 0.004
# From how many answer options on a prompt has another form, and with it a curve of its own.
FORMS = (2, 6)
# The gate's probability from which on an expert's curves begin to count, and from which they alone
# do, where the prompt has the form of his set.
TRUST = (0.6, 0.9)
# The same for his pull at the base's need, whatever the form, and how strong it gets.
HINT = (0.3, 0.7)
PULL = 0.6
DISTANCES = 201
LONGEST_ANSWER = 10.0


@dataclass(frozen=True)
class Parameters:
    """What may be turned; all of it is written in the card."""

    seed: int = 0
    dense_alpha: float = 3.0
    rarity: float = 1e-3
    cluster_count: int = 96
    domain_c: float = 3.0
    gate_c: float = 3.0
    length_alpha: float = 3.0
    models_alpha: float = 300.0
    own_open_weight: float = 4.0
    pair_weight: float = 4.0
    noisy_weight: float = 0.5
    far_share: float = 0.005
    smallest_expert: int = 100
    smallest_model: int = 300
    expert: ExpertParameters = field(default_factory=ExpertParameters)


@dataclass(frozen=True)
class Matrix:
    """Many prompts: surface (n, s), tokens (n, VOCABULARY), options (n,)."""

    surface: Floats
    tokens: csr_matrix
    options: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[Any]) -> Matrix:
        return Matrix(self.surface[rows], self.tokens[rows], self.options[rows])


def matrix(features: Sequence[Features]) -> Matrix:
    """Stack the features of single prompts."""
    ends = np.cumsum([0, *(f.rows.size for f in features)])
    rows = np.concatenate([f.rows for f in features])
    tokens = csr_matrix(
        (np.ones(rows.size, dtype=np.float32), rows, ends), shape=(len(features), VOCABULARY)
    )
    tokens.sum_duplicates()
    return Matrix(
        np.array([f.surface for f in features]), tokens, np.array([f.options for f in features])
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

    def surface(self, x: Matrix) -> Floats:
        standard = np.clip((x.surface - self.mean) / self.spread, -CLIP, CLIP)
        return np.asarray(standard * SURFACE_SCALE)

    def words(self, x: Matrix) -> Floats:
        """The place in the embedding with rare tokens counted more; length 1 or 0."""
        total = np.asarray(x.tokens.multiply(self.rarity[None]).tocsr() @ embedding.load().table)
        return np.asarray(total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-9), float)

    def seen(self, x: Matrix) -> Floats:
        """Surface and words side by side: what all heads see."""
        return np.asarray(np.hstack([self.surface(x), self.words(x)]))


def fit_scale(x: Matrix, rarity: float) -> Scale:
    """Means, spreads and rarities of the training prompts."""
    counted = np.asarray(x.tokens.sum(axis=0)).ravel()
    rare = rarity / (rarity + counted / counted.sum())
    return Scale(x.surface.mean(axis=0), x.surface.std(axis=0) + 1e-6, rare.astype(np.float32))


@dataclass
class Base:
    """The two heads of any prompt, in units of their spread, and a pair of curves for each form."""

    heads: list[Ridge]
    plain: list[Ridge]
    spread: Floats
    small: list[IsotonicRegression]
    gain: list[IsotonicRegression]

    def predict(self, seen: Floats, surfaces: int) -> Floats:
        """(4, n): gain and open of all that is seen, then of the surface."""
        rows = [head.predict(seen) for head in self.heads]
        return np.stack(rows + [head.predict(seen[:, :surfaces]) for head in self.plain])

    def need(self, predicted: Floats, options: NDArray[np.int64]) -> Floats:
        """Half of each pair; options decide which head counts."""
        units = predicted / self.spread[:, None]
        both = np.where(options >= FORMS[0], units[0] + units[2], units[1] + units[3]) / 2.0
        return np.asarray(both, dtype=float)


@dataclass
class Model:
    """The whole fitted pipeline: the reference that the fast scorer must equal."""

    scale: Scale
    views: Views
    base: Base
    experts: list[Expert]
    gate: LogisticRegression | None
    likeness: Likeness | None
    domain: LogisticRegression
    length: Ridge
    models: dict[str, Ridge]
    clusters: KMeans
    distances: Floats

    @property
    def surfaces(self) -> int:
        return len(self.scale.mean)

    def estimate(self, x: Matrix) -> tuple[Floats, Floats]:
        """(score, gain): the small model's calibrated chance 0..1, and what the strong one adds."""
        seen = self.scale.seen(x)
        need = self.base.need(self.base.predict(seen, self.surfaces), x.options)
        own = need.copy()
        who, pull, level = self.gated(seen)
        parts = [np.flatnonzero((who == i) & (pull > 0)) for i in range(len(self.experts))]
        for expert, here in zip(self.experts, parts, strict=True):
            if here.size:
                own[here] = expert.need(seen[here], need[here])
        need += pull * (own - need)
        forms = form(x.options)
        rows = np.arange(len(need))
        score = np.stack([c.predict(-need) for c in self.base.small])[forms, rows]
        gain = np.stack([c.predict(need) for c in self.base.gain])[forms, rows]
        for expert, here in zip(self.experts, parts, strict=True):
            if here.size:
                t = level[here]
                score[here] += t * (expert.small.predict(-own[here]) - score[here])
                gain[here] += t * (expert.gain.predict(own[here]) - gain[here])
        return settled(score, need + level * (own - need)), gain

    def gated(self, seen: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Which expert each prompt is for, how much he pulls at the base's need, and how much his
        own curves count; both 0..1."""
        if self.gate is None or self.likeness is None:
            return np.zeros(len(seen), dtype=np.int64), np.zeros(len(seen)), np.zeros(len(seen))
        likely = self.gate.predict_proba(seen)
        who, most = likely.argmax(axis=1), likely.max(axis=1)
        hint, trust = (np.clip((most - a) / (b - a), 0.0, 1.0) for a, b in (HINT, TRUST))
        return who, PULL * hint, trust * self.likeness.of(self.views.surface(seen), who)

    def score(self, x: Matrix) -> Floats:
        """The calibrated probability that the small model answers well, 0..1."""
        return self.estimate(x)[0]

    def domains(self, x: Matrix) -> Floats:
        """Probabilities of the kinds of work, shape (n, kinds)."""
        return np.asarray(self.domain.predict_proba(self.scale.seen(x)), dtype=float)

    def lengths(self, x: Matrix) -> Floats:
        """Tokens that an answer is expected to have."""
        logs = np.clip(self.length.predict(self.scale.seen(x)), 0.0, LONGEST_ANSWER)
        return np.asarray(np.expm1(logs))

    def sure(self, x: Matrix) -> Floats:
        """The share of training prompts at least as far from every centre, 0..1."""
        far = distance(self.clusters, place(self.scale.seen(x), self.surfaces))
        return 1.0 - np.interp(far, self.distances, np.linspace(0.0, 1.0, DISTANCES))


def form(options: NDArray[np.int64]) -> NDArray[np.int64]:
    """The form of each prompt: 0 open, 1 a few answer options, 2 many."""
    return np.searchsorted(FORMS, options, side="right")


def place(seen: Floats, surfaces: int) -> NDArray[np.float32]:
    """Where prompts lie, for the clusters that know the training prompts' whereabouts."""
    near = seen.copy()
    near[:, :surfaces] *= CLUSTER_SCALE / SURFACE_SCALE
    return near.astype(np.float32)


def distance(clusters: KMeans, at: NDArray[np.float32]) -> Floats:
    """Distance of each prompt to the nearest centre."""
    return np.asarray(clusters.transform(at).min(axis=1), dtype=float)


def settled(probability: Floats, need: Floats) -> Floats:
    """Break the ties of the isotonic steps, so that a share asked for can be given."""
    inside = np.clip(probability, 0.0, 1.0)
    return np.asarray((1.0 - TIE_BREAK) * inside + TIE_BREAK / (1.0 + np.exp(need)))


def fold_of(group: str) -> int:
    """The fold of a group: its own hash decides, so that a question is never in two."""
    return hashlib.sha256(group.encode()).digest()[1] % FOLDS


def _weights(prompts: Sequence[Prompt], x: Matrix, parameters: Parameters) -> Floats:
    """(n, 2): 1/sqrt(n) by source; and by set, open prompts only, for the open head.

    The published pair counts more for it is the very question; the set with format failures less.
    """
    sources = [p.source for p in prompts]
    factor = {
        "routellm_mmlu1531": parameters.pair_weight,
        "llmrouter_9m": parameters.noisy_weight,
    }
    usual = weights(sources) * np.array([factor.get(source, 1.0) for source in sources])
    opened = weights([p.set for p in prompts]) * (x.options < FORMS[0])
    ours = np.array([s in (OWN, word_problems.SOURCE) for s in sources])
    opened *= np.where(ours, parameters.own_open_weight, 1.0)
    return np.stack([usual, opened], axis=1)


def _ridges(seen: Floats, gain: Floats, w: Floats, alpha: float) -> list[Ridge]:
    """A ridge for each column of weights; all rows count alike where a column has none."""
    made = []
    for column in w.T:
        rows = np.flatnonzero(column > 0)
        rows = rows if rows.size else np.arange(len(gain))
        mean = column[rows] / max(column[rows].mean(), 1e-12)
        made.append(Ridge(alpha=alpha, fit_intercept=False).fit(seen[rows], gain[rows], mean))
    return made


def _fit_base(
    prompts: Sequence[Prompt],
    seen: Floats,
    x: Matrix,
    folds: NDArray[np.int64],
    parameters: Parameters,
) -> tuple[Base, Floats]:
    """(base, its need): spreads, curves and need are of predictions without the row's group."""
    w, surfaces, alpha = (
        _weights(prompts, x, parameters),
        x.surface.shape[1],
        parameters.dense_alpha,
    )
    gain = centred(np.array([p.strong - p.small for p in prompts]), [p.set for p in prompts])

    def made(rows: NDArray[np.int64]) -> Base:
        dense = _ridges(seen[rows], gain[rows], w[rows], alpha)
        plain = _ridges(seen[rows][:, :surfaces], gain[rows], w[rows], alpha)
        return Base(dense, plain, np.ones(4), [], [])

    unseen = np.zeros((4, len(prompts)))
    for fold in np.unique(folds):
        away, here = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if away.size:
            unseen[:, here] = made(away).predict(seen[here], surfaces)
    base = made(np.arange(len(prompts)))
    base.spread = unseen.std(axis=1) + 1e-9
    need = base.need(unseen, x.options)
    small = np.array([p.small for p in prompts])
    raw = np.array([p.strong - p.small for p in prompts])
    forms = form(x.options)
    for kind in range(len(FORMS) + 1):
        rows = np.flatnonzero(forms == kind)
        rows = rows if rows.size >= parameters.smallest_expert else np.arange(len(prompts))
        base.small.append(calibrate(-need[rows], small[rows], w[rows, 0]))
        base.gain.append(calibrate(need[rows], raw[rows], w[rows, 0]))
    return base, need


def fit(
    prompts: Sequence[Prompt], x: Matrix, parameters: Parameters, tell: Callable[[str], Any]
) -> Model:
    """Fit everything; stacking and curves see only predictions made without the row's group."""
    scale = fit_scale(x, parameters.rarity)
    seen, surfaces = scale.seen(x), x.surface.shape[1]
    views = fit_views(seen, surfaces)
    folds = np.array([fold_of(p.group) for p in prompts])
    usual = _weights(prompts, x, parameters)[:, 0]
    tell("what holds everywhere")
    base, need = _fit_base(prompts, seen, x, folds, parameters)
    sets = np.array([p.set for p in prompts])
    small, strong = np.array([p.small for p in prompts]), np.array([p.strong for p in prompts])
    experts = []
    for name in sorted(set(sets.tolist())):
        rows = np.flatnonzero(sets == name)
        if rows.size < parameters.smallest_expert:
            continue
        tell(f"expert {name}")
        scores = small[rows], strong[rows]
        even = np.ones(rows.size)
        part = fit_expert(
            name,
            seen[rows],
            views,
            scores,
            need[rows],
            even,
            folds[rows],
            parameters.expert,
            parameters.seed,
        )
        experts.append(part)
    tell("which expert a prompt is for")
    known = {expert.name for expert in experts}
    rows = np.flatnonzero(np.isin(sets, sorted(known)))
    gate, likeness = None, None
    if len(known) > 1:
        surface = views.surface(seen)
        likeness = fit_likeness([surface[sets == e.name] for e in experts], SURFACE_SCALE)
        gate = LogisticRegression(C=parameters.gate_c, max_iter=300).fit(seen[rows], sets[rows])
    tell("kinds of work")
    domain = LogisticRegression(C=parameters.domain_c, max_iter=300).fit(
        seen, [p.domain for p in prompts], sample_weight=usual
    )
    tell("lengths and models")
    length = fit_length(prompts, seen, sets, parameters.length_alpha)
    alpha, fewest = parameters.models_alpha, parameters.smallest_model
    models = fit_models(prompts, seen, usual, alpha, fewest)
    tell("whereabouts")
    at = place(seen, surfaces)
    clusters = KMeans(
        min(parameters.cluster_count, len(at)), n_init=1, max_iter=30, random_state=parameters.seed
    ).fit(at, sample_weight=usual)
    distances = np.quantile(distance(clusters, at), np.linspace(0.0, 1.0, DISTANCES))
    return Model(
        scale,
        views,
        base,
        experts,
        gate,
        likeness,
        domain,
        length,
        models,
        clusters,
        np.asarray(distances),
    )
