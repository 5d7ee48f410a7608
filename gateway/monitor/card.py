"""What the classifier's card says of prices: the line's place against quality, and drift.

A card has, for its held-out prompts, the quality of each tier alone and the share of calls to the
strong one that gains half and four fifths of the difference (RouteLLM's CPT). Between these four
measured points the curve is drawn straight.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log

from chat.request import Json

WHOLE = ("all known sets together", "all")
STEPS = 20
ENOUGH = 100
"""Live scores under which drift is not told."""
DRIFTED = 0.25
"""The usual bound of the population stability index for a real shift."""
FLOOR = 1e-3
PARTS = 10


def curve(card: Mapping[str, Json]) -> list[dict[str, Json]] | None:
    """Points by rising share of the strong tier; None where the card does not tell."""
    given = card.get("curve")
    if isinstance(given, list):
        return given
    quantiles = _quantiles(card)
    measured = _measured(card)
    if not measured:
        return None
    found = []
    for step in range(STEPS + 1):
        share = step / STEPS
        found.append(
            {
                "strong_share": share,
                "threshold": _at(quantiles, share),
                "quality": round(_between(measured, share), 4),
                "cost": None,
            }
        )
    return found


def drift(card: Mapping[str, Json], scores: Sequence[int]) -> dict[str, Json] | None:
    """Population stability index of the live scores against the card's own; None where either
    is unknown."""
    quantiles, count = _quantiles(card), sum(scores)
    if not quantiles or count < ENOUGH:
        return None
    width = len(scores) // PARTS
    score = 0.0
    before = 0.0
    for part in range(PARTS):
        upto = bisect_right(quantiles, (part + 1) / PARTS) / len(quantiles)
        if part == PARTS - 1:
            upto = 1.0
        expected = max(upto - before, FLOOR)
        live = max(sum(scores[part * width : (part + 1) * width]) / count, FLOOR)
        score += (live - expected) * log(live / expected)
        before = upto
    return {
        "score": round(score, 4),
        "reference": "the card's reference prompts",
        "count": count,
        "drifted": score >= DRIFTED,
    }


def _quantiles(card: Mapping[str, Json]) -> list[float]:
    given = card.get("quantiles")
    if not isinstance(given, list) or not all(isinstance(one, int | float) for one in given):
        return []
    return [float(one) for one in given]


def _measured(card: Mapping[str, Json]) -> list[tuple[float, float]]:
    """(share of the strong tier, quality), four of them."""
    sets = card.get("held_out")
    if not isinstance(sets, dict):
        return []
    whole = next((sets[name] for name in WHOLE if isinstance(sets.get(name), dict)), None)
    if whole is None:
        return []
    try:
        low, high = float(whole["always_local"]), float(whole["always_strong"])
        half, most = float(whole["router"]["cpt50"]), float(whole["router"]["cpt80"])
    except (KeyError, TypeError, ValueError):
        return []
    gain = high - low
    points = [(0.0, low), (half, low + 0.5 * gain), (most, low + 0.8 * gain), (1.0, high)]
    return points if points == sorted(points) else []


def _between(points: Sequence[tuple[float, float]], share: float) -> float:
    for (left, low), (right, high) in pairwise(points):
        if share <= right:
            return low + (high - low) * ((share - left) / (right - left) if right > left else 1.0)
    return points[-1][1]


def _at(quantiles: Sequence[float], share: float) -> float | None:
    if not quantiles:
        return None
    return round(quantiles[min(int(share * (len(quantiles) - 1)), len(quantiles) - 1)], 4)
