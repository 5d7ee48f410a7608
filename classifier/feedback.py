"""The gateway's feedback as labels: `var/feedback.jsonl`, one object a line.

  request_id, prompt, route, tier, model, score, propensity, feedback (good, bad, other_tier, score
  or null), value (0..1 or null), better_model (or null), created

What nobody judged, and answers of a tier between the two or of none, teach nothing and are passed
over.

`better_model` is a pair: that model's answer was better than the one given. Of which tier it is,
the file's other rows say. If it is of the other tier, that tier would have answered well; a word
about the answer itself stays as it was said.

Only the tier that answered was seen, and it was not chosen at random: an exploring route logs with
which chance, its propensity. A row counts 1 / propensity, but no more than MOST_WEIGHT times, which
keeps rare accidents from ruling: inverse propensity weighting, clipped (Strehl, Langford, Li and
Kakade, "Learning from Logged Implicit Exploration Data", NIPS 2010; Ionides, "Truncated Importance
Sampling", 2008). What the other tier would have done is not known; the prior's estimate stands in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classifier.labels import group_of
from classifier.own_labels import MOST_TROUBLES, Kept, LabelsError, Own, Read, json_lines, score_of

MOST_WEIGHT = 20.0
TIERS = ("local", "strong")
FEEDBACK = ("good", "bad", "other_tier", "score")
EMPTY: Mapping[str, str] = {}


def read(path: Path) -> Read:
    """The prompts that callers judged; LabelsError names lines that do not fit."""
    if not path.is_file():
        raise LabelsError(f"{path} is not there: no feedback was exported yet.")
    kept, troubles, rows, used = Kept(), list[str](), 0, 0
    tiers = tiers_in(path)
    for line, row in json_lines(path):
        rows += 1
        try:
            if isinstance(row, LabelsError):
                raise row
            own = judged(dict(row), tiers)
            if own is not None:
                kept.add(own)
                used += 1
        except LabelsError as error:
            troubles.append(f"line {line}: {error}")
            if len(troubles) >= MOST_TROUBLES:
                break
    if troubles:
        raise LabelsError(f"{path.name}: " + "; ".join(troubles))
    if not used:
        raise LabelsError(f"{path.name}: nobody said anything of any of its {rows:,} answers.")
    return Read(kept.prompts(), rows, kept.duplicates, kept.distinct)


def tiers_in(path: Path) -> dict[str, str]:
    """The tier of each model that answered, by its whole name and by what follows the last slash.

    A model that answered for both tiers, or a short name of two, is of none.
    """
    found: dict[str, set[str]] = {}
    for _, row in json_lines(path):
        if isinstance(row, LabelsError):
            continue
        name, tier = row.get("model"), row.get("tier")
        if isinstance(name, str) and isinstance(tier, str):
            for known in {name, name.rpartition("/")[2]}:
                found.setdefault(known, set()).add(tier)
    return {name: next(iter(tiers)) for name, tiers in found.items() if len(tiers) == 1}


def judged(row: dict[str, Any], tiers: Mapping[str, str] = EMPTY) -> Own | None:
    """One line as a prompt with the score of the tier that answered; None if it teaches nothing.

    LabelsError names the field that does not fit.

    `other_tier` says that the other one should have answered: of a local answer that it was not
    good enough and a strong one would be; of a strong answer that a local one would have done.
    tiers: which tier a model named in `better_model` is of.
    """
    text, tier = row.get("prompt"), row.get("tier")
    if not isinstance(text, str) or not text.strip():
        raise LabelsError("'prompt' is missing or empty; were prompts captured?")
    if tier is not None and not isinstance(tier, str):
        raise LabelsError("'tier' is no name")
    feedback = row.get("feedback")
    if tier not in TIERS or (feedback is None and row.get("value") is None):
        return None
    if feedback == "score" and row.get("value") is None:
        raise LabelsError("'feedback' is score, and 'value' is missing")
    if feedback is not None and feedback not in FEEDBACK:
        raise LabelsError(f"'feedback' is {str(feedback)[:40]!r}; known: {', '.join(FEEDBACK)}")
    own = Own(text, group_of(text), weight=_weight(row.get("propensity")))
    if feedback == "other_tier":
        own.small, own.strong = (0.0, 1.0) if tier == "local" else (1.0, 1.0)
        return own
    value = row.get("value")
    seen = score_of(value, "value") if value is not None else float(feedback == "good")
    better = row.get("better_model")
    if better is not None and not isinstance(better, str):
        raise LabelsError("'better_model' is no name")
    other = better is not None and tiers.get(better) in set(TIERS) - {tier}
    if tier == "local":
        own.small, own.strong = seen, 1.0 if other else None
    else:
        own.small, own.strong = 1.0 if other else None, seen
    return own


def _weight(propensity: object) -> float:
    """1 / propensity, at most MOST_WEIGHT; 1 where the route did not explore."""
    if propensity is None:
        return 1.0
    chance = score_of(propensity, "propensity")
    if chance == 0.0:
        raise LabelsError("'propensity' is 0; what was done had some chance")
    return min(1.0 / chance, MOST_WEIGHT)
