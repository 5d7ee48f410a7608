"""Judge the shipped artefact on prompts that it never saw: `python -m classifier.evaluate`.

Prints a table and writes `report.html` beside the artefact's folder. With --folds the protocols of
`classifier.evaluate_folds` run too; their figures, and the CPU times measured then, are kept beside
the report until the artefact changes, so the report of one artefact is the same each time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import artefact, labels, measures, perturb, report
from classifier.labels import Prompt
from classifier.measures import shown
from classifier.scorer import Scorer
from classifier.settings import ROOT, default_artefact

Floats = NDArray[np.float64]
SMALLEST = 10
ROUNDS = 5
TOGETHER = "all known sets together"


def default_data() -> Path:
    """Where labelled prompts lie: where we are told, beside us, or where `make data` puts them."""
    beside = ROOT.parent / "shared" / "data"
    usual = beside if (beside / "MANIFEST.json").is_file() else ROOT / "var" / "data"
    return Path(os.environ.get("CLASSIFIER_DATA") or usual)


def slices(prompts: Sequence[Prompt]) -> dict[str, list[int]]:
    """Rows by what they were held out for: a source's own fifth, or a benchmark never seen."""
    rows: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        unseen = prompt.benchmark in labels.WITHHELD
        name = f"{prompt.benchmark} (zero-shot)" if unseen else prompt.source
        rows.setdefault(name, []).append(i)
        if not unseen:
            rows.setdefault(TOGETHER, []).append(i)
    return rows


def task_mean(known: Sequence[Prompt], prompts: Sequence[Prompt]) -> Floats:
    """The mean gain of each prompt's benchmark and kind of work in `known`; 0 where unknown."""
    gains: dict[tuple[str, str], list[float]] = {}
    for p in known:
        gains.setdefault((p.benchmark, p.domain), []).append(p.strong - p.small)
    means = {key: float(np.mean(values)) for key, values in gains.items()}
    return np.array([means.get((p.benchmark, p.domain), 0.0) for p in prompts])


def judge(
    scorer: Scorer, prompts: Sequence[Prompt], seed: int = 0, known: Sequence[Prompt] = ()
) -> dict[str, Any]:
    """The figures of each slice beside those of the baselines; percentages as 0..1.

    `known` are the training prompts, from which the baseline of the known task takes its means.
    """
    task = task_mean(known, prompts)
    score = np.array([scorer(p.text).score for p in prompts])
    small = np.array([p.small for p in prompts])
    strong = np.array([p.strong for p in prompts])
    length = np.array([float(len(p.text)) for p in prompts])
    chance = np.random.default_rng(seed).random(len(prompts))
    result = {}
    for name, rows in sorted(slices(prompts).items()):
        if len(rows) < SMALLEST:
            continue
        weak, best = small[rows], strong[rows]
        result[name] = {
            "prompts": len(rows),
            "always_local": round(float(weak.mean()), 4),
            "always_strong": round(float(best.mean()), 4),
            "router": _ranks(-score[rows], weak, best),
            "prompt_length": _ranks(length[rows], weak, best),
            "task_mean": _ranks(task[rows] + 1e-9 * chance[rows], weak, best),
            "random": _ranks(chance[rows], weak, best),
            "oracle": _ranks(best - weak, weak, best),
            "auc": _number(measures.auc(score[rows], weak)),
            "calibration_error": round(measures.calibration_error(score[rows], weak), 4),
            "calibration_interval": _calibration(score[rows], weak),
        }
    return result


def _number(value: float) -> float | None:
    """Rounded; None where the figure does not exist, for JSON knows no nan."""
    return None if np.isnan(value) else round(value, 4)


def _calibration(score: Floats, small: Floats) -> list[float]:
    low, high = measures.interval(measures.calibration_error, score, small)
    return [round(low, 4), round(high, 4)]


def _ranks(need: Floats, small: Floats, strong: Floats) -> dict[str, Any]:
    low, high = measures.interval(measures.apgr, need, small, strong)
    return {
        "apgr": _number(measures.apgr(need, small, strong)),
        "apgr_interval": [_number(low), _number(high)],
        "cpt50": _number(measures.cpt(need, small, strong, 0.5)),
        "cpt80": _number(measures.cpt(need, small, strong, 0.8)),
    }


def latency(scorer: Scorer) -> dict[str, float]:
    """Microseconds of CPU for one prompt of 60, 400 and 2,000 characters; the best of ROUNDS.

    What else runs on the machine can only add to it.
    """
    text = " ".join(prompt for _, _, prompt in labels.own_prompts())
    found = {}
    for size in (60, 400, 2000):
        prompts = [text[i : i + size] for i in range(0, 20_000, 100)]
        for prompt in prompts[:50]:
            scorer(prompt)
        best = float("inf")
        for _ in range(ROUNDS):
            start = time.process_time()
            for prompt in prompts:
                scorer(prompt)
            best = min(best, (time.process_time() - start) / len(prompts) * 1e6)
        found[str(size)] = round(best, 1)
    return found


def table(result: dict[str, Any]) -> str:
    """The figures as lines of text."""
    head = (
        f"{'held-out prompts':<30}{'n':>6}{'local':>7}{'strong':>7}{'APGR':>7}  {'95 %':<13}"
        f"{'CPT50':>6}{'CPT80':>6}{'AUC':>6}{'ECE':>6}{'length':>8}{'task':>7}{'random':>8}{'oracle':>8}"
    )
    lines = [head, "-" * len(head)]
    for name, row in result.items():
        ours = row["router"]
        interval = "-".join(shown(value) for value in ours["apgr_interval"])
        lines.append(
            f"{name:<30}{row['prompts']:>6}{row['always_local']:>7.3f}{row['always_strong']:>7.3f}"
            f"{shown(ours['apgr']):>7}  {interval:<13}"
            f"{shown(ours['cpt50'], '.1%'):>6}{shown(ours['cpt80'], '.1%'):>6}"
            f"{shown(row['auc'], '.2f'):>6}{row['calibration_error']:>6.3f}"
            f"{shown(row['prompt_length']['apgr']):>8}{shown(row['task_mean']['apgr']):>7}"
            f"{shown(row['random']['apgr']):>8}{shown(row['oracle']['apgr']):>8}"
        )
    lines.append(
        "APGR: 0.5 is chance. CPT50/80: strong share that recovers 50/80 % of the gap "
        "(chance 50/80 %). ECE: calibration error. Last four: APGR of the baselines."
    )
    return "\n".join(lines)


def curves(scorer: Scorer, prompts: Sequence[Prompt]) -> dict[str, dict[str, list[float]]]:
    """Quality at 21 strong shares, 0 to 1, by slice: ours, by prompt length, and the oracle's."""
    score = np.array([scorer(p.text).score for p in prompts])
    small = np.array([p.small for p in prompts])
    strong = np.array([p.strong for p in prompts])
    length = np.array([float(len(p.text)) for p in prompts])
    found = {}
    for name, rows in sorted(slices(prompts).items()):
        if len(rows) >= SMALLEST:
            weak, best = small[rows], strong[rows]
            needs = {"router": -score[rows], "length": length[rows], "oracle": best - weak}
            found[name] = {k: measures.quality(v, weak, best, 21) for k, v in needs.items()}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write the report; exit code 2 if the data or the artefact cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m classifier.evaluate", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="labelled prompts")
    parser.add_argument("--artefact", type=Path, default=default_artefact())
    parser.add_argument("--folds", action="store_true", help="fit on folds too; takes minutes")
    parser.add_argument("--report", type=Path, help="where the report goes; beside the artefact")
    chosen = parser.parse_args(arguments)
    try:
        model = artefact.load(chosen.artefact)
        known, held = labels.split(labels.shared(chosen.data) + labels.own())
    except (artefact.ArtefactError, labels.DataMissing) as error:
        print(f"Cannot evaluate: {error}", file=sys.stderr)
        return 2
    print(f"{chosen.artefact} {model.version}, held-out prompts only\n")
    result = judge(model.scorer, held, known=known)
    print(table(result))
    steady = perturb.steadiness(model.scorer, held)
    print("\n" + perturb.table(steady) + "\n")
    times = latency(model.scorer)
    print("CPU per prompt: " + ", ".join(f"{n} characters {us} µs" for n, us in times.items()))
    place = chosen.report or chosen.artefact.parent / "report.html"
    kept = place.with_name("folds.json")
    if chosen.folds:
        folds = _folds(model.card, known, held, chosen.data)
        keep(kept, model.version, folds, times)
    folds, times = remembered(kept, model.version, times)
    place.write_text(
        report.page(model.card, result, curves(model.scorer, held), folds, times, steady),
        encoding="utf-8",
    )
    print(f"\n{place} written")
    return 0


def keep(path: Path, version: str, folds: dict[str, Any], times: dict[str, float]) -> None:
    """Write what takes minutes to find, or is never found alike, beside the report."""
    text = json.dumps({"version": version, "cpu_us": times, "figures": folds}, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")


def remembered(
    path: Path, version: str, times: dict[str, float]
) -> tuple[dict[str, Any], dict[str, float]]:
    """(folds, CPU times) that were kept for this version, so that its report is always the same;
    no folds and the times just measured if nothing was."""
    if not path.is_file():
        return {}, times
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["version"] != version:
        return {}, times
    return kept["figures"], kept.get("cpu_us", times)


def _folds(
    card: dict[str, Any], known: Sequence[Prompt], held: Sequence[Prompt], data: Path
) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from classifier import evaluate_folds, evaluate_models

    withheld = [p for p in held if p.benchmark in labels.WITHHELD]

    def tell(step: str) -> None:
        print(step, file=sys.stderr, flush=True)

    with threadpool_limits(limits=1):
        parameters = evaluate_folds.parameters_of(card)
        found = evaluate_folds.run(known, withheld, parameters, tell)
        many = evaluate_models.run(data, tell)
    print("\n" + evaluate_folds.table(found))
    print("\n" + evaluate_models.table(many))
    return {**found, "models": many}


if __name__ == "__main__":
    sys.exit(main())
