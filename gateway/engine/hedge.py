"""Two at once: when the first target is silent, the next one is asked beside it.

Whichever commits first answers; the other is cancelled, which frees its upstream at once. Both
legs take their targets from one walk, so that nobody is asked twice, and each probe of a resting
target is still the only one.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from gateway.engine.attempt import Attempt
from gateway.engine.walk import Walk

T = TypeVar("T")
Leg = asyncio.Task[tuple[Attempt, T] | None]


async def hedged(walk: Walk[T], after_s: float) -> tuple[Attempt, T] | None:
    """As Walk.leg, with a second leg after a silence of `after_s` seconds."""
    legs: list[Leg[T]] = [asyncio.create_task(walk.leg())]
    winner: Leg[T] | None = None
    began = walk.now
    waits = True
    try:
        while pending := {leg for leg in legs if not leg.done()}:
            limit = None
            if waits:
                since = walk.silent_since()
                limit = max((began if since is None else since) + after_s - walk.now, 0.0)
            done, _ = await asyncio.wait(
                pending, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            for leg in legs:
                if leg in done and (found := leg.result()) is not None:
                    winner = leg
                    return found
            since = walk.silent_since()
            silent = walk.now - (began if since is None else since) >= after_s
            if not done and waits and silent:
                waits = False
                if walk.may_hedge():
                    legs.append(asyncio.create_task(walk.leg(hedge=True)))
        return None
    finally:
        for leg in legs:
            if leg is not winner:
                await _ended(walk, leg)


async def _ended(walk: Walk[T], leg: Leg[T]) -> None:
    """Its upstream is free, and what it brought too late is given up."""
    leg.cancel()
    await asyncio.wait({leg})
    if leg.cancelled() or leg.exception() is not None or (found := leg.result()) is None:
        return
    attempt, _ = found
    if attempt.pieces is not None:
        await attempt.pieces.aclose()
    walk.given_up(attempt)
