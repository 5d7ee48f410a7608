"""One request, from the parsed question to the last byte, and always to its settlement.

Every door calls `stream` or `whole`: HTTP handlers now, jobs, batches and WebSockets by the same
way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

from chat.errors import Broken, GatewayError, TooLarge, UpstreamError
from chat.request import Text, ToolResult
from chat.trace import Trace
from dialects.ascii_json import ascii_json
from dialects.base import Now, Renderer
from gateway.engine import resume, structured
from gateway.engine.attempt import Attempt
from gateway.engine.attempts import Walker
from gateway.engine.ports import Admission, AnswerCache, Asked, Kept, Recorder, Sink, Turns
from gateway.engine.pressure import Pressure
from gateway.engine.routing import Router, Target
from gateway.engine.run import Quiet, Run
from gateway.engine.speak import (
    relayed,
    relayed_whole,
    relays,
    translated,
    translated_whole,
)
from gateway.engine.story import Story, added

log = logging.getLogger("pointsman.engine")


class Pipeline:
    """`clock` is monotonic seconds; `now` is the time of day."""

    def __init__(
        self,
        router: Router,
        walker: Walker,
        recorder: Recorder,
        *,
        message_limit: int,
        max_messages: int = 5000,
        pressure: Pressure | None = None,
        admission: Admission | None = None,
        answers: AnswerCache | None = None,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Now = time.time,
    ) -> None:
        self._router = router
        self.walker = walker
        self.recorder = recorder
        self._message_limit = message_limit
        self._max_messages = max_messages
        self._pressure = pressure
        self._admission = admission
        self._answers = answers
        self._turns = turns
        self.clock = clock
        self._now = now
        self.running: set[Run] = set()

    def use(self, router: Router, message_limit: int, max_messages: int) -> None:
        """From the next request on."""
        self._router = router
        self._max_messages = max_messages
        self._message_limit = message_limit

    def interrupt(self) -> int:
        """Ends every answer that still runs with an error that asks the caller to try again.
        Returns how many there were."""
        for run in self.running:
            run.interrupt()
        return len(self.running)

    async def whole(self, asked: Asked, trace: Trace) -> bytes:
        """One body in the caller's own dialect. Raises GatewayError."""
        with Run(self, asked, trace) as run:
            try:
                body = await self._committed(run, self._whole)
            except asyncio.CancelledError as given:
                raise run.broken_off(given) from None
            run.finished()
            return body

    async def stream(
        self, asked: Asked, trace: Trace, quiet: Quiet | None = None, sink: Sink | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Frames in the caller's own dialect, ready to be written.

        Raises GatewayError only before the first bytes, those given to `quiet` included; a later
        failure is written in-band. Closing the generator at any point cancels the upstream and
        settles as cancelled. A caller who takes nothing for `write_s` is cancelled at his yield.
        What `sink` is ready for goes there and is not yielded.
        """
        with Run(self, asked, trace) as run:
            run.watched(quiet)
            run.sink = sink
            try:
                first = await self._committed(run, self._opened)
                assert run.committed is not None
                pieces = run.committed.pieces
                assert pieces is not None
                run.writing = True
                yield first
                run.writing = False
                while pieces is not None:
                    try:
                        async for piece in pieces:
                            run.writing = True
                            yield piece
                            run.writing = False
                        pieces = None
                    except (UpstreamError, asyncio.CancelledError) as given:
                        first, pieces = await self._gone_on(run, given)
                        run.writing = True
                        yield first
                        run.writing = False
                run.finished()
            except GatewayError as error:
                if run.committed is None and not run.told:
                    raise
                run.failed(error)
            except asyncio.CancelledError as given:
                failure = run.broken_off(given)
                if run.committed is None and not run.told:
                    raise failure from None
                run.failed(failure)
            except Exception:
                if run.committed is None and not run.told:
                    raise
                fields = {
                    "request_id": trace.request_id,
                    "route": trace.route,
                    "target": trace.target,
                }
                log.exception("a fault of ours", extra={"fields": fields})
                run.failed(GatewayError("The gateway failed. The log has the request's id."))
            finally:
                if run.committed is not None and run.committed.pieces is not None:
                    await run.committed.pieces.aclose()
            if run.failure is not None:
                run.writing = True
                yield run.voice().fail(run.failure)

    def renderer(self, run: Run, model: str) -> Renderer:
        """What writes to the caller, new for each target."""
        asked = run.asked
        return asked.dialect.renderer(asked.request, run.trace.request_id, model, self._now)

    async def _committed(self, run: Run, ask: Callable[[Run, Attempt], Awaitable[bytes]]) -> bytes:
        """The first bytes for the caller: of a stream, or the whole body."""
        asked = run.asked
        if self._pressure is not None:
            self._pressure.begin(len(self.running))
        self._measure(asked)
        if self._admission is not None:
            grant = self._admission.admit(asked, run.trace)
            if grant is not None:
                asked.grant = await grant if isinstance(grant, Awaitable) else grant
        if self._answers is not None:
            run.slot = self._answers.look(asked, run.trace)
            if run.slot is not None and (kept := await run.slot.found()) is not None:
                return await self._again(run, kept, ask)
        if run.trace.watch is not None:
            run.trace.tell("routing")
        plan = await self._router.plan(asked.request, run.trace, asked.body, asked.models)
        run.plan = plan
        if plan.resume and asked.request.stream and resume.can_be_told_on(asked.request):
            run.resumes = True
        if asked.grant is not None:
            reserved = asked.grant.reserve(asked.request, plan.targets)
            if reserved is not None:
                await reserved
        waited = 0.0
        if self._turns is not None and (turn := run.take_turn(self._turns)) is not None:
            waited = await turn
        run.committed, first = await self.walker.commit(
            plan,
            partial(ask, run),
            run.trace,
            run.attempts,
            stream=asked.request.stream,
            # The limits of attempts do not run while he waits for his turn.
            began=run.began + waited,
            afford=None if asked.grant is None else run.affords(),
        )
        if waited and run.trace.first_token_ms is not None:
            run.trace.first_token_ms += waited * 1000
        return first

    async def _again(
        self, run: Run, kept: Kept, ask: Callable[[Run, Attempt], Awaitable[bytes]]
    ) -> bytes:
        """The first bytes of an answer that was given before. Nobody is asked, so it is no
        attempt of the request's."""
        name = f"{kept.provider.name}/{kept.model}"
        attempt = Attempt(Target(kept.provider, kept.model, name), self.clock(), outcome="kept")
        trace, slot = run.trace, run.slot
        assert slot is not None
        run.slot = None
        trace.cache = trace.headers["x-cache"] = "hit"
        trace.route, trace.reason = slot.route, "The same question was answered before."
        trace.target, trace.provider, trace.model = name, kept.provider.name, kept.model
        first = await ask(run, attempt)
        attempt.usage = kept.usage
        attempt.first_at = now = self.clock()
        trace.first_token_ms = (now - run.began) * 1000
        run.committed = attempt
        return first

    async def _gone_on(
        self, run: Run, given: UpstreamError | asyncio.CancelledError
    ) -> tuple[bytes, AsyncGenerator[bytes, None]]:
        """The next bytes of an answer that broke off, from another target, and those behind them.
        Raises what it broke off with when nobody can go on."""
        failure = given if isinstance(given, UpstreamError) else run.broken_off(given)
        plan, broken = run.plan, run.committed
        assert broken is not None
        story = broken.story
        if story is None or plan is None or not story.can_go_on or not resume.worth(failure):
            raise failure
        assert isinstance(failure, UpstreamError)
        left = resume.rest_of(plan, run.attempts, story)
        if left is None:
            raise failure
        self.walker.failed(broken, failure)
        if broken.pieces is not None:
            await broken.pieces.aclose()
        before = story.usage
        story.usage = added(before, broken.usage)
        # Nobody answers for the moment; the caller is kept alive meanwhile.
        run.committed, run.told = None, True
        run.moved()
        trace = run.trace
        trace.resumed_from.append(broken.target.name)
        was = (trace.target, trace.provider, trace.model)
        try:
            attempt, first = await self.walker.commit(
                left,
                lambda attempt: self._continued(run, attempt, broken),
                trace,
                run.attempts,
                stream=True,
                began=self.clock(),
                afford=run.affords(),
            )
        except GatewayError:
            story.usage, run.committed = before, broken
            trace.target, trace.provider, trace.model = was
            trace.resumed_from.pop()
            raise failure from None
        except BaseException:
            run.committed = broken
            raise
        run.before.append(broken)
        run.committed = attempt
        run.moved()
        assert attempt.pieces is not None
        return first, attempt.pieces

    async def _continued(self, run: Run, attempt: Attempt, broken: Attempt) -> bytes:
        """The first bytes of a continuation, in the words of who began the answer."""
        story, renderer = broken.story, broken.renderer
        assert story is not None
        assert renderer is not None
        attempt.story, attempt.renderer = story, renderer
        pieces = resume.continued(
            resume.continuation(run.asked.request, story),
            attempt.target.provider,
            attempt.target.model,
            story,
            renderer,
            run.closing,
            attempt,
        )
        return await self._first(pieces, attempt)

    def _measure(self, asked: Asked) -> None:
        count = len(asked.request.messages)
        if count > self._max_messages:
            raise TooLarge(
                f"There are {count} messages; this gateway takes {self._max_messages}.",
                param="messages",
            )
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
        if asked.request.response_format is not None:
            structured.check_schema(asked.request)

    async def _opened(self, run: Run, attempt: Attempt) -> bytes:
        """The first bytes of a stream; the others wait in the attempt's `pieces`."""
        return await self._first(self._pieces(run, attempt), attempt)

    async def _first(self, pieces: AsyncGenerator[bytes, None], attempt: Attempt) -> bytes:
        try:
            first = await anext(pieces)
        except StopAsyncIteration:
            raise Broken(f"{attempt.target.name} gave an empty answer.", code="cut") from None
        except BaseException:
            await pieces.aclose()
            raise
        attempt.pieces = pieces
        return first

    def _pieces(self, run: Run, attempt: Attempt) -> AsyncGenerator[bytes, None]:
        asked, provider, model = run.asked, attempt.target.provider, attempt.target.model
        attempt.renderer = renderer = self.renderer(run, model)
        if run.slot is not None:
            # What passes through untouched is not heard.
            provider = attempt.heard = run.slot.taped(provider)
        elif not run.resumes and relays(asked, provider, model):
            return relayed(asked, provider, model, attempt, run.sink)
        request = asked.request
        if request.response_format is not None and not provider.dialect.enforces(request, model):
            return structured.stream(
                request, provider, model, renderer, run.closing, attempt, run.trace
            )
        if run.resumes:
            attempt.story = Story()
        return translated(
            asked, provider, model, renderer, run.closing, attempt, attempt.story, run.sink
        )

    async def _whole(self, run: Run, attempt: Attempt) -> bytes:
        asked, provider, model = run.asked, attempt.target.provider, attempt.target.model
        if run.slot is not None:
            provider = attempt.heard = run.slot.taped(provider)
        if run.slot is None and relays(asked, provider, model):
            body = await relayed_whole(asked, provider, model, attempt, run.trace)
        else:
            body = await translated_whole(
                asked, provider, model, run.closing, attempt, run.trace, self._now
            )
        return ascii_json(body)
