"""Walks a plan: one attempt after the other until one commits.

The first bytes commit. Before them any failure that another attempt may mend moves on unseen:
the same target again where that can help, then the next one. After them the failure is raised,
and the caller is told in his own dialect.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from chat.errors import GatewayError, NoTargetLeft, Timeout, UpstreamError
from chat.trace import Step, Trace
from gateway.engine.ports import Recorder, Rests
from gateway.engine.routing import Plan, Target
from gateway.settings import Attempts

Ask = Callable[[Target], AsyncGenerator[bytes, None]]
"""Opens one attempt: the caller's bytes, or UpstreamError."""


class Walker:
    def __init__(
        self,
        settings: Attempts,
        rests: Rests,
        recorder: Recorder,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._rests = rests
        self._recorder = recorder
        self._clock = clock

    async def walk(
        self, plan: Plan, ask: Ask, trace: Trace, *, stream: bool, began: float
    ) -> AsyncGenerator[bytes, None]:
        """Bytes of the first attempt that commits. Raises UpstreamError after the commit, and
        NoTargetLeft, or the caller's own mistake as the upstream names it, before it."""
        deadline = began + self._settings.total_s
        last: UpstreamError | None = None
        for target in self._awake(plan, trace):
            for turn in range(self._settings.per_target):
                if turn and not await self._waited(turn, last, deadline):
                    break
                trace.target = target.name
                trace.provider = target.provider.name
                trace.model = target.model
                committed = False
                try:
                    async with aclosing(ask(target)) as pieces:
                        first = await self._first(pieces, target, stream, deadline)
                        committed = True
                        trace.first_token_ms = (self._clock() - began) * 1000
                        yield first
                        async for piece in pieces:
                            yield piece
                except UpstreamError as error:
                    self._recorder.attempt(target.provider.name, target.model, error.kind)
                    self._rests.failed(target.name, error)
                    if committed or not error.fallback:
                        raise
                    last = error
                    trace.steps.append(Step(target.name, error.message))
                    if not error.retryable or self._clock() >= deadline:
                        break
                else:
                    self._recorder.attempt(target.provider.name, target.model, "finished")
                    self._rests.succeeded(target.name)
                    return
            if self._clock() >= deadline:
                break
        raise self._nobody(plan, last)

    def _awake(self, plan: Plan, trace: Trace) -> list[Target]:
        """The targets that do not rest. When all rest, those whose rest is only our own
        caution: an answer late is better than none."""
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
            return awake
        return cautious

    async def _first(
        self, pieces: AsyncGenerator[bytes, None], target: Target, stream: bool, deadline: float
    ) -> bytes:
        """The first bytes, in time."""
        limit = self._settings.first_event_s if stream else self._settings.one_shot_s
        left = max(deadline - self._clock(), 0.001) if stream else limit
        try:
            async with asyncio.timeout(min(limit, left)) as timer:
                async for piece in pieces:
                    return piece
        except TimeoutError:
            if not timer.expired():
                raise
            raise Timeout(
                f"{target.name} gave no first event in {min(limit, left):.0f} s.",
                code="first_event",
            ) from None
        raise AssertionError("an attempt ends with bytes or with an error")

    async def _waited(self, turn: int, last: UpstreamError | None, deadline: float) -> bool:
        """Exponential backoff with full jitter; the upstream's own word wins. False when the
        wait would pass the deadline."""
        ceiling = self._settings.backoff_ms / 1000 * 2 ** (turn - 1)
        wait = random.uniform(0, ceiling)  # noqa: S311 -- jitter, not a secret
        if last is not None and last.retry_after is not None:
            wait = last.retry_after
        if self._clock() + wait >= deadline:
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
            return NoTargetLeft("The plan is empty.")
        first = min(rests, key=lambda rest: rest.seconds)
        failure = NoTargetLeft(
            f"Every target rests after a failure. The next one wakes in {first.seconds:.0f} s: "
            f"{first.error.message}",
            last=first.error,
        )
        failure.retry_after = first.seconds
        return failure
