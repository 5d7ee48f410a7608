"""Heads beside the score: how well each known model does, and how long an answer is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from classifier.labels import Prompt, weights

Floats = NDArray[np.float64]


def fit_models(
    prompts: Sequence[Prompt], seen: Floats, w: Floats, alpha: float, fewest: int
) -> dict[str, Ridge]:
    """A head for each model with `fewest` scores; models scored on the same rows share a solve.

    A model learns from one source, the one that scored it most: heads are compared with each other,
    and another source has other prompts and another way to grade. With MMLU's labels beside those
    of RouterBench one of its eleven models was out of line (AIQ .843; without them .848).
    """
    rows_of: dict[str, list[int]] = {}
    for (name, _), rows in sorted(_by_source(prompts).items(), key=lambda item: -len(item[1])):
        rows_of.setdefault(name, rows)
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, rows in sorted(rows_of.items()):
        if len(rows) >= fewest:
            alike.setdefault(tuple(rows), []).append(name)
    heads: dict[str, Ridge] = {}
    for same, names in alike.items():
        at = np.array(same)
        y = np.array([[prompts[i].scores[name] for name in names] for i in same])
        fitted = Ridge(alpha=alpha).fit(seen[at], y, w[at] / w[at].mean())
        coefficients = np.atleast_2d(fitted.coef_)
        intercepts = np.atleast_1d(fitted.intercept_)
        for name, coefficient, intercept in zip(names, coefficients, intercepts, strict=True):
            head = Ridge(alpha=alpha)
            head.coef_, head.intercept_ = coefficient.copy(), float(intercept)
            head.n_features_in_ = seen.shape[1]
            heads[name] = head
    return dict(sorted(heads.items()))


def _by_source(prompts: Sequence[Prompt]) -> dict[tuple[str, str], list[int]]:
    """The rows on which each model was scored, by (model, source)."""
    found: dict[tuple[str, str], list[int]] = {}
    for i, prompt in enumerate(prompts):
        for name in prompt.scores:
            found.setdefault((name, prompt.source), []).append(i)
    return found


def fit_length(
    prompts: Sequence[Prompt], seen: Floats, sets: NDArray[np.str_], alpha: float
) -> Ridge:
    """The logarithm of an answer's tokens, from sets that say them, each with the same say."""
    tokens = np.array([p.tokens for p in prompts])
    rows = np.flatnonzero(np.isfinite(tokens))
    if not rows.size:
        rows, tokens = np.arange(len(prompts)), np.full(len(prompts), 100.0)
    w = weights(sets[rows].tolist())
    return Ridge(alpha=alpha).fit(seen[rows], np.log1p(tokens[rows]), w)
