"""Which models of an own file stand for the two tiers, and whether there is enough of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classifier.own_labels import FEWEST_PROMPTS, LabelsError, Own


@dataclass(frozen=True)
class Tiers:
    """Names of the models whose mean stands for a tier; empty where labels say it themselves."""

    local: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()


def settle(prompts: Sequence[Own], asked: Tiers) -> Tiers:
    """Fill `small` and `strong` from the models' scores; LabelsError if it cannot be done.

    Without a word from the user the model with the lowest mean is the local one, and that with the
    highest the strong one.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for prompt in prompts:
        for name, value in prompt.scores.items():
            scores[name].append(value)
    for name in (*asked.local, *asked.strong):
        if name not in scores:
            known = ", ".join(sorted(scores)[:8]) or "none"
            raise LabelsError(f"No model {name!r} in the labels; there are: {known}.")
    if set(asked.local) & set(asked.strong):
        raise LabelsError("A model cannot stand for both tiers.")
    chosen = asked if asked.local or asked.strong else _by_mean(scores)
    for prompt in prompts:
        for side, names in (("small", chosen.local), ("strong", chosen.strong)):
            values = [prompt.scores[name] for name in names if name in prompt.scores]
            if values:
                setattr(prompt, side, float(np.mean(values)))
    return chosen


def _by_mean(scores: dict[str, list[float]]) -> Tiers:
    if not scores:
        return Tiers()
    if len(scores) == 1:
        return Tiers(local=tuple(scores))
    order = sorted(scores, key=lambda name: (float(np.mean(scores[name])), name))
    return Tiers((order[0],), (order[-1],))


def enough(prompts: Sequence[Own]) -> list[Own]:
    """The prompts of which a tier's score is known; LabelsError if they can teach nothing."""
    known = [p for p in prompts if p.small is not None or p.strong is not None]
    if len(known) < FEWEST_PROMPTS:
        raise LabelsError(
            f"{len(known)} distinct prompts with a score are too few to learn from; "
            f"{FEWEST_PROMPTS} is the least, 150 is a good start."
        )
    small = {p.small for p in known if p.small is not None}
    strong = {p.strong for p in known if p.strong is not None}
    if len(small) < 2 and len(strong) < 2:
        raise LabelsError(
            "All prompts have the same label, so nothing tells them apart. "
            "Both kinds are needed: prompts that the local model answers well, and others."
        )
    return known
