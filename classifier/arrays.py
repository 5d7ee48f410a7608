"""The numbers of a fitted `classifier.model.Model`, as `classifier.scorer.Scorer` wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import curves
from classifier.experts import Expert
from classifier.model import Model

Floats = NDArray[np.float64]


def arrays_of(model: Model, far_share: float) -> dict[str, NDArray[Any]]:
    """Plain arrays; the joined heads in order: near, far, length, level, kinds, experts, gate."""
    surfaces, experts = model.surfaces, model.experts
    width = len(model.base.heads[0].coef_)
    rows, intercepts = [], []
    for i in range(2):
        row = model.base.heads[i].coef_ / model.base.spread[i]
        row[:surfaces] += model.base.plain[i].coef_ / model.base.spread[i + 2]
        rows.append(row / 2.0)
        intercepts.append(0.0)
    rows.append(model.length.coef_)
    intercepts.append(float(model.length.intercept_))
    rows.append(model.base.level.coef_)
    intercepts.append(float(model.base.level.intercept_))
    coefficients, intercept = _softmax(model.domain)
    rows.extend(coefficients)
    intercepts.extend(intercept)
    for expert in experts:
        row, intercept_ = linear_part(expert)
        rows.append(row)
        intercepts.append(intercept_)
    if model.gate is not None:
        coefficients, intercept = _softmax(model.gate)
        rows.extend(coefficients)
        intercepts.extend(intercept)
    else:
        rows.extend(np.zeros((len(experts), width)))
        intercepts.extend([0.0] * len(experts))
    centres = model.clusters.cluster_centers_.astype(np.float32)
    wide = centres.astype(np.float64)
    names = sorted(model.models)
    heads = [model.models[name] for name in names]
    return {
        "surface_mean": model.scale.mean,
        "surface_spread": model.scale.spread,
        "rarity": model.scale.rarity,
        "heads": np.array(rows),
        "heads_intercept": np.array(intercepts),
        "domains": np.array(model.domain.classes_, dtype=np.str_),
        "experts": np.array([expert.name for expert in experts], dtype=np.str_),
        "expert_base": np.array([e.stack[0] / e.spread[0] for e in experts], dtype=np.float64),
        **bags_of(experts, model.views.turn.shape[1]),
        **_likeness(model, surfaces),
        **_trust(model),
        "bend": np.array(model.base.bend),
        "topics_turn": model.views.turn,
        "topics_at": model.views.at,
        **curves.arrays_of("small", [*model.base.small, *(e.small for e in experts)]),
        **curves.arrays_of("gain", [*model.base.gain, *(e.gain for e in experts)]),
        "centres": centres,
        "centre_half_norms": ((wide * wide).sum(axis=1) / 2.0).astype(np.float32),
        "distances": model.distances,
        "far_share": np.array(far_share),
        "model_names": np.array(names, dtype=np.str_),
        "model_heads": np.array([h.coef_ for h in heads], np.float32).reshape(len(names), width),
        "model_intercept": np.array([float(head.intercept_) for head in heads]),
    }


def _likeness(model: Model, surfaces: int) -> dict[str, NDArray[Any]]:
    """The form of each expert's set; nothing where there is no gate."""
    found = model.likeness
    if found is None:
        return {f"form_{part}": np.zeros((0, surfaces)) for part in ("mean", "inverse")} | {
            "form_limit": np.zeros(0)
        }
    return {
        "form_mean": found.mean,
        "form_inverse": found.inverse,
        "form_limit": found.limit,
    }


def _trust(model: Model) -> dict[str, NDArray[Any]]:
    """Weights of the five numbers that say whether an expert is the right one; or none."""
    weights, intercept = model.trust.linear() if model.trust else (np.zeros(0), 0.0)
    return {"trust_weights": weights, "trust_intercept": np.array(intercept)}


def linear_part(expert: Expert) -> tuple[Floats, float]:
    """What an expert's two ridges say together, as one row of coefficients and an intercept."""
    share = expert.stack / expert.spread
    learners = expert.learners
    row = share[-1] * learners.words.coef_
    row[: learners.views.surfaces] += share[-2] * learners.surface.coef_
    intercept = share[-1] * learners.words.intercept_ + share[-2] * learners.surface.intercept_
    return row, float(intercept)


def bags_of(experts: list[Expert], width: int) -> dict[str, NDArray[Any]]:
    """The clusters of all experts, one after the other; also of those who only measure by them."""
    centres, values, owners, sizes = [np.zeros((0, width), np.float16)], [np.zeros(0)], [], []
    for who, expert in enumerate(experts):
        bag, share = expert.learners.bag, expert.stack[-3] / expert.spread[-3]
        if not bag.sizes:
            continue
        centres.append(bag.centres.astype(np.float16))
        values.append(bag.values * share)
        owners.extend([who] * len(bag.sizes))
        sizes.extend(bag.sizes)
    return {
        "bag_centres": np.concatenate(centres),
        "bag_values": np.concatenate(values),
        "bag_owner": np.array(owners, dtype=np.int64),
        "bag_size": np.array(sizes, dtype=np.int64),
    }


def _softmax(estimator: Any) -> tuple[Floats, Floats]:
    """Coefficients and intercepts with a row for each class, also where there are only two."""
    coefficients, intercept = estimator.coef_, estimator.intercept_
    if len(coefficients) == 1:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros(1), intercept])
    return coefficients, intercept
