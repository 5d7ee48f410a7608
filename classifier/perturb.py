"""Prompts said otherwise, and whether the decision stays: part of `python -m classifier evaluate`.

At 50 % strong, the threshold being the median of the prompts as they are. Each change keeps what is
asked: capitals, lower case, one swapped pair of letters in 50 characters, the same request in other
words, and answer options in another order.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from classifier.labels import Prompt
from classifier.scorer import Scorer

TYPO_EVERY = 50
OPTION_LINE = re.compile(r"^(\(?)([A-Ja-j])([.):])\s?(.*)$")

# Other words for the same.
WORDS = {
    "what is": "what's",
    "calculate": "compute",
    "find": "determine",
    "explain": "describe",
    "write": "compose",
    "how many": "what number of",
    "which of the following": "which one of these",
    "show that": "demonstrate that",
    "following": "below",
    "big": "large",
    "help": "assist",
    "give": "provide",
    "begin": "start",
    "use": "employ",
    "need": "require",
    "buy": "purchase",
    "get": "obtain",
    "must": "has to",
    "because": "since",
    "about": "regarding",
}
OPENINGS = ("Please answer: ", "I have a question. ", "Could you help me with this? ", "")
_WORD = re.compile(r"\b(" + "|".join(map(re.escape, WORDS)) + r")\b", re.IGNORECASE)


def typos(text: str, draw: random.Random) -> str:
    """One swap of two neighbouring letters in TYPO_EVERY characters, at least one."""
    letters = list(text)
    places = [
        i for i in range(len(letters) - 1) if letters[i].isalpha() and letters[i + 1].isalpha()
    ]
    for i in draw.sample(places, min(len(places), max(1, len(text) // TYPO_EVERY))):
        letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)


def paraphrase(text: str, draw: random.Random) -> str:
    """The same request with other common words and another opening."""
    changed = _WORD.sub(lambda found: WORDS[found.group().lower()], text)
    return draw.choice(OPENINGS) + changed


def reordered(text: str, draw: random.Random) -> str | None:
    """The answer options in another order, under the same letters; None if there are none."""
    lines = text.split("\n")
    places = [i for i, line in enumerate(lines) if OPTION_LINE.match(line)]
    if len(places) < 2:
        return None
    marks = [OPTION_LINE.match(lines[i]) for i in places]
    bodies = [mark.group(4) for mark in marks if mark]
    draw.shuffle(bodies)
    for place, mark, body in zip(places, marks, bodies, strict=True):
        if mark:
            lines[place] = f"{mark.group(1)}{mark.group(2)}{mark.group(3)} {body}"
    return "\n".join(lines)


CHANGES: dict[str, Callable[[str, random.Random], str | None]] = {
    "capitals": lambda text, _: text.upper(),
    "lower case": lambda text, _: text.lower(),
    "typos": typos,
    "other words": paraphrase,
    "options reordered": reordered,
}


def steadiness(scorer: Scorer, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """The share of decisions that stay, by change, with its 95 % interval over prompts."""
    plain = np.array([scorer(p.text).score for p in prompts])
    threshold = float(np.median(plain))
    found: dict[str, Any] = {}
    every: list[float] = []
    for name, change in CHANGES.items():
        same = []
        for prompt, score in zip(prompts, plain, strict=True):
            seed = hashlib.sha256(f"{name} {prompt.group}".encode()).digest()
            other = change(prompt.text, random.Random(seed))  # noqa: S311
            if other is not None:
                same.append((scorer(other).score >= threshold) == (score >= threshold))
        found[name] = _share(np.array(same, dtype=float))
        every += same
    found["all together"] = _share(np.array(every, dtype=float))
    return found


def _share(same: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    draws = [float(rng.choice(same, len(same)).mean()) for _ in range(300)] if len(same) else [0.0]
    low, high = np.quantile(draws, (0.025, 0.975))
    return {
        "prompts": len(same),
        "unchanged": round(float(same.mean()), 4) if len(same) else None,
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def table(found: dict[str, Any]) -> str:
    """The shares as lines of text."""
    lines = [f"{'unchanged at 50 % strong':<30}{'n':>6}{'share':>8}  95 %", "-" * 60]
    for name, row in found.items():
        low, high = row["interval"]
        share = "-" if row["unchanged"] is None else f"{row['unchanged']:.1%}"
        lines.append(f"{name:<30}{row['prompts']:>6}{share:>8}  {low:.1%} to {high:.1%}")
    return "\n".join(lines)
