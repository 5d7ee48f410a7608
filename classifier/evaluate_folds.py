"""What the method is worth beyond one split: `python -m classifier.evaluate --folds`.

Each figure comes from a model fitted without the groups that it is judged on. `folds`: five folds
of the training part, all kinds of work known; a set's ranks within a fold are compared, for one
model will serve. `left out`: every benchmark of a family is left out,
with its twins in other sources. `labels`: the learning curve of a new domain, whose prior saw
nothing of it, with labels upon that prior as `make train DATA=FILE` has it, and with the same
labels alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from classifier import adapter, embedding, features, measures, model
from classifier.adapter import Known
from classifier.base import BaseParameters
from classifier.domains import FAMILIES
from classifier.experts import ExpertParameters
from classifier.labels import Prompt, own
from classifier.model import Parameters

Floats = NDArray[np.float64]

NEW_LABELS, DRAWS, SMALLEST, FEWEST_LEFT = (150, 500, 1000), 3, 100, 150
# By which bytes of a group's hash the folds are cut, one way each: with a thousand prompts the way
# of cutting alone moves APGR by .02 (MMLU .643 to .677 over these six), and each costs five fits.
CUTS = (2, 3, 4, 5, 6, 7)
# New domains of the learning curve, each with the family that its prior must not know.
NEW_DOMAINS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("gsm8k", "gsm8k", frozenset()),
    ("mmlu", "routellm_mmlu1531", FAMILIES["exams"]),
    ("mmlu_pro", "mmlu_pro", FAMILIES["exams"]),
)


def outer_fold(group: str, cut: int = CUTS[0]) -> int:
    """A fold that is not the one inside training, so that the two splits are unlike."""
    return hashlib.sha256(group.encode()).digest()[cut] % model.FOLDS


def without(prompts: Sequence[Prompt], hidden: set[str]) -> list[int]:
    """Rows whose group is not hidden."""
    return [i for i, p in enumerate(prompts) if p.group not in hidden]


def run(
    prompts: Sequence[Prompt],
    withheld: Sequence[Prompt],
    parameters: Parameters,
    tell: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """The figures by protocol and set; `prompts` train, `withheld` are GSM8K's own."""
    opened = embedding.load()
    everything = [*prompts, *withheld]
    x = model.matrix([features.extract(p.text, opened) for p in everything])
    known = list(range(len(prompts)))

    def fitted(rows: list[int], hidden: list[int]) -> Floats:
        if {everything[i].group for i in rows} & {everything[i].group for i in hidden}:
            raise AssertionError("a group is both learnt from and judged on")
        made = model.fit([everything[i] for i in rows], x[np.array(rows)], parameters, _silent)
        return made.score(x[np.array(hidden)])

    return {
        "folds": _folds(everything, known, fitted, tell),
        "left out": _left_out(everything, known, fitted, tell),
        "labels": _labels(everything, x, known, parameters, tell),
    }


Fitted = Callable[[list[int], list[int]], Floats]


def _silent(_: str) -> None:
    """The steps of one of many fits are not told."""


def _folds(
    prompts: Sequence[Prompt], known: list[int], fitted: Fitted, tell: Callable[[str], None]
) -> dict[str, Any]:
    sets: dict[str, list[int]] = {"all together": known}
    for i in known:
        sets.setdefault(f"{prompts[i].source}: {prompts[i].benchmark}", []).append(i)
    large = {name: rows for name, rows in sorted(sets.items()) if len(rows) >= SMALLEST}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in large}
    for cut in CUTS:
        score, folds = np.zeros(len(known)), np.zeros(len(known), dtype=int)
        for fold in range(model.FOLDS):
            tell(f"cut {CUTS.index(cut) + 1} of {len(CUTS)}, outer fold {fold + 1}")
            here = [i for i in known if outer_fold(prompts[i].group, cut) == fold]
            away = [i for i in known if outer_fold(prompts[i].group, cut) != fold]
            score[here] = fitted(away, here)
            folds[here] = fold
        for name, rows in large.items():
            judged = [prompts[i] for i in rows]
            found[name].append(figures(judged, score[rows], _order(score[rows], folds[rows])))
    return {name: _mean(rows) for name, rows in found.items()}


def _order(score: Floats, folds: NDArray[np.int64]) -> Floats:
    """Ranks within each fold, 0..1: five models judge a set here, and one of them would serve."""
    order = np.zeros(len(score))
    for fold in np.unique(folds):
        here = folds == fold
        order[here] = rankdata(score[here]) / here.sum()
    return order


def _left_out(
    prompts: Sequence[Prompt], known: list[int], fitted: Fitted, tell: Callable[[str], None]
) -> dict[str, Any]:
    found = {}
    for family, members in FAMILIES.items():
        tell(f"without {family}")
        hidden = [i for i in known if prompts[i].benchmark in members]
        barred = {prompts[i].group for i in hidden}
        away = without(prompts[: len(known)], barred)
        score = dict(zip(hidden, fitted(away, hidden), strict=True))
        sets: dict[str, list[int]] = {}
        for i in hidden:
            sets.setdefault(f"{prompts[i].source}: {prompts[i].benchmark}", []).append(i)
        for name, rows in sorted(sets.items()):
            found[name] = figures([prompts[i] for i in rows], np.array([score[i] for i in rows]))
    return found


def _labels(
    prompts: Sequence[Prompt],
    x: model.Matrix,
    known: list[int],
    parameters: Parameters,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Means over draws of labels; the rows left judge all sizes of one domain alike."""
    found: dict[str, Any] = {}
    for benchmark, source, family in NEW_DOMAINS:
        new = [i for i, p in enumerate(prompts) if p.benchmark == benchmark]
        new = [i for i in new if prompts[i].source in (source, "llmrouter_9m", "three")]
        new = [i for i in new if benchmark == "gsm8k" or prompts[i].source == source]
        if len(new) < FEWEST_LEFT // 3:
            continue
        tell(f"labels of {benchmark}")
        barred = {prompts[i].group for i in new}
        barred |= {prompts[i].group for i in known if prompts[i].benchmark in family}
        away = without(prompts[: len(known)], barred)
        prior = model.fit([prompts[i] for i in away], x[np.array(away)], parameters, _silent)
        found |= _curve(benchmark, [prompts[i] for i in new], x[np.array(new)], prior, parameters)
    return found


def _curve(
    name: str, prompts: list[Prompt], x: model.Matrix, prior: model.Model, parameters: Parameters
) -> dict[str, Any]:
    """A row for each number of labels, upon the prior and alone."""
    seen = prior.scale.seen(x)
    whole = Known(
        seen,
        np.stack(prior.estimate(x)),
        np.array([p.small for p in prompts]),
        np.array([p.strong for p in prompts]),
        np.ones(len(prompts)),
        np.array([model.fold_of(p.group) for p in prompts]),
    )
    opened = embedding.load()
    everyday = [features.extract(p.text, opened) for p in own()]
    background = prior.scale.seen(model.matrix(everyday))
    sizes = [n for n in NEW_LABELS if len(prompts) - n >= FEWEST_LEFT] or [len(prompts) // 3]
    rows: dict[str, list[dict[str, Any]]] = {}
    for draw in range(DRAWS):
        order = np.argsort(
            [hashlib.sha256(f"{draw}{p.group}".encode()).digest() for p in prompts], kind="stable"
        )
        learnt = {prompts[int(i)].group for i in order[: sizes[-1]]}
        rest = np.array([i for i in order[sizes[-1] :] if prompts[int(i)].group not in learnt])
        judged, part = [prompts[int(i)] for i in rest], whole[rest]
        rows.setdefault(f"{name}: no label", []).append(figures(judged, part.prior[0]))
        for size in sizes:
            few = whole[order[:size]]
            made = adapter.fit(few, prior.views, background, parameters.expert)
            score, _ = made.estimate(part.seen, part.prior)
            score = model.settled(score, made.need(part.seen, part.prior))
            rows.setdefault(f"{name}: {size} upon the prior", []).append(figures(judged, score))
            plain = adapter.alone(few, part, prior.views, parameters.expert)
            alone = figures(judged, part.prior[0], -plain)
            alone["calibration_error"] = None
            rows.setdefault(f"{name}: {size} alone", []).append(alone)
    return {key: _mean(draws) for key, draws in rows.items()}


def _mean(draws: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each figure over draws, the ends of the intervals among them."""
    found: dict[str, Any] = {}
    for key in draws[0]:
        values = [row[key] for row in draws if row[key] is not None]
        found[key] = round(float(np.mean(values)), 4) if values else None
    found["prompts"] = draws[0]["prompts"]
    return found


def figures(
    prompts: Sequence[Prompt], score: Floats, order: Floats | None = None
) -> dict[str, Any]:
    """The figures of one set beside what prompt length and the set's own mean would give.

    order: what prompts are ranked by, where that is not the score. calibration_floor: the
    calibration error that a perfect score would show for want of prompts.
    """
    order = score if order is None else order
    small = np.array([p.small for p in prompts])
    strong = np.array([p.strong for p in prompts])
    length = np.array([float(len(p.text)) for p in prompts])
    low, high = measures.interval(measures.apgr, -order, small, strong, draws=200)
    rng = np.random.default_rng(0)
    lots = [
        measures.calibration_error(score, (rng.random(len(score)) < score).astype(float))
        for _ in range(20)
    ]
    row = {
        "apgr": measures.apgr(-order, small, strong),
        "low": low,
        "high": high,
        "cpt50": measures.cpt(-order, small, strong, 0.5),
        "cpt80": measures.cpt(-order, small, strong, 0.8),
        "auc": measures.auc(order, small),
        "calibration_error": measures.calibration_error(score, small),
        "calibration_floor": float(np.mean(lots)),
        "length": measures.apgr(length, small, strong),
        "oracle": measures.apgr(strong - small, small, strong),
    }
    rounded = {k: None if np.isnan(v) else round(v, 4) for k, v in row.items()}
    gap = float(strong.mean() - small.mean())
    return {"prompts": len(prompts), "gap": round(gap, 4), **rounded}


def table(result: dict[str, dict[str, Any]]) -> str:
    """The figures as lines of text; a set with a gap under .05 is marked."""
    lines = []
    for protocol, sets in result.items():
        head = (
            f"{protocol:<38}{'n':>6}{'gap':>7}{'APGR':>7}  {'95 %':<14}{'CPT50':>6}{'CPT80':>7}"
            f"{'ECE':>6}{'floor':>6}{'length':>8}{'oracle':>8}"
        )
        lines += [head, "-" * len(head)]
        for name, row in sets.items():
            interval = f"{_number(row['low'])} to {_number(row['high'])}"
            mark = " *" if row["gap"] < 0.05 else ""
            lines.append(
                f"{name + mark:<38}{row['prompts']:>6}{row['gap']:>7.3f}{_number(row['apgr']):>7}"
                f"  {interval:<14}{_number(row['cpt50']):>6}{_number(row['cpt80']):>7}"
                f"{_number(row['calibration_error']):>6}{_number(row['calibration_floor']):>6}"
                f"{_number(row['length']):>8}{_number(row['oracle']):>8}"
            )
        lines.append("")
    lines.append("* the strong model is hardly better here: ratios to that gap mean little")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def parameters_of(card: dict[str, Any]) -> Parameters:
    """The parameters that the card names."""
    named = dict(card["parameters"])
    expert = dict(named.pop("expert"))
    sizes = tuple(int(size) for size in expert.pop("clusters"))
    shares = tuple(float(share) for share in expert.pop("stack_shares"))
    base = BaseParameters(**named.pop("base"))
    inner = replace(ExpertParameters(clusters=sizes, stack_shares=shares), **expert)
    return replace(Parameters(base=base, expert=inner), **named)
