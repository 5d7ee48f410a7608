"""Choosing one of many models: quality against cost, beside the zero router and the known task.

AIQ (RouterBench, arXiv 2403.12031): the area under the non-decreasing hull of a router's points in
the plane of cost and quality, over the range from the cheapest to the dearest single model. The
zero router is the hull of the single models. QNC: what it costs to reach the quality of the best
single model, as a part of that model's cost. Each prompt is judged by heads that saw nothing of its
group. RouterBench, whose labels train what ships, is judged by the heads that serve: ridge learnt
from all sets together. Those of the Open LLM Leaderboard may not train it, so heads are fitted on
them alone, and a prompt whose form is none of the known sets' gets the models' means.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from classifier import embedding, features, labels, model
from classifier.base import weights_of
from classifier.experts import ExpertParameters, fit_bag
from classifier.heads import fit_models
from classifier.labels import Prompt
from classifier.likeness import fit_likeness
from classifier.views import fit_views

Floats = NDArray[np.float64]

FOLDS, POINTS, LINES, DRAWS = 5, 2001, 120, 60
ALPHA = 300.0
# From so many times the usual distance to a set's form on a prompt is unlike it.
FAR = 1.25
# Billions of parameters stand for cost where no price is known.
SIZES: dict[str, float] = {
    "Llama-2-13b-chat-hf": 13,
    "Llama-3.1-70B-Instruct": 70,
    "Llama-3.1-Nemotron-70B-Instruct-HF": 70,
    "Mistral-7B-Instruct-v0.1": 7,
    "Mistral-7B-Instruct-v0.2": 7,
    "Mistral-7B-Instruct-v0.3": 7,
    "Mixtral-8x7B-Instruct-v0.1": 47,
    "Nous-Hermes-2-Mixtral-8x7B-DPO": 47,
    "QwQ-32B-Preview": 32,
    "Qwen2-72B-Instruct": 72,
    "Qwen2.5-72B-Instruct": 72,
    "Qwen2.5-7B-Instruct": 7,
    "SOLAR-10.7B-Instruct-v1.0": 11,
    "WizardLM-2-8x22B": 141,
    "Yi-34B-Chat": 34,
    "deepseek-llm-67b-chat": 67,
    "gemma-2-27b-it": 27,
    "gemma-2-9b-it": 9,
    "gemma-2b-it": 2,
}


@dataclass(frozen=True)
class Pool:
    """Prompts that all of some models answered: quality and cost are (n, models)."""

    names: list[str]
    texts: list[str]
    groups: list[str]
    sets: NDArray[np.str_]
    tasks: NDArray[np.str_]
    quality: Floats
    cost: Floats


def pool(path: Path, by_category: bool = False) -> Pool:
    """Read a file of labelled prompts: the models of all its sets, prompts that all of them did."""
    import pyarrow.parquet as parquet  # Only judging reads these; serving must not need it.

    columns = parquet.read_table(path).to_pydict()
    texts = columns["prompt"]
    if "query" in columns:
        texts = [q or t for q, t in zip(columns["query"], texts, strict=True)]
    first: dict[str, int] = {}
    rows: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for i, key in enumerate(columns["prompt_id"]):
        first.setdefault(key, i)
        if columns["score"][i] is not None:
            name = columns["model"][i]
            cost = columns["cost_usd"][i]
            rows[key][name] = columns["score"][i], SIZES[name] if cost is None else cost
    of_set: dict[str, set[str]] = defaultdict(set)
    for key, row in rows.items():
        of_set[columns["benchmark"][first[key]]].update(row)
    names = sorted(set.intersection(*of_set.values()))
    keys = [key for key in first if all(name in rows[key] for name in names)]
    kind = "category" if by_category else "benchmark"
    both = np.array([[rows[key][name] for name in names] for key in keys])
    return Pool(
        names,
        [texts[first[key]] for key in keys],
        [columns["group_id"][first[key]] for key in keys],
        np.array([columns["benchmark"][first[key]] for key in keys]),
        np.array([columns[kind][first[key]] for key in keys]),
        both[:, :, 0],
        both[:, :, 1],
    )


def hull(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """The corners of the non-decreasing upper hull, by rising cost."""
    corners: list[tuple[float, float]] = []
    for c, q in sorted(zip(cost.tolist(), quality.tolist(), strict=True)):
        if corners and q <= corners[-1][1]:
            continue
        while len(corners) > 1 and _under(corners[-2], corners[-1], (c, q)):
            corners.pop()
        if corners and corners[-1][0] == c:
            corners.pop()
        corners.append((c, q))
    found = np.array(corners)
    return found[:, 0], found[:, 1]


def _under(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])


def aiq(cost: Floats, quality: Floats, low: float, high: float) -> float:
    """The area under the hull of some points from cost `low` to `high`, by that range."""
    x, y = hull(cost, quality)
    grid = np.linspace(low, high, POINTS)
    return float(np.interp(grid, x, y).mean())


def points(foretold: Floats, price: Floats, quality: Floats, cost: Floats) -> tuple[Floats, Floats]:
    """(cost, quality) of the router at many prices of quality, from spend nothing to spend all."""
    rows = np.arange(len(quality))
    found = []
    for worth in (0.0, *np.geomspace(1e-3, 1e5, LINES), np.inf):
        value = -price if np.isinf(worth) else foretold - worth * price / price.mean() * 1e-2
        pick = value.argmax(axis=1)
        found.append((cost[rows, pick].mean(), quality[rows, pick].mean()))
    pairs = np.array(found)
    return pairs[:, 0], pairs[:, 1]


def measure(foretold: Floats, price: Floats, quality: Floats, cost: Floats) -> dict[str, float]:
    """AIQ and QNC of a router; QNC is nan where it never reaches the best single model."""
    mean = cost.mean(axis=0)
    x, y = points(foretold, price, quality, cost)
    best = int(quality.mean(axis=0).argmax())
    corner_x, corner_y = hull(x, y)
    reached = np.flatnonzero(corner_y >= quality.mean(axis=0)[best])
    needed = float("nan")
    if reached.size:
        k = reached[0]
        goal = quality.mean(axis=0)[best]
        needed = float(corner_x[0])
        if k:
            part = (goal - corner_y[k - 1]) / (corner_y[k] - corner_y[k - 1])
            needed = float(corner_x[k - 1] + part * (corner_x[k] - corner_x[k - 1]))
    return {"aiq": aiq(x, y, mean.min(), mean.max()), "qnc": needed / float(mean[best])}


def run(data: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """The figures of each pool that lies in the folder."""
    found: dict[str, Any] = {}
    if (data / "routerbench.parquet").is_file():
        tell("many models: RouterBench")
        taught = labels.shared(data) + labels.own()
        found["RouterBench, as served"] = judged(pool(data / "routerbench.parquet"), None, taught)
    if (data / "openllm2.parquet").is_file():
        tell("many models: Open LLM Leaderboard")
        whole = pool(data / "openllm2.parquet", by_category=True)
        found["Open LLM, both sets known"] = judged(whole, None)
        for name in sorted(set(whole.sets.tolist())):
            found[f"Open LLM, {name} never seen"] = judged(whole, name)
    return found


def judged(data: Pool, unseen: str | None, taught: Sequence[Prompt] = ()) -> dict[str, Any]:
    """Five folds; or, with the name of a set, that one judged by heads of the others.

    With `taught` the heads are those that `model.fit` makes of these prompts, less a fold's groups.
    """
    x = _seen_of(data.texts)
    known = _seen_of([p.text for p in taught]) if taught else x
    if unseen is None:
        folds = np.array([hashlib.sha256(g.encode()).digest()[4] % FOLDS for g in data.groups])
        parts = [(folds != k, folds == k) for k in range(FOLDS)]
    else:
        here = data.sets == unseen
        barred = {g for g, h in zip(data.groups, here.tolist(), strict=True) if h}
        away = np.array([g not in barred for g in data.groups]) & ~here
        parts = [(away, here)]
    shape = data.quality.shape
    router, task, price = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for away, here in parts:
        if taught:
            router[here] = _served(data, taught, known, x, here)
        else:
            router[here] = _fitted(data, x, away, here)
        task[here] = _task_means(data, away, here, data.quality)
        price[here] = _task_means(data, away, here, data.cost)
    rows = np.flatnonzero(np.any([here for _, here in parts], axis=0))
    quality, cost = data.quality[rows], data.cost[rows]
    mean = cost.mean(axis=0)
    routers = {"router": router, "known task": task}
    result: dict[str, Any] = {
        "prompts": len(rows),
        "models": shape[1],
        "zero": round(aiq(mean, quality.mean(axis=0), mean.min(), mean.max()), 4),
    }
    for name, foretold in routers.items():
        result[name] = _rounded(measure(foretold[rows], price[rows], quality, cost))
    result["oracle"] = _rounded(measure(quality, price[rows], quality, cost))
    rng = np.random.default_rng(0)
    less = []
    for _ in range(DRAWS):
        draw = rng.integers(0, len(rows), len(rows))
        q, c = quality[draw], cost[draw]
        mean = c.mean(axis=0)
        zero = aiq(mean, q.mean(axis=0), mean.min(), mean.max())
        less.append(measure(router[rows][draw], price[rows][draw], q, c)["aiq"] - zero)
    result["router less zero"] = [round(float(v), 4) for v in np.quantile(less, (0.025, 0.975))]
    return result


def _seen_of(texts: Sequence[str]) -> model.Matrix:
    words = embedding.load()
    return model.matrix([features.extract(text, words) for text in texts])


def _served(
    data: Pool, taught: Sequence[Prompt], known: model.Matrix, x: model.Matrix, here: Any
) -> Floats:
    """What the heads that ship would say of some prompts, had they not learnt from their groups."""
    barred = {g for g, h in zip(data.groups, here.tolist(), strict=True) if h}
    rows = np.array([i for i, p in enumerate(taught) if p.group not in barred])
    prompts, part, usual = [taught[i] for i in rows], known[rows], model.Parameters()
    scale = model.fit_scale(part, usual.rarity)
    w = weights_of(prompts, part.options, usual.base)[:, 0]
    heads = fit_models(prompts, scale.seen(part), w, usual.models_alpha, usual.smallest_model)
    new = scale.seen(x[np.flatnonzero(here)])
    said = np.column_stack([heads[name].predict(new) for name in data.names])
    return np.asarray(np.clip(said, 0.0, 1.0), dtype=float)


def _fitted(data: Pool, x: model.Matrix, away: Any, here: Any) -> Floats:
    """What heads fitted on a part of the pool say of another, or the means where it is unlike."""
    scale = model.fit_scale(x[np.flatnonzero(away)], 1e-3)
    seen = scale.seen(x)
    said = _foretold(seen[away], data.quality[away], seen[here], len(scale.mean))
    alike = _alike(seen[:, : len(scale.mean)], data.sets, away, here)[:, None]
    mean = data.quality[away].mean(axis=0)
    return np.asarray(mean + alike * (said - mean), dtype=float)


def _foretold(seen: Floats, quality: Floats, new: Floats, surfaces: int) -> Floats:
    """Half ridge, half bag of k-means, a column a model: wary of noise, for the best is picked."""
    ridge = Ridge(alpha=ALPHA).fit(seen, quality).predict(new)
    parameters = ExpertParameters(clusters=(8, 16, 32), seeds=1)
    views = fit_views(seen, surfaces)
    known, judged_on = views.topics(seen), views.topics(new)
    mean = quality.mean(axis=0)
    clusters = np.empty((len(new), quality.shape[1]))
    bag = fit_bag(known, quality[:, 0] - mean[0], np.ones(len(seen)), parameters, 0)
    for column in range(quality.shape[1]):
        bag.values = _values(bag.sizes, bag.centres, known, quality[:, column])
        clusters[:, column] = mean[column] + bag.predict(judged_on)
    return np.asarray((ridge + clusters) / 2.0, dtype=float)


def _alike(surface: Floats, sets: NDArray[np.str_], away: Any, here: Any) -> Floats:
    """1 for prompts of the form of a known set, 0 where only the models' means can be trusted."""
    parts = [surface[away & (sets == name)] for name in sorted(set(sets[away].tolist()))]
    likeness = fit_likeness(parts, model.SURFACE_SCALE)
    rows = surface[here]
    far = [likeness.far(rows, np.full(len(rows), i)) for i in range(len(parts))]
    return np.asarray(np.clip((FAR - np.min(far, axis=0)) / (FAR - 1.0), 0.0, 1.0), dtype=float)


def _values(
    sizes: Sequence[int], centres: NDArray[np.float32], topics: NDArray[np.float32], target: Floats
) -> Floats:
    """What each centre of a bag says of another target, shrunk to its mean."""
    shrink = ExpertParameters().shrink
    far = (centres.astype(float) ** 2).sum(axis=1)[None] / 2 - topics @ centres.T.astype(float)
    values, start = [], 0
    for size in sizes:
        near = far[:, start : start + size].argmin(axis=1)
        total = np.bincount(near, weights=target - target.mean(), minlength=size)
        values.append(total / (np.bincount(near, minlength=size) + shrink))
        start += size
    return np.concatenate(values)


def _task_means(data: Pool, away: Any, here: Any, values: Floats) -> Floats:
    """The mean of each prompt's task over what is known; of everything where the task is new."""
    whole = values[away].mean(axis=0)
    found = np.tile(whole, (int(here.sum()), 1))
    for name in set(data.tasks[here].tolist()):
        known = away & (data.tasks == name)
        if known.any():
            found[data.tasks[here] == name] = values[known].mean(axis=0)
    return found


def _rounded(row: dict[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else round(value, 4) for key, value in row.items()}


def table(found: dict[str, Any]) -> str:
    """The figures as lines of text."""
    head = (
        f"{'choosing a model':<34}{'n':>6}{'zero':>7}{'AIQ':>7}  {'less zero, 95 %':<18}{'QNC':>6}"
        f"{'task':>7}{'task QNC':>9}{'oracle':>8}"
    )
    lines = [head, "-" * len(head)]
    for name, row in found.items():
        low, high = row["router less zero"]
        qnc, other = (
            "-" if row[who]["qnc"] is None else f"{row[who]['qnc']:.2f}"
            for who in ("router", "known task")
        )
        lines.append(
            f"{name:<34}{row['prompts']:>6}{row['zero']:>7.3f}{row['router']['aiq']:>7.3f}"
            f"  {f'{low:+.3f} to {high:+.3f}':<18}{qnc:>6}{row['known task']['aiq']:>7.3f}"
            f"{other:>9}{row['oracle']['aiq']:>8.3f}"
        )
    return "\n".join(lines)
