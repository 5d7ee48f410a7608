"""The fast scorer: the fitted numbers of a `Model`, served with numpy alone.

Most of what a scikit-learn call on one prompt costs is its own checks. The arrays here come from
the fitted estimators, travel in `model.npz` (no pickle), and give the same score to 1e-6. All
linear heads are one matrix, so a prompt costs one product; clusters are looked at only for the one
expert that the gate names.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from operator import mul
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier import features
from classifier.adapter_scorer import AdapterScorer
from classifier.bags import Clusters
from classifier.curves import Curve, curves_in
from classifier.embedding import Embedding
from classifier.features import Features

# Those of `classifier.model` and `.trust`, which serving must not import: scikit-learn is slow.
SURFACE_SCALE = 0.15
CLUSTER_SCALE = 0.03
NARROWER = CLUSTER_SCALE / SURFACE_SCALE
CLIP = 4.0
TIE_BREAK = 0.004
FORMS = (2, 6)
TRUST = (0.3, 0.5)
HINT = (0.3, 0.7)
PULL = 0.6
PEAK = 0.4
LOWEST = (-5.0, -5.0, 0.0, 0.0, 0.0)
HIGHEST = (12.0, 20.0, 15.0, 14.0, 4.0)
LONGEST_ANSWER = 10.0
"""The logarithm of the most tokens that are ever foretold."""
LARGEST_LOGIT = 700.0
"""No head may say more of any prompt, so that its exponential is a number. Ours say 66."""

Arrays = Mapping[str, NDArray[Any]]


class Scored(NamedTuple):
    """What the model says of one prompt.

    score: the small model's chance, 0..1; gain: what the strong one adds to it, -1..1; length: the
    tokens of a usual answer; sure: the share of training prompts that lie at least as far out;
    expert: whose set the prompt looks like; trust: how much that expert counts, 0..1.
    """

    score: float
    gain: float
    domain: str
    length: float
    sure: float
    out_of_distribution: bool
    expert: str
    trust: float

    @property
    def strong(self) -> float:
        """The strong model's chance, 0..1."""
        return min(max(self.score + self.gain, 0.0), 1.0)


class Scorer:
    """Scores one prompt at a time; immutable, safe to share between threads."""

    def __init__(self, arrays: Arrays, embedding: Embedding) -> None:
        self._embedding = embedding
        self._mean = arrays["surface_mean"]
        self._inverse = SURFACE_SCALE / arrays["surface_spread"]
        self._rarity = arrays["rarity"]
        heads, intercept = arrays["heads"], arrays["heads_intercept"]
        self._width = heads.shape[1]
        if self._width != len(self._mean) + embedding.table.shape[1]:
            raise ValueError("the heads do not fit the features")
        self._surfaces = len(self._mean)
        # As arrays, for a number would be made one each time.
        self._highest = np.full(self._surfaces, CLIP * SURFACE_SCALE)
        self._lowest = -self._highest
        self._kinds = self.domains = [str(name) for name in arrays["domains"]]
        self._experts = self.experts = [str(name) for name in arrays["experts"]]
        count = len(self._experts)
        # Rows of the heads: near, far, length, level, kinds of work, experts, gate.
        self._experts_at = 4 + len(self._kinds)
        self._gate_at = self._experts_at + count
        self._places_at = self._gate_at + count
        if len(heads) != self._places_at or len(intercept) != len(heads):
            raise ValueError("there is not one head for each kind of work, expert and gate")
        if _highest(heads, intercept, self._surfaces) > LARGEST_LOGIT:
            raise ValueError("the heads run away")
        self._bags = _bags(arrays, count)
        self._base = arrays["expert_base"].tolist()
        limits = (arrays["form_limit"] * math.sqrt(self._surfaces)).tolist()
        if len(self._base) != count or len(limits) not in (0, count):
            raise ValueError("there is not one form for each expert")
        means, inverses = arrays["form_mean"], arrays["form_inverse"]
        self._forms = list(zip(means, inverses, limits, strict=True))
        weights = arrays["trust_weights"].tolist()
        self._trust_intercept = float(arrays["trust_intercept"])
        if len(weights) not in (0, len(LOWEST)):
            raise ValueError("there is not one weight for each number that trust hangs on")
        self._trust = weights
        self._bend = float(arrays["bend"])
        self._small = curves_in(arrays, "small", len(FORMS) + 1 + count)
        self._gain = curves_in(arrays, "gain", len(FORMS) + 1 + count)
        # All that is linear in the same numbers is one product, of single precision, for most of
        # what it costs is fetching it. The last column is the constants.
        centres, turn = arrays["centres"], arrays["topics_turn"].T
        self._topics_at = self._places_at + len(centres)
        self._looks = np.zeros((self._topics_at + len(turn), self._width + 1), dtype=np.float32)
        self._looks[: self._places_at, :-1] = heads
        self._looks[: self._places_at, -1] = intercept
        self._looks[self._places_at : self._topics_at, :-1] = centres
        self._looks[self._places_at : self._topics_at, : self._surfaces] *= NARROWER
        self._looks[self._places_at : self._topics_at, -1] = -arrays["centre_half_norms"]
        self._looks[self._topics_at :, self._surfaces : -1] = turn
        self._looks[self._topics_at :, -1] = -arrays["topics_at"]
        self._blank = np.ones(self._width + 1, dtype=np.float32)
        distances = arrays["distances"].tolist()
        self._sure_at = Curve(distances, np.linspace(1.0, 0.0, len(distances)).tolist())
        self._far = float(arrays["far_share"])
        self._model_heads = arrays["model_heads"]
        self._model_intercept = arrays["model_intercept"]
        self.models = [str(name) for name in arrays["model_names"]]
        if self._model_heads.shape != (len(self.models), self._width):
            raise ValueError("there is not one head for each model")
        if len(self._model_intercept) != len(self.models):
            raise ValueError("there is not one intercept for each model")
        if len(self._rarity) != len(embedding.table):
            raise ValueError("there is not one rarity for each token")
        self._adapter = AdapterScorer.of(arrays)

    def __call__(self, text: str) -> Scored:
        """Score one prompt of any length and any script."""
        return self.features(features.extract(text, self._embedding))

    def features(self, x: Features, without: str = "") -> Scored:
        """Score a prompt whose features are known.

        without: "expert", "clusters" or "own labels" leaves that part out, to explain a score.
        """
        total = self._total(x)
        seen = self._blank.copy()
        seen[: self._surfaces] = surface = self._scaled(x.surface)
        length = math.sqrt(float(total.dot(total)))
        np.multiply(total, 1.0 / (length + 1e-9), out=seen[self._surfaces : -1])
        looks = self._looks.dot(seen)
        heads = looks[: self._places_at].tolist()
        topics = looks[self._topics_at :]
        topics *= 1.0 / (math.sqrt(float(topics.dot(topics))) + 1e-9)
        form = bisect_right(FORMS, x.options)
        need = heads[0 if form else 1]
        need -= self._bend * (min(max(heads[3], 0.0), 1.0) - PEAK) ** 2
        who, pull, level, clusters = self._gated(heads, surface, topics)
        if without == "expert":
            pull = level = 0.0
        own = need
        if pull > 0.0 or level > 0.0:
            own = heads[self._experts_at + who] + self._base[who] * need
            if without != "clusters":
                own += clusters
            need += pull * (own - need)
        score, gain = self._small[form](-need), self._gain[form](need)
        if level > 0.0:
            at = len(FORMS) + 1 + who
            score += level * (self._small[at](-own) - score)
            gain += level * (self._gain[at](own) - gain)
        score = settled(score, need + level * (own - need))
        if self._adapter is not None and without != "own labels":
            judged = self._adapter.judge(self._wide(surface, total), topics, score, gain)
            if judged is not None:
                score, gain = settled(judged.score, judged.need), judged.gain
        kinds = heads[4 : self._experts_at]
        sure = self._sure(looks[self._places_at : self._topics_at], surface, length > 0.0)
        return Scored(
            score,
            gain,
            self._kinds[kinds.index(max(kinds))],
            math.expm1(min(max(heads[2], 0.0), LONGEST_ANSWER)),
            sure,
            sure < self._far,
            self._experts[who] if self._experts else "",
            max(pull, level),
        )

    def chances(self, x: Features) -> dict[str, float]:
        """The chance, 0..1, that each known model answers well."""
        raw = self._model_heads @ self.whereabouts(x) + self._model_intercept
        return dict(zip(self.models, np.clip(raw, 0.0, 1.0).tolist(), strict=True))

    def whereabouts(self, x: Features) -> NDArray[np.float64]:
        """Surface and words side by side, as all heads see them."""
        return self._wide(self._scaled(x.surface), self._total(x))

    def _scaled(self, surface: NDArray[np.float64]) -> NDArray[np.float64]:
        """The surface in units of its spread, clipped."""
        scaled = surface - self._mean
        scaled *= self._inverse
        np.maximum(scaled, self._lowest, out=scaled)
        np.minimum(scaled, self._highest, out=scaled)
        return scaled

    def _total(self, x: Features) -> NDArray[np.float32]:
        """The tokens' rows, each by its rarity."""
        found: NDArray[np.float32] = self._rarity.take(x.rows).dot(
            self._embedding.table.take(x.rows, 0)
        )
        return found

    def _wide(
        self, surface: NDArray[np.float64], total: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        length = math.sqrt(float(total @ total)) + 1e-9
        return np.concatenate([surface, total.astype(np.float64) / length])

    def _gated(
        self, heads: list[float], surface: NDArray[np.float64], topics: NDArray[np.float32]
    ) -> tuple[int, float, float, float]:
        """Which expert, how far he pulls at the base's need, how much his own curves count, and
        what his clusters add to his need."""
        if not self._forms:
            return 0, 0.0, 0.0, 0.0
        logits = heads[self._gate_at : self._places_at]
        largest = max(logits)
        who = logits.index(largest)
        others = sum(map(math.exp, logits)) * math.exp(-largest) - 1.0
        pull = PULL * min(max((1.0 / (1.0 + others) - HINT[0]) / (HINT[1] - HINT[0]), 0.0), 1.0)
        bag, clusters, away = self._bags[who], 0.0, 1.0
        if bag is not None:
            clusters, away = bag.value(topics)
        if not self._trust:
            return who, pull, 0.0, clusters
        mean, inverse, limit = self._forms[who]
        units = surface - mean
        units *= inverse
        far = math.sqrt(float(units.dot(units))) / limit
        numbers = (-math.log(max(others, 1e-12)), largest, far, far - 1.0, away)
        within = map(min, HIGHEST, map(max, LOWEST, numbers))
        logit = self._trust_intercept + sum(map(mul, self._trust, within))
        right = 1.0 / (1.0 + math.exp(min(-logit, 700.0)))
        return who, pull, min(max((right - TRUST[0]) / (TRUST[1] - TRUST[0]), 0.0), 1.0), clusters

    def _sure(self, along: NDArray[np.float32], surface: NDArray[np.float64], words: bool) -> float:
        """From the distance to the nearest centre; `along` are the products with the centres, each
        less half the centre's squared length. The words' length is 1, or 0 without any."""
        own = float(surface.dot(surface)) * NARROWER**2 + words
        return self._sure_at(math.sqrt(max(own - 2.0 * float(along[along.argmax()]), 0.0)))


def _highest(heads: NDArray[np.float64], intercept: NDArray[np.float64], surfaces: int) -> float:
    """More than any head can say of any prompt: words have length 1, the surface is clipped."""
    form = CLIP * SURFACE_SCALE * np.abs(heads[:, :surfaces]).sum(axis=1)
    words = np.linalg.norm(heads[:, surfaces:], axis=1)
    return float((form + words + np.abs(intercept)).max(initial=0.0))


def _bags(arrays: Arrays, count: int) -> list[Clusters | None]:
    """The bags of all experts; None for one who has too few prompts for clusters."""
    whole = arrays["bag_centres"].astype(np.float32)
    values = arrays["bag_values"]
    owners, sizes = arrays["bag_owner"], arrays["bag_size"]
    if int(sizes.sum()) != len(whole) or len(values) != len(whole) or len(owners) != len(sizes):
        raise ValueError("the clusters of the experts do not add up")
    ends = np.cumsum(sizes)
    bags: list[Clusters | None] = []
    for who in range(count):
        mine = np.flatnonzero(owners == who)
        if not mine.size:
            bags.append(None)
            continue
        rows = slice(int(ends[mine[0]] - sizes[mine[0]]), int(ends[mine[-1]]))
        bags.append(Clusters(sizes[mine].tolist(), whole[rows], values[rows]))
    return bags


def settled(probability: float, need: float) -> float:
    """Break the ties of the isotonic steps, so that a share asked for can be given."""
    inside = min(max(probability, 0.0), 1.0)
    return (1.0 - TIE_BREAK) * inside + TIE_BREAK / (1.0 + math.exp(min(need, 700.0)))


__all__ = ["Arrays", "Curve", "Scored", "Scorer", "settled"]
