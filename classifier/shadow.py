"""A candidate that scores the live traffic beside the model that serves, and decides nothing.

The answer is written first: a prompt waits in a short queue and is scored by a task of its own,
one a turn of the loop. When prompts come faster than that the oldest waiting are dropped and
counted, so a busy worker never falls behind because of its shadow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from classifier import monitor
from classifier.artefact import Artefact

MOST_WAITING = 256


@dataclass(frozen=True, slots=True)
class Decided:
    """One prompt and what the serving model made of it."""

    text: str
    version: str
    score: float
    tier: str


class Shadow:
    """Scores what was decided once more, with the candidate, when there is one."""

    def __init__(self) -> None:
        self.model: Artefact | None = None
        self._waiting: deque[Decided] = deque()
        self._something = asyncio.Event()

    def saw(self, decided: Decided) -> None:
        """Take note of a decision; costs a microsecond."""
        if self.model is None:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            monitor.shadow_dropped("late")
        self._waiting.append(decided)
        self._something.set()

    async def run(self) -> None:
        """Score what waits until cancelled."""
        while True:
            await self._something.wait()
            while self._waiting:
                await asyncio.sleep(0)  # What is ready to be read or written goes first.
                self._score(self._waiting.popleft())
            self._something.clear()

    def _score(self, decided: Decided) -> None:
        model = self.model
        if model is None:
            return
        try:
            score = model.scorer(decided.text).score
        except Exception:  # A candidate may fail; that is one more thing to know of it.
            monitor.shadow_dropped("failed")
            return
        monitor.shadowed(
            (decided.version, model.version),
            (decided.tier, model.tier(score)),
            abs(score - decided.score),
        )
