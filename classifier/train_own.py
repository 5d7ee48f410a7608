"""Train on one's own labels and feedback, with a trained artefact as the prior.

No shared data is needed: the prior is what ships, or any other artefact. The figures come from
folds: each prompt is judged by a fit that saw nothing of its group, beside the prior alone and the
labels alone, with the paired bootstrap between them. What is written was fitted on all labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from classifier import adapter, artefact, embedding, evaluate, features, feedback, labels, measures
from classifier.adapter import Adapter, Known
from classifier.artefact import Artefact
from classifier.experts import ExpertParameters
from classifier.model import FOLDS, Model, fold_of, settled
from classifier.own_labels import Kept, LabelsError, Own, Read, read
from classifier.own_tiers import Tiers, enough, settle
from classifier.scorer import Scorer
from classifier.views import Views

Floats = NDArray[np.float64]

MODELS_ALPHA = 30.0
QUANTILES = 401
# From here on one fifth is judged, not five: more would only take longer.
MANY = 3000
FEWEST_JUDGED = 30


class NotBetter(RuntimeError):
    """What was learnt is worse than the prior or the labels alone, so it was not written."""


@dataclass
class Adapted:
    """The prior and the adapter in scikit-learn's objects: the reference for the fast scorer."""

    prior: Model
    adapter: Adapter

    def score(self, x: Any) -> Floats:
        """The calibrated chance of the small model, 0..1."""
        score, gain = self.prior.estimate(x)
        seen = self.prior.scale.seen(x)
        both = np.vstack([score, gain])
        mixed, _ = self.adapter.estimate(seen, both)
        near = self.adapter.nearness(seen)
        need = self.adapter.need(seen, both)
        # The prior's own need only breaks ties that its score has broken already.
        return np.where(near > 0, settled(mixed, need), score)


@dataclass(frozen=True)
class Labels:
    """All labels of one training: prompts, and what the files held."""

    prompts: list[Own]
    tiers: Tiers
    files: dict[str, dict[str, Any]]


def gather(files: Sequence[Path], judged: Sequence[Path], asked: Tiers) -> Labels:
    """Read and merge label files and feedback files; LabelsError if they can teach nothing."""
    kept, said = Kept(), dict[str, dict[str, Any]]()
    for path, reader in [*((f, read) for f in files), *((f, feedback.read) for f in judged)]:
        found: Read = reader(path)
        said[path.name] = {
            "sha256": _digest(path),
            "rows": found.rows,
            "distinct": found.distinct,
            "duplicates": found.duplicates,
        }
        for own in found.prompts:
            kept.add(own)
    prompts = kept.prompts()
    tiers = settle(prompts, asked)
    return Labels(enough(prompts), tiers, said)


def train(
    own: Labels, prior_folder: Path, folder: Path, data: Path | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Fit, judge and write a candidate; returns its card. NotBetter if it is worse, unwritten."""
    prior = artefact.load(prior_folder)
    parameters = ExpertParameters()
    tell("features")
    known, seen = _known(own.prompts, prior)
    kept = prior.arrays
    views = Views(len(kept["surface_mean"]), kept["topics_turn"], kept["topics_at"])
    background = _background(prior)
    with threadpool_limits(limits=1):  # Sums made in parallel differ from run to run.
        tell("judging on folds")
        score, result = judge(own.prompts, known, views, background, parameters)
        _mind(result)
        tell("all labels together")
        made = adapter.fit(known, views, background, parameters)
        heads = _models(own.prompts, seen)
    arrays = {k: v for k, v in prior.arrays.items() if not k.startswith("own_")}
    arrays |= made.arrays() | _joined(prior, heads)
    fast = Scorer(arrays, embedding.load())
    tell("judging what must not get worse")
    shared = labels.shared(data) if data is not None else []
    learnt, held = labels.split(shared + labels.own())
    stacked = made.share * adapter_spread(made)
    card = {
        **{k: v for k, v in prior.card.items() if k not in ("files", "libraries", "format")},
        "name": folder.name,
        "version": _version(prior, own),
        "prior": {"version": prior.version, "sha256": prior.digest},
        "own": {
            "files": own.files,
            "prompts": len(own.prompts),
            "tiers": {"local": list(own.tiers.local), "strong": list(own.tiers.strong)},
            "voices": dict(zip(adapter.VOICES, np.round(stacked, 4).tolist(), strict=True)),
            "judged": result,
            "parameters": asdict(parameters),
        },
        "models": sorted({*prior.scorer.models, *heads}),
        "held_out": evaluate.judge(fast, held, known=learnt),
        "quantiles": [float(q) for q in np.quantile(score, np.linspace(0, 1, QUANTILES))],
        "golden": [{**row, "score": fast(row["prompt"]).score} for row in prior.card["golden"]],
    }
    reference = artefact.load_reference(prior_folder)
    whole = Adapted(reference.prior if isinstance(reference, Adapted) else reference, made)
    return artefact.save(folder, card, arrays, whole)


def adapter_spread(made: Adapter) -> Floats:
    """Turns shares into parts of one, for the card."""
    total = np.abs(made.share).sum()
    return np.full(len(made.share), 1.0 / total if total else 0.0)


def _known(prompts: Sequence[Own], prior: Artefact) -> tuple[Known, Floats]:
    """The prompts as numbers; what no label says, the prior does."""
    opened = embedding.load()
    rows = [features.extract(p.text, opened) for p in prompts]
    seen = np.array([prior.scorer.whereabouts(x) for x in rows])
    said = [prior.scorer.features(x, without="own labels") for x in rows]
    small = [s.score if p.small is None else p.small for p, s in zip(prompts, said, strict=True)]
    strong = [
        max(s.strong, low) if p.strong is None else p.strong
        for p, s, low in zip(prompts, said, small, strict=True)
    ]
    known = Known(
        seen,
        np.array([[s.score for s in said], [s.gain for s in said]]),
        np.array(small),
        np.array(strong),
        np.array([p.weight for p in prompts]),
        np.array([fold_of(p.group) for p in prompts]),
    )
    return known, seen


def _background(prior: Artefact) -> Floats:
    """Everyday prompts and word problems of our own, from which the new ones are told."""
    opened = embedding.load()
    return np.array(
        [prior.scorer.whereabouts(features.extract(p.text, opened)) for p in labels.own()]
    )


def judge(
    prompts: Sequence[Own],
    known: Known,
    views: Views,
    background: Floats,
    parameters: ExpertParameters,
) -> tuple[Floats, dict[str, Any]]:
    """(scores of judged prompts, figures): both, the prior alone and the labels alone, on folds."""
    outer = np.array([hashlib.sha256(p.group.encode()).digest()[3] % FOLDS for p in prompts])
    both, alone = np.zeros(len(outer)), np.zeros(len(outer))
    # Each fold has a model of its own, and only one will serve: ranks within folds are compared.
    order = {who: np.zeros(len(outer)) for who in ("both", "prior", "labels")}
    chosen = range(FOLDS) if len(outer) < MANY else range(1)
    for fold in chosen:
        away, here = np.flatnonzero(outer != fold), np.flatnonzero(outer == fold)
        if not here.size:
            continue
        made = adapter.fit(known[away], views, background, parameters)
        part = known[here]
        score, _ = made.estimate(part.seen, part.prior)
        both[here] = settled(score, made.need(part.seen, part.prior))
        alone[here] = -adapter.alone(known[away], part, views, parameters)
        for who, score in (("both", both), ("prior", known.prior[0]), ("labels", alone)):
            order[who][here] = rankdata(score[here]) / here.size
    rows = np.flatnonzero(np.isin(outer, list(chosen)))
    return both[rows], compared(
        [prompts[int(i)] for i in rows],
        known[rows],
        {who: ranks[rows] for who, ranks in order.items()},
        both[rows],
    )


def compared(
    prompts: Sequence[Own], known: Known, scores: dict[str, Floats], chance: Floats
) -> dict[str, Any]:
    """The figures of each, and the paired bootstrap of both against each of the others.

    By APGR where both tiers' scores are known of enough prompts, else by AUC of the small one's.
    """
    full = [i for i, p in enumerate(prompts) if p.small is not None and p.strong is not None]
    half = [i for i, p in enumerate(prompts) if p.small is not None]
    gap = float((known.strong[full] - known.small[full]).mean()) if full else 0.0
    if len(full) >= FEWEST_JUDGED and gap > 0:
        name, rows = "apgr", np.array(full)
    else:
        name, rows = "auc", np.array(half if len(half) >= FEWEST_JUDGED else range(len(prompts)))
    small, strong = known.small[rows], known.strong[rows]

    def measure(score: Floats, small: Floats, strong: Floats) -> float:
        if name == "apgr":
            return measures.apgr(-score, small, strong)
        return measures.auc(score, small)

    result: dict[str, Any] = {"measure": name, "prompts": len(rows), "gap": round(gap, 4)}
    for who, score in scores.items():
        low, high = measures.interval(measure, score[rows], small, strong)
        value = measure(score[rows], small, strong)
        result[who] = {"value": _round(value), "interval": [_round(low), _round(high)]}
    error = measures.calibration_error(chance[rows], small)
    result["both"]["calibration_error"] = _round(error)
    for other in ("prior", "labels"):
        result[f"both less {other}"] = measures.paired(
            measure, scores["both"][rows], scores[other][rows], small, strong
        )
    return result


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def _mind(result: dict[str, Any]) -> None:
    """Refuse what the paired bootstrap says is worse than either alone."""
    for other in ("prior", "labels"):
        row = result[f"both less {other}"]
        if row["high"] is not None and row["high"] < 0:
            raise NotBetter(
                f"On folds, prior and labels together are worse than the {other} alone by "
                f"{-row['mean']:.3f} {result['measure'].upper()} (95 %: {row['low']:+.3f} to "
                f"{row['high']:+.3f}). Nothing was written."
            )


def _models(prompts: Sequence[Own], seen: Floats) -> dict[str, Ridge]:
    """A head for each model of the file with enough scores."""
    rows: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        for name in prompt.scores:
            rows.setdefault(name, []).append(i)
    heads = {}
    for name, at in sorted(rows.items()):
        if len(at) >= FEWEST_JUDGED:
            y = [prompts[i].scores[name] for i in at]
            heads[name] = Ridge(alpha=MODELS_ALPHA).fit(seen[at], y)
    return heads


def _joined(prior: Artefact, heads: dict[str, Ridge]) -> dict[str, NDArray[Any]]:
    """The prior's heads of models and the file's; the file's where both know one."""
    old = prior.arrays
    names = [str(name) for name in old["model_names"]]
    rows = dict(zip(names, old["model_heads"], strict=True))
    intercepts = dict(zip(names, old["model_intercept"].tolist(), strict=True))
    for name, head in heads.items():
        rows[name] = head.coef_.astype(np.float32)
        intercepts[name] = float(head.intercept_)
    order = sorted(rows)
    return {
        "model_names": np.array(order, dtype=np.str_),
        "model_heads": np.array([rows[name] for name in order], dtype=np.float32),
        "model_intercept": np.array([intercepts[name] for name in order]),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _version(prior: Artefact, own: Labels) -> str:
    text = json.dumps([prior.digest, own.files, own.tiers.local, own.tiers.strong], sort_keys=True)
    return f"{artefact.FORMAT}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def table(card: dict[str, Any]) -> str:
    """What the labels taught, as lines of text."""
    own = card["own"]
    result = own["judged"]
    local, strong = (", ".join(own["tiers"][side]) or "as labelled" for side in ("local", "strong"))
    lines = [
        f"{own['prompts']:,} labelled prompts; local: {local}; strong: {strong}",
        f"judged on folds by {result['measure'].upper()}, {result['prompts']:,} prompts",
        "",
    ]
    names = {"both": "prior and labels", "prior": "prior alone", "labels": "labels alone"}
    for who, words in names.items():
        row = result[who]
        low, high = (measures.shown(value) for value in row["interval"])
        lines.append(f"{words:<20}{measures.shown(row['value']):>7}  {low} to {high}")
    for other in ("prior", "labels"):
        row = result[f"both less {other}"]
        lines.append(
            f"{'both less ' + other:<20}{measures.shown(row['mean'], '+.3f'):>7}  "
            f"{measures.shown(row['low'], '+.3f')} to {measures.shown(row['high'], '+.3f')}"
        )
    lines.append(f"calibration error {measures.shown(result['both']['calibration_error'])}")
    heard = ", ".join(f"{name} {share:.0%}" for name, share in own["voices"].items())
    lines.append(f"voices: {heard}")
    return "\n".join(lines)


__all__ = ["Adapted", "LabelsError", "NotBetter", "gather", "table", "train"]
