"""What holds everywhere: how much a strong model gains, whatever set a prompt may be like.

Two heads have learnt the gain centred within each set, so that no set's level is learnt: one from
all prompts, for those with answer options, and one from open prompts alone. A third guesses how
well a small model does, and bends what they say: where it fails, the strong one often fails too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge

from classifier import word_problems
from classifier.experts import calibrate
from classifier.labels import OWN, Prompt, centred, weights

Floats = NDArray[np.float64]

# From how many answer options on a prompt has another form, and with it a curve of its own.
FORMS = (2, 6)
# The small model's chance at which a strong one gains most, and how much that bends the base.
PEAK, BEND = 0.4, 0.5


@dataclass(frozen=True)
class BaseParameters:
    """What may be turned in the base; written in the card."""

    dense_alpha: float = 3.0
    own_open_weight: float = 4.0
    pair_weight: float = 4.0
    noisy_weight: float = 0.5
    fewest_for_curves: int = 100


@dataclass
class Base:
    """The two heads of any prompt, in units of their spread, and a pair of curves for each form.

    The gain of a strong model is small where the small one is good and where both fail. So a third
    head guesses the small model's level, and prompts far from PEAK need the strong one less.
    """

    heads: list[Ridge]
    plain: list[Ridge]
    level: Ridge
    spread: Floats
    bend: float
    small: list[IsotonicRegression]
    gain: list[IsotonicRegression]

    def predict(self, seen: Floats, surfaces: int) -> Floats:
        """(5, n): gain and open of all that is seen, then of the surface; the level."""
        rows = [head.predict(seen) for head in self.heads]
        rows += [head.predict(seen[:, :surfaces]) for head in self.plain]
        return np.stack([*rows, self.level.predict(seen)])

    def need(self, predicted: Floats, options: NDArray[np.int64]) -> Floats:
        """Half of each pair, bent by the level; options decide which head counts."""
        return np.asarray(self.straight(predicted, options) - self.bend * hump(predicted[4]))

    def straight(self, predicted: Floats, options: NDArray[np.int64]) -> Floats:
        """The need before the level bends it."""
        units = predicted[:4] / self.spread[:, None]
        both = np.where(options >= FORMS[0], units[0] + units[2], units[1] + units[3]) / 2.0
        return np.asarray(both, dtype=float)


def hump(level: Floats) -> Floats:
    """How far a guessed level, 0..1, is from the peak, squared."""
    return np.asarray((np.clip(level, 0.0, 1.0) - PEAK) ** 2, dtype=float)


def form(options: NDArray[np.int64]) -> NDArray[np.int64]:
    """The form of each prompt: 0 open, 1 a few answer options, 2 many."""
    return np.searchsorted(FORMS, options, side="right")


def weights_of(
    prompts: Sequence[Prompt], options: NDArray[np.int64], parameters: BaseParameters
) -> Floats:
    """(n, 2): 1/sqrt(n) by source; and by set, open prompts only, for the open head.

    The published pair counts more for it is the very question; the set with format failures less.
    """
    sources = [p.source for p in prompts]
    factor = {
        "routellm_mmlu1531": parameters.pair_weight,
        "llmrouter_9m": parameters.noisy_weight,
    }
    usual = weights(sources) * np.array([factor.get(source, 1.0) for source in sources])
    opened = weights([p.set for p in prompts]) * (options < FORMS[0])
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


def fit_base(
    prompts: Sequence[Prompt],
    seen: Floats,
    surfaces: int,
    options: NDArray[np.int64],
    folds: NDArray[np.int64],
    parameters: BaseParameters,
) -> tuple[Base, Floats]:
    """(base, its need): spreads, curves and need are of predictions without the row's group."""
    w, alpha = weights_of(prompts, options, parameters), parameters.dense_alpha
    gain = centred(np.array([p.strong - p.small for p in prompts]), [p.set for p in prompts])

    def made(rows: NDArray[np.int64]) -> Base:
        dense = _ridges(seen[rows], gain[rows], w[rows], alpha)
        plain = _ridges(seen[rows][:, :surfaces], gain[rows], w[rows], alpha)
        known = [prompts[i] for i in rows]
        even = weights([p.set for p in known]) ** 2
        level = Ridge(alpha=alpha).fit(seen[rows], [p.small for p in known], even / even.mean())
        return Base(dense, plain, level, np.ones(4), 0.0, [], [])

    unseen = np.zeros((5, len(prompts)))
    for fold in np.unique(folds):
        away, here = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if away.size:
            unseen[:, here] = made(away).predict(seen[here], surfaces)
    base = made(np.arange(len(prompts)))
    base.spread = unseen[:4].std(axis=1) + 1e-9
    bent = float(hump(unseen[4]).std())
    base.bend = BEND * float(base.straight(unseen, options).std()) / bent if bent > 0 else 0.0
    need = base.need(unseen, options)
    small = np.array([p.small for p in prompts])
    raw = np.array([p.strong - p.small for p in prompts])
    forms = form(options)
    for kind in range(len(FORMS) + 1):
        rows = np.flatnonzero(forms == kind)
        rows = rows if rows.size >= parameters.fewest_for_curves else np.arange(len(prompts))
        base.small.append(calibrate(-need[rows], small[rows], w[rows, 0]))
        base.gain.append(calibrate(need[rows], raw[rows], w[rows, 0]))
    return base, need
