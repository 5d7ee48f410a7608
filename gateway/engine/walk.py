"""One walk over the targets of a plan: the same again where that can help, then the next one.

Two legs may walk beside each other (see hedge.py): each takes the next target that nobody took.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from chat.errors import (
    BudgetReached,
    Denied,
    Limit,
    LimitReached,
    QueueFull,
    Timeout,
    UpstreamError,
)
from chat.events import UNCOUNTED
from chat.trace import Step, Trace
from gateway.engine.attempt import Attempt
from gateway.engine.names import Target

if TYPE_CHECKING:
    from gateway.engine.attempts import Walker

T = TypeVar("T")
KEY_REFUSED = 401
Afford = Callable[[Sequence[Attempt]], Awaitable[None] | None]
"""Asked before a further attempt, with those that there were. Raises BudgetReached, LimitReached
or QueueFull where the caller cannot pay for it."""


class Walk(Generic[T]):
    """`ask` makes one attempt: what is first for the caller, or UpstreamError. `began` is when
    the request came, by the clock."""

    __slots__ = (
        "_asked",
        "_attempts",
        "_deadline",
        "_early",
        "_next",
        "_refused",
        "_stream",
        "_targets",
        "_trace",
        "_walker",
        "afford",
        "last",
    )

    def __init__(
        self,
        walker: Walker,
        targets: Sequence[Target],
        ask: Callable[[Attempt], Awaitable[T]],
        trace: Trace,
        attempts: list[Attempt],
        began: float,
        *,
        stream: bool,
        early: bool,
    ) -> None:
        self._walker = walker
        self._targets = targets
        self._asked = ask
        self._trace = trace
        self._attempts = attempts
        self._deadline = began + walker.settings.total_s
        self._stream = stream
        self._early = early
        self._next = 0
        self._refused: set[str] = set()
        """Providers that refused our key: their other models would, too."""
        self.last: UpstreamError | None = None
        self.afford: Afford | None = None

    @property
    def has_more(self) -> bool:
        """Somebody is left whom nobody asked."""
        return self._next < len(self._targets)

    def silent_since(self) -> float | None:
        """When the last attempt began."""
        return self._attempts[-1].began if self._attempts else None

    def may_hedge(self) -> bool:
        """Somebody is left, and not too many were asked twice."""
        return self.has_more and self._walker.hedges.spend()

    @property
    def now(self) -> float:
        return self._walker.clock()

    async def leg(self, *, hedge: bool = False) -> tuple[Attempt, T] | None:
        """The attempt that committed, and what it gave; None when nobody is left. Raises
        UpstreamError for what no other target would mend."""
        targets = self._targets
        while self._next < len(targets):
            target = targets[self._next]
            self._next += 1
            if target.provider.name in self._refused:
                continue
            found = await self._tried(target, hedge)
            if found is not None:
                return found
            if self.now >= self._deadline:
                break
        return None

    def given_up(self, attempt: Attempt) -> None:
        """It committed, but another one was first."""
        self._walker.left(attempt)

    async def _tried(self, target: Target, hedge: bool) -> tuple[Attempt, T] | None:
        walker, trace = self._walker, self._trace
        last: UpstreamError | None = None
        for turn in range(walker.settings.per_target):
            if turn and not await self._waited(turn, last):
                return None
            if self._attempts and not await self._afforded(target):
                return None
            # Asked again before each attempt: others may have opened the breaker meanwhile.
            probe = 0
            if not walker.calm():
                found = await walker.enter(target, early=self._early)
                if found is None:
                    return None
                probe = found
            trace.target = target.name
            trace.provider = target.provider.name
            trace.model = target.model
            attempt = Attempt(target, walker.clock(), probe, hedge, UNCOUNTED)
            self._attempts.append(attempt)
            if trace.watch is not None:
                trace.tell("asking", target=target.name, attempt=len(self._attempts))
            try:
                first = await (self._in_time(attempt) if self._stream else self._asked(attempt))
            except UpstreamError as error:
                walker.failed(attempt, error)
                if not error.fallback:
                    raise
                self.last = last = error
                # It is kept, and with it would be every frame that it went through.
                error.__traceback__ = None
                if isinstance(error, Denied) and error.upstream_status == KEY_REFUSED:
                    self._refused.add(target.provider.name)
                trace.steps.append(Step(target.name, error.message))
                trace.tell("next", target=target.name, reason=error.message)
                patient = not self.has_more and _says_when(error)
                if not (error.retryable or patient) or self.now >= self._deadline:
                    return None
            except BaseException:
                walker.left(attempt)
                raise
            else:
                walker.answered(attempt)
                return attempt, first
        return None

    async def _afforded(self, target: Target) -> bool:
        """One that the caller cannot pay for is not made: what failed before is told, or the
        other leg goes on."""
        if self.afford is None:
            return True
        try:
            setting = self.afford(self._attempts)
            if setting is not None:
                await setting
        except (BudgetReached, LimitReached, QueueFull) as error:
            self._trace.steps.append(Step(target.name, f"not asked: {error.message}"))
            return False
        return True

    async def _in_time(self, attempt: Attempt) -> T:
        """A bare timer: asyncio.timeout would cost 3 µs more for each request."""
        limit = min(self._walker.settings.first_event_s, max(self._deadline - self.now, 0.001))
        task = asyncio.current_task()
        assert task is not None
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            task.cancel()

        timer = asyncio.get_running_loop().call_later(limit, expire)
        try:
            return await self._asked(attempt)
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

    async def _waited(self, turn: int, last: UpstreamError | None) -> bool:
        """Exponential backoff with full jitter; the upstream's own word wins. False when it asks
        for more than a caller's patience, when the wait would pass the deadline, or when too
        many were asked twice already."""
        settings = self._walker.settings
        ceiling = settings.backoff_ms / 1000 * 2 ** (turn - 1)
        wait = random.uniform(0, ceiling)  # noqa: S311 -- jitter, not a secret
        if last is not None and last.retry_after is not None:
            wait = last.retry_after
            if wait > settings.retry_wait_s:
                return False
        if self.now + wait >= self._deadline or not self._walker.may_retry():
            return False
        await asyncio.sleep(wait)
        return True


def _says_when(error: UpstreamError) -> bool:
    """A limit that tells how long: with nobody else to ask, it is worth a short wait."""
    return isinstance(error, Limit) and error.retry_after is not None
