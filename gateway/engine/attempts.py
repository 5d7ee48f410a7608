"""Walks a plan: one attempt after the other until one commits.

The first bytes commit. Before them any failure that another attempt may mend moves on unseen:
the same target again where that can help, then the next one. After them the failure belongs to
the pipeline, which tells the caller in his own dialect.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from chat.errors import GatewayError, Limit, NoTargetLeft, Timeout, UpstreamError
from chat.trace import Step, Trace
from gateway.engine.attempt import Attempt
from gateway.engine.budget import RetryBudget
from gateway.engine.ports import Recorder, Rests
from gateway.engine.routing import Plan, Target
from gateway.settings import Attempts

Ask = Callable[[Attempt], Awaitable[bytes]]
"""Makes one attempt: the first bytes for the caller, or UpstreamError."""

LOOKS = 4
"""Looks at a stream within its shortest limit; a limit is kept to a quarter of that one."""


class Walker:
    def __init__(
        self,
        settings: Attempts,
        rests: Rests,
        recorder: Recorder,
        clock: Callable[[], float],
    ) -> None:
        self._rests = rests
        self._recorder = recorder
        self._clock = clock
        self._retries = RetryBudget(settings.retry_share)
        self.use(settings)

    def use(self, settings: Attempts) -> None:
        """From the next attempt on."""
        self.settings = settings
        self._retries.share = settings.retry_share
        self.look_s = min(settings.commit_after_s, settings.idle_s, settings.write_s) / LOOKS

    async def commit(
        self,
        plan: Plan,
        ask: Ask,
        trace: Trace,
        attempts: list[Attempt],
        *,
        stream: bool,
        began: float,
    ) -> tuple[Attempt, bytes]:
        """The attempt that committed, and its first bytes. Each one made is added to `attempts`.

        Raises NoTargetLeft, or the caller's own mistake as the upstream names it. `began` is
        when the request came, by the clock; for a stream the first bytes have to come in time,
        a whole answer has its own deadline in the provider.
        """
        deadline = began + self.settings.total_s
        last: UpstreamError | None = None
        self._retries.earn()
        targets, early = self._awake(plan, trace)
        for number, target in enumerate(targets, 1):
            for turn in range(self.settings.per_target):
                if turn and not await self._waited(turn, last, deadline):
                    break
                # Asked again before each attempt: others may have opened the breaker meanwhile.
                probe = 0 if self._rests.calm() else self._rests.enter(target.name, early=early)
                if probe is None:
                    break
                trace.target = target.name
                trace.provider = target.provider.name
                trace.model = target.model
                attempt = Attempt(target, self._clock(), probe)
                attempts.append(attempt)
                trace.tell("asking", target=target.name, attempt=len(attempts))
                try:
                    first = await (
                        self._in_time(ask, attempt, deadline) if stream else ask(attempt)
                    )
                except UpstreamError as error:
                    self.failed(attempt, error)
                    if not error.fallback:
                        raise
                    last = error
                    trace.steps.append(Step(target.name, error.message))
                    trace.tell("next", target=target.name, reason=error.message)
                    patient = number == len(targets) and _says_when(error)
                    if not (error.retryable or patient) or self._clock() >= deadline:
                        break
                except BaseException:
                    self.left(attempt)
                    raise
                else:
                    if probe:
                        self._rests.answered(target.name, probe)
                        attempt.probe = 0
                    attempt.first_at = now = self._clock()
                    trace.first_token_ms = (now - began) * 1000
                    return attempt, first
            if self._clock() >= deadline:
                break
        raise self._nobody(plan, last)

    def failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """One attempt ended so."""
        attempt.error = error.message
        self._ended(attempt, error.kind)
        self._rests.failed(attempt.target.name, error, attempt.probe)

    def succeeded(self, attempt: Attempt) -> None:
        """One attempt gave its whole answer."""
        self._ended(attempt, "finished")
        if not self._rests.calm():
            self._rests.succeeded(attempt.target.name)

    def left(self, attempt: Attempt) -> None:
        """One attempt was given up: its caller left, or the gateway stops."""
        self._ended(attempt, "cancelled")
        self._rests.left(attempt.target.name, attempt.probe)

    def _ended(self, attempt: Attempt, outcome: str) -> None:
        attempt.outcome, attempt.ended = outcome, self._clock()
        self._recorder.attempt(attempt.target.provider.name, attempt.target.model, outcome)

    def _awake(self, plan: Plan, trace: Trace) -> tuple[Sequence[Target], bool]:
        """The targets that do not rest. When all rest, those whose rest is only our own
        caution, one probe at a time (True): an answer late is better than none."""
        if self._rests.calm():
            return plan.targets, False
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

    async def _in_time(self, ask: Ask, attempt: Attempt, deadline: float) -> bytes:
        """A bare timer: asyncio.timeout would cost 3 µs more for each request."""
        limit = min(self.settings.first_event_s, max(deadline - self._clock(), 0.001))
        task = asyncio.current_task()
        assert task is not None
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            task.cancel()

        timer = asyncio.get_running_loop().call_later(limit, expire)
        try:
            return await ask(attempt)
        except asyncio.CancelledError:
            if not late or task.uncancel() > 0:
                raise
            raise Timeout(
                f"{attempt.target.name} gave no first event in {limit:.3g} s.", code="first_event"
            ) from None
        except UpstreamError:
            if late:
                task.uncancel()
            raise
        finally:
            timer.cancel()

    async def _waited(self, turn: int, last: UpstreamError | None, deadline: float) -> bool:
        """Exponential backoff with full jitter; the upstream's own word wins. False when it asks
        for more than a caller's patience, when the wait would pass the deadline, or when too
        many were asked twice already."""
        ceiling = self.settings.backoff_ms / 1000 * 2 ** (turn - 1)
        wait = random.uniform(0, ceiling)  # noqa: S311 -- jitter, not a secret
        if last is not None and last.retry_after is not None:
            wait = last.retry_after
            if wait > self.settings.retry_wait_s:
                return False
        if self._clock() + wait >= deadline or not self._retries.spend():
            return False
        await asyncio.sleep(wait)
        return True

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
            return NoTargetLeft("Nobody of the plan could be asked just now. Ask again.")
        first = min(rests, key=lambda rest: rest.seconds)
        failure = NoTargetLeft(
            f"Every target rests after a failure. The next one wakes in {first.seconds:.0f} s: "
            f"{first.error.message}",
            last=first.error,
        )
        failure.retry_after = first.seconds
        return failure


def _says_when(error: UpstreamError) -> bool:
    """A limit that tells how long: with nobody else to ask, it is worth a short wait."""
    return isinstance(error, Limit) and error.retry_after is not None
