"""One request while it runs: what is known of it, its one timer, and its settlement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING

from chat.errors import Draining, GatewayError, Timeout, UpstreamError
from chat.events import UNCOUNTED
from chat.trace import Trace
from dialects.base import Renderer
from gateway.engine.attempt import Attempt
from gateway.engine.ports import Asked, Leave, Settlement, Sink, Slot, Turns
from gateway.engine.queued import notice
from gateway.engine.routing import Plan
from gateway.engine.story import added
from gateway.engine.walk import Afford
from gateway.settings import Attempts

if TYPE_CHECKING:
    from gateway.engine.pipeline import Pipeline

Quiet = Callable[[bytes], None]
"""Called with a keep-alive while a caller waits long. The first call commits the status: from
then on a failure is told in-band, though nothing of an answer was sent yet."""


class Run:
    """A `with` block of it settles exactly once, whatever happened inside."""

    __slots__ = (
        "asked",
        "attempts",
        "before",
        "began",
        "clock",
        "committed",
        "failure",
        "interruption",
        "leave",
        "limits",
        "moved_at",
        "opener",
        "outcome",
        "pipeline",
        "plan",
        "quiet",
        "resumes",
        "seen_then",
        "sink",
        "slot",
        "task",
        "told",
        "trace",
        "watch",
        "writing",
        "wrote_then",
    )

    def __init__(self, pipeline: Pipeline, asked: Asked, trace: Trace) -> None:
        self.pipeline = pipeline
        self.asked = asked
        self.trace = trace
        self.leave: Leave | None = None
        """Ends its turn."""
        self.slot: Slot | None = None
        """Where the answer is to be kept."""
        self.clock = pipeline.clock
        self.limits: Attempts = pipeline.walker.settings
        self.began = pipeline.clock()
        self.attempts: list[Attempt] = []
        self.committed: Attempt | None = None
        self.before: list[Attempt] = []
        """Those that broke off in mid-answer and were gone on with."""
        self.plan: Plan | None = None
        self.resumes = False
        """Somebody may go on where an answer breaks off."""
        self.interruption: GatewayError | None = None
        self.outcome = "cancelled"
        self.failure: GatewayError | None = None
        self.task = asyncio.current_task()
        self.quiet: Quiet | None = None
        self.sink: Sink | None = None
        self.opener: Renderer | None = None
        """Who speaks before anybody was asked."""
        self.told = False
        self.seen_then = 0
        self.moved_at = self.began
        self.writing = self.wrote_then = False
        self.watch: asyncio.TimerHandle | None = None

    def watched(self, quiet: Quiet | None) -> None:
        """One timer for a whole stream looks now and again whether anything moved: a timer or a
        clock for each piece would cost more than the piece."""
        self.quiet = quiet
        self._look_again()

    def closing(self) -> Trace:
        """The trace with its times as of now."""
        trace = self.trace
        trace.total_ms = (self.clock() - self.began) * 1000
        if trace.first_token_ms is None:
            trace.first_token_ms = trace.total_ms
        return trace

    def moved(self) -> None:
        """Whatever was waited for begins anew."""
        self.interruption, self.moved_at = None, self.clock()
        self.seen_then = self.committed.seen if self.committed is not None else 0

    def finished(self) -> None:
        committed = self.committed
        assert committed is not None
        if not committed.outcome:
            self.pipeline.walker.succeeded(committed)
        if self.slot is not None and committed.heard is not None:
            self.slot.keep(committed.heard, committed.target.model)
        self.outcome = "finished"

    def failed(self, error: GatewayError) -> None:
        self.outcome, self.failure = "failed", error
        # The frames that it went through hold this run: only the collector would free them.
        error.__traceback__ = None
        if self.committed is None or self.committed.outcome:
            return
        if isinstance(error, UpstreamError):
            self.pipeline.walker.failed(self.committed, error)
        else:
            self.pipeline.walker.left(self.committed)

    def broken_off(self, given: asyncio.CancelledError) -> GatewayError:
        """What the caller is told of a cancellation that the gateway itself sent. Raises `given`
        when it was not: he left."""
        assert self.task is not None
        if self.interruption is None or self.task.uncancel() > 0:
            raise given
        return self.interruption

    def interrupt(self) -> None:
        """The gateway stops before this answer ends."""
        self._break_off(Draining())

    def _break_off(self, failure: GatewayError | None) -> None:
        """Ends the wait in which the request is, for the upstream or for the caller."""
        self.interruption = failure
        if self.task is not None:
            self.task.cancel()

    def _look_again(self) -> None:
        walker = self.pipeline.walker
        self.watch = asyncio.get_running_loop().call_later(walker.look_s, self._look)

    def _look(self) -> None:
        limits, now = self.limits, self.clock()
        seen = self.committed.seen if self.committed is not None else 0
        # A caller who took his piece at last has moved, too.
        if seen != self.seen_then or self.writing != self.wrote_then:
            self.seen_then, self.wrote_then, self.moved_at = seen, self.writing, now
        still = now - self.moved_at
        if self.writing:
            if still >= limits.write_s:
                # Nobody is told: he does not read.
                self._break_off(None)
                return
        elif self.committed is not None and still >= limits.idle_s:
            name = self.committed.target.name
            self._break_off(Timeout(f"{name} said nothing for {still:.3g} s.", code="idle"))
            return
        elif self.quiet is not None and (
            self.told or now - self.began >= limits.commit_after_s or self.committed is not None
        ):
            self.keep_alive(self.quiet, still)
        self._look_again()

    def keep_alive(self, quiet: Quiet, still: float) -> None:
        """Something for the proxies on the way, when there was nothing for a while."""
        if self.committed is not None and still < self.limits.commit_after_s:
            return
        self.told = True
        quiet(self.voice().keepalive)

    def affords(self) -> Afford | None:
        """What the caller's limits say of a further attempt; None without limits."""
        grant, plan, request = self.asked.grant, self.plan, self.asked.request
        if grant is None or plan is None:
            return None
        targets = plan.targets
        return lambda attempts: grant.again(request, targets, attempts)

    def take_turn(self, turns: Turns) -> Awaitable[float] | None:
        """To be awaited where the route has no room: the seconds that it took. Raises
        QueueFull."""
        entered = turns.enter(self.trace.route, self.asked.caller, self._queued)
        if entered is None or not isinstance(entered, Awaitable):
            self.leave = entered
            return None
        return self._turn_taken(entered)

    async def _turn_taken(self, entered: Awaitable[Leave]) -> float:
        came = self.clock()
        try:
            self.leave = await entered
        finally:
            waited = self.clock() - came
            self.trace.queue_ms = waited * 1000
        return waited

    def _queued(self, position: int, wait_s: float) -> None:
        self.trace.tell("queued", position=position, wait_s=round(wait_s, 1))
        if self.quiet is not None:
            self.told = True
            self.quiet(notice(self.voice(), position, wait_s))

    def voice(self) -> Renderer:
        """Who speaks to the caller, also when nobody was asked yet."""
        speaker = self.committed or (self.attempts[-1] if self.attempts else None)
        if speaker is not None and speaker.renderer is not None:
            return speaker.renderer
        if self.opener is None:
            self.opener = self.pipeline.renderer(self, self.asked.request.model)
        return self.opener

    def __enter__(self) -> Run:
        self.pipeline.running.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.watch is not None:
            self.watch.cancel()
        if isinstance(error, GatewayError):
            error.settled = True
            self.failed(error)
        elif isinstance(error, Exception):
            # A fault of ours; the door tells it as such.
            self.failed(GatewayError("The gateway failed."))
        elif (
            self.outcome == "cancelled"
            and self.committed is not None
            and not self.committed.outcome
        ):
            self.pipeline.walker.left(self.committed)
        if self.leave is not None:
            self.leave()
        self.pipeline.running.discard(self)
        trace, asked, attempts = self.trace, self.asked, self.attempts
        told = self.committed or (attempts[-1] if attempts else None)
        usage = UNCOUNTED if told is None else told.usage
        for attempt in self.before:
            usage = added(attempt.usage, usage)
        trace.total_ms = (self.clock() - self.began) * 1000
        self.pipeline.recorder.settle(
            Settlement(
                self.outcome,
                asked.dialect.name,
                trace,
                usage,
                self.committed is not None,
                self.failure.kind if self.failure else None,
                asked.caller,
                attempts,
                asked.request,
            )
        )
        if asked.grant is not None:
            asked.grant.settle(attempts)
