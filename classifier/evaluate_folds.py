"""What the method is worth beyond one split: `python -m classifier.evaluate --folds`.

Each figure comes from a model fitted without the groups that it is judged on. `folds`: five folds
of the training part, all kinds of work known. `left out`: every benchmark of a family is left out,
with its twins in other sources. `labels`: prompts of GSM8K with 150 labels of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import embedding, features, measures, model
from classifier.experts import ExpertParameters
from classifier.labels import Prompt
from classifier.model import Parameters

Floats = NDArray[np.float64]

# Benchmarks that are too alike for one to be hidden while another is known.
FAMILIES: dict[str, frozenset[str]] = {
    "code": frozenset({"mbpp", "human_eval"}),
    "crux": frozenset({"crux"}),
    "exams": frozenset({"mmlu", "mmlu_pro", "gpqa"}),
    "maths": frozenset({"math"}),
    "school science": frozenset({"arc_challenge", "openbook_qa"}),
    "winogrande": frozenset({"winogrande"}),
}
NEW_LABELS, DRAWS, SMALLEST = 150, 3, 100


def outer_fold(group: str) -> int:
    """A fold that is not the one inside training, so that the two splits are unlike."""
    return hashlib.sha256(group.encode()).digest()[2] % model.FOLDS


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
        "labels": _labels(everything, known, fitted, tell),
    }


Fitted = Callable[[list[int], list[int]], Floats]


def _silent(_: str) -> None:
    """The steps of one of many fits are not told."""


def _folds(
    prompts: Sequence[Prompt], known: list[int], fitted: Fitted, tell: Callable[[str], None]
) -> dict[str, Any]:
    score = np.zeros(len(known))
    for fold in range(model.FOLDS):
        tell(f"outer fold {fold + 1} of {model.FOLDS}")
        here = [i for i in known if outer_fold(prompts[i].group) == fold]
        away = [i for i in known if outer_fold(prompts[i].group) != fold]
        score[here] = fitted(away, here)
    sets: dict[str, list[int]] = {"all together": known}
    for i in known:
        sets.setdefault(f"{prompts[i].source}: {prompts[i].benchmark}", []).append(i)
    return {
        name: figures([prompts[i] for i in rows], score[rows])
        for name, rows in sorted(sets.items())
        if len(rows) >= SMALLEST
    }


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
    prompts: Sequence[Prompt], known: list[int], fitted: Fitted, tell: Callable[[str], None]
) -> dict[str, Any]:
    new = [i for i in range(len(known), len(prompts)) if prompts[i].benchmark == "gsm8k"]
    found: dict[str, Any] = {}
    for draw in range(DRAWS):
        tell(f"150 labels of GSM8K, draw {draw + 1} of {DRAWS}")
        order = sorted(new, key=lambda i: hashlib.sha256(f"{draw}{i}".encode()).digest())
        few = order[:NEW_LABELS]
        groups = {prompts[i].group for i in few}
        rest = [i for i in order[NEW_LABELS:] if prompts[i].group not in groups]
        barred = {prompts[i].group for i in rest}
        away = without(prompts[: len(known)], barred)
        judged = [prompts[i] for i in rest]
        found[f"prior, draw {draw + 1}"] = figures(judged, fitted(away, rest))
        score = fitted([*away, *few], rest)
        found[f"prior and 150 labels, draw {draw + 1}"] = figures(judged, score)
    return found


def figures(prompts: Sequence[Prompt], score: Floats) -> dict[str, Any]:
    """The figures of one set beside what prompt length and the set's own mean would give.

    calibration_floor: the calibration error that a perfect score would show for want of prompts.
    """
    small = np.array([p.small for p in prompts])
    strong = np.array([p.strong for p in prompts])
    length = np.array([float(len(p.text)) for p in prompts])
    low, high = measures.interval(measures.apgr, -score, small, strong, draws=200)
    rng = np.random.default_rng(0)
    lots = [
        measures.calibration_error(score, (rng.random(len(score)) < score).astype(float))
        for _ in range(20)
    ]
    row = {
        "apgr": measures.apgr(-score, small, strong),
        "low": low,
        "high": high,
        "cpt50": measures.cpt(-score, small, strong, 0.5),
        "cpt80": measures.cpt(-score, small, strong, 0.8),
        "auc": measures.auc(score, small),
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
    inner = replace(ExpertParameters(clusters=sizes), **expert)
    return replace(Parameters(expert=inner), **named)
