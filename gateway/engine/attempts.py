"""Walks a plan: one attempt after the other (or two beside each other) until one commits.

The first bytes commit. Before them any failure that another attempt may mend moves on unseen:
the same target again where that can help, then the next one. After them the failure belongs to
the pipeline, which tells the caller in his own dialect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chat.errors import Denied, GatewayError, Limit, NoTargetLeft, UpstreamError
from chat.trace import Step, Trace
from gateway.engine.attempt import Attempt
from gateway.engine.budget import RetryBudget
from gateway.engine.hedge import hedged
from gateway.engine.learned import Learned
from gateway.engine.names import Target
from gateway.engine.ports import Recorder, Rests
from gateway.engine.routing import Plan
from gateway.engine.walk import Afford, Walk
from gateway.settings import Attempts

T = TypeVar("T")

LOOKS = 4
"""Looks at a stream within its shortest limit; a limit is kept to a quarter of that one."""


class Walker:
    def __init__(
        self,
        settings: Attempts,
        rests: Rests,
        recorder: Recorder,
        clock: Callable[[], float],
        learned: Learned | None = None,
    ) -> None:
        self._learned = learned if learned is not None else Learned()
        self._rests = rests
        self.calm = rests.calm
        """Nobody rests: what most requests meet."""
        self._recorder = recorder
        self.clock = clock
        self._retries = RetryBudget(settings.retry_share)
        self.hedges = RetryBudget(settings.hedge_share, 1.0)
        self.use(settings)

    def use(self, settings: Attempts) -> None:
        """From the next attempt on."""
        self.settings = settings
        self._retries.share = settings.retry_share
        self.hedges.share = settings.hedge_share
        self.look_s = min(settings.commit_after_s, settings.idle_s, settings.write_s) / LOOKS

    async def commit(
        self,
        plan: Plan,
        ask: Callable[[Attempt], Awaitable[T]],
        trace: Trace,
        attempts: list[Attempt],
        *,
        stream: bool,
        began: float,
        afford: Afford | None = None,
    ) -> tuple[Attempt, T]:
        """The attempt that committed, and what it gave first. Each one made is added to
        `attempts`. `afford` is asked before each but the first.

        Raises NoTargetLeft, or the caller's own mistake as the upstream names it. `began` is
        when the request came, by the clock; for a stream the first bytes have to come in time,
        a whole answer has its own deadline in the provider.
        """
        self._retries.earn()
        targets, early = (plan.targets, False) if self.calm() else self._awake(plan, trace)
        walk = Walk(self, targets, ask, trace, attempts, began, stream=stream, early=early)
        walk.afford = afford
        if plan.hedge_s is None or len(targets) < 2:
            found = await walk.leg()
        else:
            self.hedges.earn()
            found = await hedged(walk, plan.hedge_s)
        if found is None:
            raise self._nobody(plan, walk.last)
        attempt, first = found
        target = attempt.target
        trace.target, trace.provider, trace.model = target.name, target.provider.name, target.model
        now = self.clock()
        if trace.first_token_ms is None:
            trace.first_token_ms = (now - began) * 1000
        self._learned.paced(target.name, now - attempt.began)
        return attempt, first

    async def enter(self, target: Target, *, early: bool) -> int | None:
        """A probe's ticket, 0, or None when it may not be asked now. Not asked while all is
        `calm`."""
        probe = self._rests.enter(target.name, early=early)
        return await probe if isinstance(probe, Awaitable) else probe

    def answered(self, attempt: Attempt) -> None:
        """Its first event came."""
        attempt.first_at = self.clock()
        if attempt.probe:
            self._rests.answered(attempt.target.name, attempt.probe)
            attempt.probe = 0

    def may_retry(self) -> bool:
        return self._retries.spend()

    def failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """One attempt ended so."""
        attempt.target.provider.scrub(error)
        attempt.error = error.message
        self._ended(attempt, error.kind)
        self._rests.failed(attempt.target.name, error, attempt.probe)

    def succeeded(self, attempt: Attempt) -> None:
        """One attempt gave its whole answer."""
        self._ended(attempt, "finished")
        if not self.calm():
            self._rests.succeeded(attempt.target.name)

    def left(self, attempt: Attempt) -> None:
        """One attempt was given up: its caller left, or the gateway stops."""
        self._ended(attempt, "cancelled")
        self._rests.left(attempt.target.name, attempt.probe)

    def _ended(self, attempt: Attempt, outcome: str) -> None:
        attempt.outcome, attempt.ended = outcome, self.clock()
        self._recorder.attempt(attempt.target.provider.name, attempt.target.model, outcome)

    def _awake(self, plan: Plan, trace: Trace) -> tuple[Sequence[Target], bool]:
        """The targets that do not rest. When all rest, those whose rest is only our own
        caution, one probe at a time (True): an answer late is better than none."""
        awake: list[Target] = []
        cautious: list[Target] = []
        notes: list[Step] = []
        for target in plan.targets:
            rest = self._rests.resting(target.name)
            if rest is None:
                awake.append(target)
                continue
            words = f"rests for {rest.seconds:.0f} s more: {rest.error.message}"
            notes.append(Step(target.name, words))
            if not rest.firm:
                cautious.append(target)
        if awake or not cautious:
            trace.steps += notes
            return awake, False
        return cautious, True

    def _nobody(self, plan: Plan, last: UpstreamError | None) -> GatewayError:
        if last is not None:
            if len(plan.targets) == 1:
                return last
            return NoTargetLeft(
                f"None of {len(plan.targets)} targets answered. The last said: {last.message}",
                last=last,
            )
        rests = [rest for target in plan.targets if (rest := self._rests.resting(target.name))]
        if not rests:
            # Woken between the look at it and this one.
            return _later(NoTargetLeft("Nobody of the plan could be asked just now."), 1.0)
        first = min(rests, key=lambda rest: rest.seconds)
        failure = NoTargetLeft(
            f"Every target rests after a failure. The next one wakes in {first.seconds:.0f} s: "
            f"{first.error.message}",
            last=first.error,
        )
        return _later(failure, first.seconds)


def _later(failure: NoTargetLeft, seconds: float) -> NoTargetLeft:
    """Nobody was asked: it is us who cannot just now. But a limit is told as one, and a refused
    key is not mended by waiting."""
    if isinstance(failure.last, Limit):
        failure.status = 429
    elif not isinstance(failure.last, Denied):
        failure.status = 503
    failure.retry_after = seconds
    return failure
