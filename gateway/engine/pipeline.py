"""One request, from the parsed question to the last byte, and always to its settlement.

Every door calls `answer`: HTTP handlers now, jobs, batches and WebSockets by the same way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import orjson

from chat.errors import Broken, Draining, GatewayError, TooLarge, UpstreamError
from chat.events import Finish, Usage
from chat.fold import Folder
from chat.request import ChatRequest, Json, Text, ToolResult
from chat.trace import Trace
from dialects.base import InboundDialect, Now, Renderer
from gateway.engine.attempts import Walker
from gateway.engine.ports import Recorder, Settlement
from gateway.engine.routing import Router, Target


@dataclass(slots=True)
class Asked:
    """A question, and the language in which it was asked."""

    dialect: InboundDialect
    request: ChatRequest
    body: dict[str, Json]


class _Run:
    """What is known of one request while it runs."""

    __slots__ = (
        "asked",
        "began",
        "committed",
        "interrupted",
        "pieces",
        "renderer",
        "trace",
        "usage",
    )

    def __init__(self, asked: Asked, trace: Trace, began: float) -> None:
        self.asked = asked
        self.trace = trace
        self.began = began
        self.usage = Usage()
        self.renderer: Renderer | None = None
        self.pieces: AsyncGenerator[bytes, None] | None = None
        self.committed: Target | None = None
        self.interrupted = False


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
        self._walker = walker
        self._recorder = recorder
        self._message_limit = message_limit
        self._clock = clock
        self._now = now
        self._running: dict[asyncio.Task[object], _Run] = {}

    def interrupt(self) -> int:
        """Ends every answer that still runs with an error that asks the caller to try again.
        Returns how many there were."""
        for task, run in self._running.items():
            run.interrupted = True
            task.cancel()
        return len(self._running)

    async def answer(self, asked: Asked, trace: Trace) -> AsyncGenerator[bytes, None]:
        """Bytes in the caller's own dialect: frames of a stream, or one body.

        Raises GatewayError only before the first bytes; a later failure is written in-band.
        Closing the generator at any point cancels the upstream and settles as cancelled.
        """
        run = _Run(asked, trace, self._clock())
        outcome = "cancelled"
        failure: GatewayError | None = None
        self._recorder.opened()
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = run
        try:
            self._admit(asked)
            plan = await self._router.plan(asked.request, trace)
            stream = asked.request.stream
            ask = self._opened if stream else self._whole
            target, first = await self._walker.commit(
                plan, lambda target: ask(run, target), trace, stream=stream, began=run.began
            )
            run.committed = target
            yield first
            if run.pieces is not None:
                async for piece in run.pieces:
                    yield piece
            self._walker.succeeded(target)
            outcome = "finished"
        except GatewayError as error:
            outcome, failure = "failed", error
            if run.committed is None or run.renderer is None:
                raise
            if isinstance(error, UpstreamError):
                self._walker.failed(run.committed, error)
            yield run.renderer.fail(error)
        except asyncio.CancelledError:
            if not run.interrupted:
                raise
            task.uncancel()
            outcome = "failed"
            failure = Draining("The gateway is stopping. Ask again.", retry_after=1)
            if run.committed is None or run.renderer is None:
                raise failure from None
            yield run.renderer.fail(failure)
        except Exception:
            # A fault of ours: told as such by the door, and settled like any other end.
            outcome, failure = "failed", GatewayError("The gateway failed.")
            if run.committed is None or run.renderer is None:
                raise
            yield run.renderer.fail(failure)
            raise
        finally:
            self._running.pop(task, None)
            self._time(run)
            self._recorder.settle(
                Settlement(
                    outcome=outcome,
                    door=asked.dialect.name,
                    trace=trace,
                    usage=run.usage,
                    committed=run.committed is not None,
                    error=failure.kind if failure else None,
                )
            )
            if run.pieces is not None:
                await run.pieces.aclose()

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
        pieces = self._streamed(run, target)
        try:
            first = await anext(pieces)
        except BaseException:
            await pieces.aclose()
            raise
        run.pieces = pieces
        return first

    async def _streamed(self, run: _Run, target: Target) -> AsyncGenerator[bytes, None]:
        """Events -> the caller's frames. A stream without its finish is raised as cut."""
        asked = run.asked
        renderer = asked.dialect.renderer(
            asked.request, run.trace.request_id, target.model, self._now
        )
        run.renderer = renderer
        run.usage = Usage()
        finished = False
        batches = target.provider.stream(asked.request, target.model)
        try:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, Usage):
                        run.usage = run.usage.merged(event)
                    elif isinstance(event, Finish):
                        finished = True
                piece = renderer.feed(batch)
                if piece:
                    yield piece
        finally:
            await batches.aclose()
        if not finished:
            raise Broken(f"{target.name} ended before it was finished.", code="cut")
        self._time(run)
        yield renderer.close(run.trace)

    async def _whole(self, run: _Run, target: Target) -> bytes:
        """Events -> one body."""
        asked = run.asked
        folder = Folder()
        folder.feed(await target.provider.whole(asked.request, target.model))
        run.usage = folder.usage
        response = folder.response()
        self._time(run)
        run.trace.first_token_ms = run.trace.total_ms
        return orjson.dumps(
            asked.dialect.render_response(asked.request, response, run.trace, self._now)
        )

    def _time(self, run: _Run) -> None:
        run.trace.total_ms = (self._clock() - run.began) * 1000
