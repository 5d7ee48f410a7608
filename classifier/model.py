"""The estimators, fitted with scikit-learn, and the pipeline that joins them.

A prompt that looks like one of the labelled sets is judged by that set's expert, any other by the
base (`classifier.base`). A gate, logistic regression over the sets, says which expert a prompt is
for, and a second one whether that can be right (`classifier.trust`). Where it can, the expert's
curves count; else he only pulls at the order that the base makes, for what he knows of levels holds
in his set alone. In between both count.

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
from sklearn.linear_model import LogisticRegression, Ridge

from classifier import embedding
from classifier.base import Base, BaseParameters, fit_base, form, weights_of
from classifier.domains import family_of
from classifier.experts import Expert, ExpertParameters, fit_expert
from classifier.features import VOCABULARY, Features
from classifier.heads import fit_length, fit_models
from classifier.labels import Prompt
from classifier.likeness import Likeness, fit_likeness
from classifier.trust import Trust, distances, fit_trust, logits_of, numbers_of
from classifier.views import Views, fit_views

Floats = NDArray[np.float64]

SURFACE_SCALE = 0.15
CLUSTER_SCALE = 0.03
CLIP = 4.0
FOLDS = 5
TIE_BREAK = 0.004
# The chance that the expert is the right one from which on his curves begin to count, and from
# which they alone do.
TRUST = (0.3, 0.5)
# The gate's probability from which on he begins to pull at the base's need, from which he does so
# in full, and how strong that is.
HINT = (0.3, 0.7)
PULL = 0.6
DISTANCES = 201
LONGEST_ANSWER = 10.0


@dataclass(frozen=True)
class Parameters:
    """What may be turned; all of it is written in the card."""

    seed: int = 0
    rarity: float = 1e-3
    cluster_count: int = 96
    domain_c: float = 3.0
    gate_c: float = 3.0
    length_alpha: float = 3.0
    models_alpha: float = 300.0
    far_share: float = 0.005
    smallest_expert: int = 100
    smallest_model: int = 300
    base: BaseParameters = field(default_factory=BaseParameters)
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
class Model:
    """The whole fitted pipeline: the reference that the fast scorer must equal."""

    scale: Scale
    views: Views
    base: Base
    experts: list[Expert]
    gate: LogisticRegression | None
    likeness: Likeness | None
    trust: Trust | None
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
        parts = [
            np.flatnonzero((who == i) & ((pull > 0) | (level > 0)))
            for i in range(len(self.experts))
        ]
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
        logits = logits_of(self.gate, seen)
        who, most = logits.argmax(axis=1), self.gate.predict_proba(seen).max(axis=1)
        pull = PULL * np.clip((most - HINT[0]) / (HINT[1] - HINT[0]), 0.0, 1.0)
        if self.trust is None:
            return who, pull, np.zeros(len(seen))
        form = self.likeness.far(self.views.surface(seen), who)
        away = distances(self.experts, self.views, seen, who)
        right = self.trust.of(numbers_of(logits, form, away))
        return who, pull, np.clip((right - TRUST[0]) / (TRUST[1] - TRUST[0]), 0.0, 1.0)

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


def fit(
    prompts: Sequence[Prompt], x: Matrix, parameters: Parameters, tell: Callable[[str], Any]
) -> Model:
    """Fit everything; stacking and curves see only predictions made without the row's group."""
    scale = fit_scale(x, parameters.rarity)
    seen, surfaces = scale.seen(x), x.surface.shape[1]
    views = fit_views(seen, surfaces)
    folds = np.array([fold_of(p.group) for p in prompts])
    usual = weights_of(prompts, x.options, parameters.base)[:, 0]
    tell("what holds everywhere")
    base, need = fit_base(prompts, seen, surfaces, x.options, folds, parameters.base)
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
    gate, likeness, trust = None, None, None
    if len(known) > 1:
        surface = views.surface(seen)
        likeness = fit_likeness([surface[sets == e.name] for e in experts], SURFACE_SCALE)
        gate = LogisticRegression(C=parameters.gate_c, max_iter=300).fit(seen[rows], sets[rows])
        tell("whether to trust that expert")
        families = np.array([family_of(p.benchmark) for p in prompts])[rows]
        trust = fit_trust(
            seen[rows],
            views,
            sets[rows],
            families,
            folds[rows],
            experts,
            likeness,
            parameters.gate_c,
        )
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
        trust,
        domain,
        length,
        models,
        clusters,
        np.asarray(distances),
    )
