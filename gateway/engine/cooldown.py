"""Targets that failed rest, so that callers do not pay for finding out again.

A cancelled attempt and a request that the upstream calls wrong never count. A limit rests for
what the upstream said; a refused key rests long; other failures rest after a few in a row, each
rest twice as long as the last, until one answer comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chat.errors import Denied, Limit, Rejected, UpstreamError
from gateway.engine.ports import Rest
from gateway.settings import Cooldown

MAX_TARGETS = 4096
"""Callers can name any model: what is kept of them is bounded."""


@dataclass(slots=True)
class _State:
    failures: int = 0
    rests: int = 0
    until: float = 0.0
    error: UpstreamError | None = None
    firm: bool = False


class CooldownTable:
    """`clock` in seconds, monotonic."""

    def __init__(self, settings: Cooldown, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._states: dict[str, _State] = {}

    def calm(self) -> bool:
        """Nobody failed since he last answered."""
        return not self._states

    def resting(self, target: str) -> Rest | None:
        state = self._states.get(target)
        if state is None or state.error is None:
            return None
        left = state.until - self._clock()
        return Rest(left, state.error, state.firm) if left > 0 else None

    def succeeded(self, target: str) -> None:
        if self._states:
            self._states.pop(target, None)

    def failed(self, target: str, error: UpstreamError) -> None:
        if isinstance(error, Rejected):
            return
        if target not in self._states and len(self._states) >= MAX_TARGETS:
            self._states.pop(next(iter(self._states)))
        state = self._states.setdefault(target, _State())
        settings = self._settings
        if isinstance(error, Denied):
            self._rest(state, settings.denied_s, error, firm=True)
            return
        if isinstance(error, Limit):
            asked = error.retry_after if error.retry_after is not None else settings.limit_s
            self._rest(state, min(max(asked, 0.0), 3600.0), error, firm=True)
            return
        state.failures += 1
        if state.failures >= settings.failures:
            seconds = min(settings.rest_s * 2.0 ** min(state.rests, 16), settings.max_s)
            state.rests += 1
            # One failure of the probe after the rest is enough for the next rest.
            state.failures = settings.failures - 1
            self._rest(state, max(seconds, error.retry_after or 0.0), error, firm=False)

    def _rest(self, state: _State, seconds: float, error: UpstreamError, *, firm: bool) -> None:
        state.until = self._clock() + seconds
        state.error = error
        state.firm = firm
