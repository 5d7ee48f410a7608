"""Why a prompt got its score: leave a part of it out, score again, and look what moved.

True of any model, for it asks the very scorer that serves. A positive move says that the part
lifts the score, which is towards the local tier. Moves of parts do not add up to the score: parts
work together. A word is left out of the text; a number or a view is set to what is usual in the
artefact's golden prompts; a part of the model is kept out. Never more than MOST scorings,
of at most 2,000 characters each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import embedding, features
from classifier.artefact import Artefact
from classifier.features import Features

MOST_PIECES, MOST_NUMBERS, MOST_SEARCHED, PARTS = 24, 16, 8, 4
SHOWN = 8
FEW_WORDS, LONG_WORD = 4, 8
NO_NEIGHBOURS = "The artefact holds no training prompts, so none can be shown."

Span = tuple[int, int]
VIEWS = {
    "surface": "its numbers: lengths, shares of characters, counts of telling words",
    "words": "its place in the embedding, rare tokens counted more",
}
MOST = 1 + len(VIEWS) + PARTS + MOST_PIECES + MOST_NUMBERS + MOST_SEARCHED


class _Asker:
    """The model, and how often it was asked."""

    def __init__(self, model: Artefact) -> None:
        self.model = model
        self.words = embedding.load()
        self.asked = 0

    def text(self, text: str) -> float:
        return self.numbers(features.extract(text, self.words))

    def numbers(self, x: Features) -> float:
        self.asked += 1
        return float(self.model.scorer.features(x).score)


def explain(model: Artefact, text: str) -> dict[str, Any]:
    """What moved the score of `text`, and what would give it to the other tier.

    Keys: score, tier, threshold, distance (score - threshold), parts, views, features and words
    (lists, the last two with the strongest first, each with `moves`), flip, nearest_prompts,
    scorings (how often the model was asked). `moves` is the score with the part less the score
    without it.
    """
    asker = _Asker(model)
    text = features.bounded(text)
    x = features.extract(text, asker.words)
    score = asker.numbers(x)
    pieces = list(_pieces(text))
    moves = [score - asker.text(_without(text, [piece])) for piece in pieces]
    words = [
        {"text": text[a:b], "at": a, "moves": move}
        for (a, b), move in zip(pieces, moves, strict=True)
    ]
    usual, spread = _usual(model, asker)
    return {
        "score": score,
        "tier": model.tier(score),
        "threshold": model.threshold,
        "distance": score - model.threshold,
        "parts": _parts(asker, x, score),
        "views": _views(asker, x, usual, score),
        "features": _strongest(_numbers(asker, x, usual, spread, score)),
        "words": _strongest(words),
        "flip": _flip(asker, text, score, pieces, moves),
        "nearest_prompts": {"prompts": [], "why": NO_NEIGHBOURS},
        "scorings": asker.asked,
    }


def _usual(model: Artefact, asker: _Asker) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of each surface number over the golden prompts."""
    rows = [features.extract(row["prompt"], asker.words).surface for row in model.card["golden"]]
    table = np.array(rows)
    return table.mean(axis=0), table.std(axis=0) + 1e-6


def _parts(asker: _Asker, x: Features, score: float) -> list[dict[str, Any]]:
    """Each part of the model kept out: what the others would say without it."""
    scored = asker.model.scorer.features(x)
    names = {
        "expert": f"the expert for {scored.expert or 'no set'} (trusted {scored.trust:.0%})",
        "clusters": "the clusters of that expert",
        "own labels": "what your own labels taught",
    }
    rows = []
    for part, words in names.items():
        asker.asked += 1
        without = asker.model.scorer.features(x, without=part).score
        rows.append({"part": part, "is": words, "moves": score - float(without)})
    return rows


def _views(
    asker: _Asker, x: Features, usual: NDArray[np.float64], score: float
) -> list[dict[str, Any]]:
    without = {
        "surface": x._replace(surface=usual),
        "words": x._replace(rows=x.rows[:0]),
    }
    return [
        {"view": name, "is": VIEWS[name], "moves": score - asker.numbers(other)}
        for name, other in without.items()
    ]


def _numbers(
    asker: _Asker,
    x: Features,
    usual: NDArray[np.float64],
    spread: NDArray[np.float64],
    score: float,
) -> list[dict[str, Any]]:
    """The surface numbers that are least usual, each set to the usual alone."""
    rows = []
    strange = np.abs(x.surface - usual) / spread
    for i in np.argsort(-strange, kind="stable")[:MOST_NUMBERS]:
        surface = x.surface.copy()
        surface[i] = usual[i]
        moves = score - asker.numbers(x._replace(surface=surface))
        name = features.SURFACE_NAMES[i]
        row = {"feature": name, "value": float(x.surface[i]), "usual": float(usual[i])}
        rows.append({**row, "moves": moves})
    return rows


def _strongest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    moved = [row for row in rows if abs(row["moves"]) >= 1e-6]
    return sorted(moved, key=lambda row: -abs(row["moves"]))[:SHOWN]


def _pieces(text: str) -> Iterator[Span]:
    """At most MOST_PIECES spans: words, runs of words, or stretches of unspaced writing."""
    spans = [found.span() for found in re.finditer(r"\S+", text)]
    if len(spans) < FEW_WORDS and len(text) >= FEW_WORDS * LONG_WORD:
        size = max(2, -(-len(text) // MOST_PIECES))
        spans = [(a, min(a + size, len(text))) for a in range(0, len(text), size)]
    count = min(len(spans), MOST_PIECES)
    for group in range(count):
        first, last = group * len(spans) // count, (group + 1) * len(spans) // count - 1
        yield spans[first][0], spans[last][1]


def _without(text: str, spans: Sequence[Span]) -> str:
    """The text without the spans, and without the one space that each would leave double."""
    kept, place = [], 0
    for start, end in sorted(spans):
        kept.append(text[place:start])
        place = end + 1 if text[end : end + 1] == " " else end
    return "".join((*kept, text[place:]))


def _flip(
    asker: _Asker, text: str, score: float, pieces: list[Span], moves: list[float]
) -> dict[str, Any]:
    """What gives the prompt to the other tier: another threshold or share, or fewer words."""
    model = asker.model
    tier = model.tier(score)
    side = 1.0 if tier == "local" else -1.0
    held = sorted((i for i, m in enumerate(moves) if m * side > 0), key=lambda i: -moves[i] * side)
    found: dict[str, Any] | None = None
    low, high, count = 0, len(held), 1
    searched = 0
    while searched < MOST_SEARCHED and low < high:
        searched += 1
        spans = [pieces[i] for i in held[:count]]
        fewer = asker.text(_without(text, spans))
        if model.tier(fewer) != tier:
            found = {"leave_out": [text[a:b] for a, b in sorted(spans)], "score": fewer}
            high = count
        else:
            low = count
        # Doubled until it flips, then halved between what did and what did not.
        count = min(2 * count, high) if found is None else (low + high) // 2
        if count in (low, 0):
            break
    other = "strong" if tier == "local" else "local"
    return {
        "to": other,
        "threshold": f"{'above' if tier == 'local' else 'at or below'} {score:.4f}",
        "strong_share": model.percentile(score),
        "words": found,
    }


def as_text(answer: dict[str, Any]) -> str:
    """The explanation for a terminal."""
    lines = [
        f"score {answer['score']:.4f} -> {answer['tier']}   threshold {answer['threshold']:g}, "
        f"distance {answer['distance']:+.4f}   ({answer['scorings']} scorings)"
    ]
    for title, rows, name in (
        ("what each part of the model moves", answer["parts"], "is"),
        ("what each view moves", answer["views"], "view"),
        ("words that moved it most (+ towards local)", answer["words"], "text"),
        ("numbers that moved it most", answer["features"], "feature"),
    ):
        lines += ["", title]
        for row in rows:
            beside = f"  {row['value']:.3f}, usually {row['usual']:.3f}" if "value" in row else ""
            shown = " ".join(row[name].split())
            shown = shown if len(shown) <= 60 else f"{shown[:40]} ... {shown[-15:]}"
            lines.append(f"  {row['moves']:+.5f}  {shown}{beside}")
    flip = answer["flip"]
    lines += ["", f"to flip it to {flip['to']}", f"  a threshold {flip['threshold']}"]
    lines.append(f"  a share to the strong tier on the other side of {flip['strong_share']:.1%}")
    if flip["words"] is None:
        lines.append("  leaving words out did not do it")
    else:
        lines.append(
            f"  leaving out {flip['words']['leave_out']} (score {flip['words']['score']:.4f})"
        )
    lines += ["", answer["nearest_prompts"]["why"]]
    return "\n".join(lines)
