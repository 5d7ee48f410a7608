"""One request, from the parsed question to the last byte, and always to its settlement.

Every door calls `stream` or `whole`: HTTP handlers now, jobs, batches and WebSockets by the same
way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType

from chat.errors import Broken, Draining, GatewayError, TooLarge, UpstreamError
from chat.events import Usage
from chat.request import Text, ToolResult
from chat.trace import Trace
from dialects.base import Now, Renderer
from gateway.engine.attempts import Walker
from gateway.engine.ports import Asked, Recorder, Settlement
from gateway.engine.routing import Router, Target
from gateway.engine.speak import (
    packed,
    relayed,
    relayed_whole,
    relays,
    translated,
    translated_whole,
)

log = logging.getLogger("pointsman.engine")


class _Run:
    """One request while it runs: what is known of it, and its settlement at the end.

    A `with` block of it settles exactly once, whatever happened inside.
    """

    __slots__ = (
        "asked",
        "began",
        "clock",
        "committed",
        "failure",
        "interrupted",
        "outcome",
        "pieces",
        "pipeline",
        "renderer",
        "task",
        "trace",
        "usage",
    )

    def __init__(self, pipeline: Pipeline, asked: Asked, trace: Trace) -> None:
        self.pipeline = pipeline
        self.asked = asked
        self.trace = trace
        self.clock = pipeline.clock
        self.began = pipeline.clock()
        self.usage = Usage()
        self.renderer: Renderer | None = None
        self.pieces: AsyncGenerator[bytes, None] | None = None
        self.committed: Target | None = None
        self.interrupted = False
        self.outcome = "cancelled"
        self.failure: GatewayError | None = None
        self.task = asyncio.current_task()

    def counted(self, usage: Usage) -> None:
        self.usage = usage

    def closing(self) -> Trace:
        """The trace with its times as of now."""
        trace = self.trace
        trace.total_ms = (self.clock() - self.began) * 1000
        if trace.first_token_ms is None:
            trace.first_token_ms = trace.total_ms
        return trace

    def finished(self) -> None:
        assert self.committed is not None
        self.pipeline.walker.succeeded(self.committed)
        self.outcome = "finished"

    def failed(self, error: GatewayError) -> None:
        if self.committed is not None and isinstance(error, UpstreamError):
            self.pipeline.walker.failed(self.committed, error)
        self.outcome, self.failure = "failed", error

    def __enter__(self) -> _Run:
        self.pipeline.running.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, GatewayError):
            self.failed(error)
        elif isinstance(error, Exception):
            # A fault of ours; the door tells it as such.
            self.failed(GatewayError("The gateway failed."))
        self.pipeline.running.discard(self)
        trace = self.trace
        trace.total_ms = (self.clock() - self.began) * 1000
        self.pipeline.recorder.settle(
            Settlement(
                outcome=self.outcome,
                door=self.asked.dialect.name,
                trace=trace,
                usage=self.usage,
                committed=self.committed is not None,
                error=self.failure.kind if self.failure else None,
            )
        )

    def stopped(self) -> Draining:
        """What a caller is told whose answer the stopping gateway cannot end. Called where the
        cancellation that `interrupt` sent arrives."""
        assert self.task is not None
        self.task.uncancel()
        return Draining("The gateway is stopping. Ask again.", retry_after=1)


class Pipeline:
    """`clock` is monotonic seconds; `now` is the time of day."""

    def __init__(
        self,
        router: Router,
        walker: Walker,
        recorder: Recorder,
        *,
        message_limit: int,
        clock: Callable[[], float] = time.monotonic,
        now: Now = time.time,
    ) -> None:
        self._router = router
        self.walker = walker
        self.recorder = recorder
        self._message_limit = message_limit
        self.clock = clock
        self._now = now
        self.running: set[_Run] = set()

    def interrupt(self) -> int:
        """Ends every answer that still runs with an error that asks the caller to try again.
        Returns how many there were."""
        for run in self.running:
            run.interrupted = True
            if run.task is not None:
                run.task.cancel()
        return len(self.running)

    async def whole(self, asked: Asked, trace: Trace) -> bytes:
        """One body in the caller's own dialect. Raises GatewayError."""
        with _Run(self, asked, trace) as run:
            try:
                body = await self._committed(run, self._whole)
            except asyncio.CancelledError:
                if not run.interrupted:
                    raise
                raise run.stopped() from None
            run.finished()
            return body

    async def stream(self, asked: Asked, trace: Trace) -> AsyncGenerator[bytes, None]:
        """Frames in the caller's own dialect, ready to be written.

        Raises GatewayError only before the first bytes; a later failure is written in-band.
        Closing the generator at any point cancels the upstream and settles as cancelled.
        """
        with _Run(self, asked, trace) as run:
            try:
                yield await self._committed(run, self._opened)
                assert run.pieces is not None
                async for piece in run.pieces:
                    yield piece
                run.finished()
            except GatewayError as error:
                if run.committed is None:
                    raise
                run.failed(error)
            except asyncio.CancelledError:
                if not run.interrupted:
                    raise
                failure = run.stopped()
                if run.committed is None:
                    raise failure from None
                run.failed(failure)
            except Exception:
                if run.committed is None:
                    raise
                log.exception("a fault of ours", extra={"fields": {"request_id": trace.request_id}})
                run.failed(GatewayError("The gateway failed. The log has the request's id."))
            finally:
                if run.pieces is not None:
                    await run.pieces.aclose()
            if run.failure is not None:
                assert run.renderer is not None
                yield run.renderer.fail(run.failure)

    async def _committed(self, run: _Run, ask: Callable[[_Run, Target], Awaitable[bytes]]) -> bytes:
        """The first bytes for the caller: of a stream, or the whole body."""
        asked = run.asked
        self._admit(asked)
        plan = await self._router.plan(asked.request, run.trace)
        run.committed, first = await self.walker.commit(
            plan,
            lambda target: ask(run, target),
            run.trace,
            stream=asked.request.stream,
            began=run.began,
        )
        return first

    def _admit(self, asked: Asked) -> None:
        size = 0
        for message in asked.request.messages:
            for part in message.parts:
                if isinstance(part, Text | ToolResult):
                    size += len(part.text)
        if size > self._message_limit:
            raise TooLarge(
                f"The messages have {size} characters; this gateway takes {self._message_limit}.",
                param="message" if "message" in asked.body else "messages",
            )

    async def _opened(self, run: _Run, target: Target) -> bytes:
        """The first bytes of a stream; the others wait in `run.pieces`."""
        pieces = self._pieces(run, target)
        try:
            first = await anext(pieces)
        except StopAsyncIteration:
            raise Broken(f"{target.name} gave an empty answer.", code="cut") from None
        except BaseException:
            await pieces.aclose()
            raise
        run.pieces = pieces
        return first

    def _pieces(self, run: _Run, target: Target) -> AsyncGenerator[bytes, None]:
        asked, provider, model = run.asked, target.provider, target.model
        run.usage = Usage()
        run.renderer = renderer = asked.dialect.renderer(
            asked.request, run.trace.request_id, model, self._now
        )
        if relays(asked, provider):
            return relayed(asked, provider, model, run.counted)
        return translated(asked, provider, model, renderer, run.closing, run.counted)

    async def _whole(self, run: _Run, target: Target) -> bytes:
        asked, provider, model = run.asked, target.provider, target.model
        run.usage = Usage()
        if relays(asked, provider):
            body = await relayed_whole(asked, provider, model, run.counted)
        else:
            body = await translated_whole(
                asked, provider, model, run.closing, run.counted, self._now
            )
        return packed(body)
