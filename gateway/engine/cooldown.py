"""Targets that failed rest, so that callers do not pay for finding out again.

A circuit breaker for each target. Closed: failures are counted over a rolling window; when they
are many, and a large share of what was asked, the target rests. After the rest it is half open:
exactly one attempt at a time, the probe, finds out. Its first event closes the breaker on trust;
a failure then rests twice as long as the last time, a whole answer forgets everything.

A cancelled attempt never counts, and no 4xx but these: a limit (429) rests for what the upstream
said, a refused key (401, 403) rests long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chat.errors import Denied, Limit, Rejected, UpstreamError
from gateway.engine.ports import Rest
from gateway.engine.tally import PARTS, Counted, OwnTally, Tally
from gateway.settings import Cooldown

MAX_TARGETS = 4096
"""Callers can name any model: what is kept of them is bounded."""
MAX_LIMIT_S = 3600.0
"""An upstream that says "come back next year" is asked again after an hour."""
PROBE_S = 1.0
"""What a caller is told to wait for while a probe finds out."""


@dataclass(slots=True)
class _State:
    tally: Tally
    rests: int = 0
    until: float = 0.0
    error: UpstreamError | None = None
    """Why it rests; None while the breaker is closed."""
    firm: bool = False
    probe: int = 0
    """The ticket of the probe that is on its way."""
    trusted: bool = False
    """A probe's first event came: the next failure rests again, the next answer forgets."""


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker opened (`error`, for so many `seconds`), closed on trust, or forgot everything; or
    it is closed, and a first failure is counted."""

    target: str
    seconds: float = 0.0
    error: UpstreamError | None = None
    firm: bool = False
    rests: int = 0
    """Rests in a row, each twice as long as the one before."""
    trusted: bool = False
    counts: bool = False


class CooldownTable:
    """`clock` in seconds, monotonic. `changed` is told of each breaker that opens or closes,
    `counted` of what is counted while it is closed; `tally` makes what counts for one target."""

    def __init__(
        self,
        settings: Cooldown,
        clock: Callable[[], float],
        changed: Callable[[Change], None] | None = None,
    ) -> None:
        self.settings = settings
        self.changed = changed
        self.counted: Callable[[Counted], None] | None = None
        self.tally: Callable[[str], Tally] = lambda target: OwnTally()
        self._clock = clock
        self._states: dict[str, _State] = {}
        self._tickets = 0

    def start(self) -> None:
        """It is alone, and tells nobody."""

    async def close(self) -> None:
        """As it began."""

    def calm(self) -> bool:
        return not self._states

    def resting(self, target: str) -> Rest | None:
        state = self._states.get(target)
        if state is None or state.error is None:
            return None
        left = state.until - self._clock()
        if left > 0:
            return Rest(left, state.error, state.firm)
        return Rest(PROBE_S, state.error, False) if state.probe else None

    def enter(self, target: str, *, early: bool = False) -> int | None:
        state = self._states.get(target)
        if state is None or state.error is None:
            return 0
        waiting = state.until > self._clock()
        if state.probe or (waiting and (state.firm or not early)):
            return None
        self._tickets += 1
        state.probe = self._tickets
        return state.probe

    def answered(self, target: str, probe: int) -> None:
        state = self._states.get(target)
        if state is None or not probe or state.probe != probe:
            return
        state.probe = 0
        # A limit that someone else met meanwhile holds on.
        if not (state.firm and state.until > self._clock()):
            state.error = None
            state.trusted = True
            self._tell(Change(target, trusted=True))

    def succeeded(self, target: str) -> None:
        state = self._states.get(target)
        if state is None:
            return
        if state.error is not None:
            # An attempt from before the rest: the probe will tell.
            return
        if state.trusted:
            del self._states[target]
            state.tally.clear(own=True)
            self._tell(Change(target))
            return
        part = self._part()
        state.tally.answer(part)
        failures, _ = state.tally.counted(part)
        if not failures:
            del self._states[target]
        elif self.counted is not None:
            self.counted(Counted(target, 0, 1))

    def left(self, target: str, probe: int) -> None:
        state = self._states.get(target)
        if state is not None and probe and state.probe == probe:
            state.probe = 0

    def failed(self, target: str, error: UpstreamError, probe: int = 0) -> None:
        denied, limited = isinstance(error, Denied), isinstance(error, Limit)
        if not denied and not limited and _is_the_callers(error):
            self.left(target, probe)
            return
        state = self._state(target)
        probing = bool(probe) and state.probe == probe
        if probing:
            state.probe = 0
        settings = self.settings
        if denied:
            self._rest(target, state, settings.denied_s, error, firm=True)
        elif limited:
            asked = settings.limit_s if error.retry_after is None else error.retry_after
            self._rest(target, state, min(max(asked, 0.0), MAX_LIMIT_S), error, firm=True)
        else:
            first = state.tally.fail(self._part())
            if probing or state.trusted or self._too_many(state):
                self._open(target, state, error)
            elif state.error is None:
                if first:
                    self._tell(Change(target, counts=True))
                if self.counted is not None:
                    self.counted(Counted(target, 1, 0, error))

    def count(self, counted: Counted) -> None:
        """What another process counted. Whoever comes to the limit opens the breaker."""
        state = self._states.get(counted.target)
        if state is None:
            if not counted.failures:
                return
            state = self._state(counted.target)
        # Of attempts from before a rest: they count no more than this process's own.
        if state.error is not None:
            return
        state.tally.add(self._part(), counted.failures, counted.answers)
        if counted.failures and counted.error is not None and self._too_many(state):
            self._open(counted.target, state, counted.error)

    def apply(self, change: Change) -> None:
        """What another process found out; nobody is told of it again."""
        if change.counts:
            self._state(change.target)
            return
        if change.error is None:
            state = self._states.get(change.target)
            if state is None or (state.firm and state.until > self._clock()):
                return
            if change.trusted:
                state.error, state.trusted = None, True
            elif not state.probe:
                del self._states[change.target]
            return
        state = self._state(change.target)
        self._begin(state, change.seconds, change.error, firm=change.firm, own=False)
        state.rests = max(state.rests, change.rests)

    def resting_now(self) -> list[Change]:
        """Every rest that is not over."""
        now = self._clock()
        return [
            Change(name, state.until - now, state.error, state.firm, state.rests)
            for name, state in self._states.items()
            if state.error is not None and state.until > now
        ]

    def _state(self, target: str) -> _State:
        state = self._states.get(target)
        if state is None:
            if len(self._states) >= MAX_TARGETS:
                self._states.pop(next(iter(self._states)))
            state = self._states[target] = _State(self.tally(target))
        return state

    def _too_many(self, state: _State) -> bool:
        """Whether a closed breaker opens. One that rests already is not made to rest longer by
        attempts that began before."""
        if state.error is not None:
            return False
        failures, answers = state.tally.counted(self._part())
        asked = failures + answers
        return failures >= self.settings.failures and failures >= self.settings.share * asked

    def _open(self, target: str, state: _State, error: UpstreamError) -> None:
        doubled = self.settings.rest_s * 2.0 ** min(state.rests, 16)
        state.rests += 1
        asked = min(error.retry_after or 0.0, MAX_LIMIT_S)
        seconds = max(min(doubled, self.settings.max_s), asked)
        self._rest(target, state, seconds, error, firm=False)

    def _rest(
        self, target: str, state: _State, seconds: float, error: UpstreamError, *, firm: bool
    ) -> None:
        if self._begin(state, seconds, error, firm=firm, own=True):
            self._tell(Change(target, seconds, error, firm, state.rests))

    def _tell(self, change: Change) -> None:
        if self.changed is not None:
            self.changed(change)

    def _begin(
        self, state: _State, seconds: float, error: UpstreamError, *, firm: bool, own: bool
    ) -> bool:
        """False where a firm rest lasts longer."""
        until = self._clock() + seconds
        if state.error is not None and state.firm and state.until > until:
            return False
        state.until, state.error, state.firm = until, error, firm
        state.trusted = False
        state.tally.clear(own=own)
        return True

    def _part(self) -> int:
        return int(self._clock() / self.settings.window_s * PARTS)


def _is_the_callers(error: UpstreamError) -> bool:
    status = error.upstream_status
    return isinstance(error, Rejected) or (status is not None and 400 <= status < 500)
