"""The workers of one process: they take jobs, have them answered, and keep their leases.

A worker that loses its lease stops at once, and nothing of it is heard any more: every write
names the claim it belongs to. A job that is cancelled elsewhere is such a loss, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

import orjson

from chat.errors import (
    BudgetReached,
    Draining,
    GatewayError,
    LimitReached,
    NotAllowed,
    QueueFull,
)
from chat.request import Json
from chat.trace import Trace
from dialects.complete import error_object
from gateway.engine.pipeline import Pipeline
from gateway.engine.ports import Caller
from gateway.jobs import question
from gateway.jobs.bells import Bells
from gateway.jobs.job import Job, Status
from gateway.jobs.queue import Queue
from gateway.jobs.quiet import REST_S, Quiet
from gateway.settings import Jobs

POLL_S = 0.5
"""Between two looks for a job that another process put in, or gave back."""
FLUSH_S = 0.1
"""Pieces of an answer are written together, so often."""
SWEEP_S = 1.0
SHORTEST_HOLD_S = 0.25
ROOM_S = 2.0
"""A job for which there is no room just now is looked at again after that at the latest."""
AGAIN_S = 1.0
"""After a store that could not be asked."""

log = logging.getLogger("pointsman.jobs")

CallerOf = Callable[[str], Caller | None]
"""Who an application's id stands for now; None for one that was revoked."""


class Seen(Protocol):
    """What is counted."""

    def ended(self, status: str, waited_s: float, took_s: float) -> None: ...


class _Running:
    __slots__ = ("job", "lost", "owner", "task", "text", "thought", "writing")

    def __init__(self, job: Job, owner: str) -> None:
        self.job = job
        self.owner = owner
        self.lost = False
        self.writing = asyncio.Lock()
        self.text: list[str] = []
        self.thought: list[str] = []
        self.task: asyncio.Task[None] | None = None

    def lose(self) -> None:
        """The lease is gone: whatever still comes is nobody's."""
        self.lost = True
        if self.task is not None:
            self.task.cancel()

    async def write(self, queue: Queue) -> bool:
        """What came since the last writing, as one event. False when the lease is lost. What a
        failure keeps from being written is written the next time."""
        async with self.writing:
            line: dict[str, Json] = {}
            if self.thought:
                line["reasoning"] = "".join(self.thought)
            if self.text:
                line["text"] = "".join(self.text)
            if not line:
                return True
            texts, thoughts = len(self.text), len(self.thought)
            kept = await queue.append(
                self.job.id, self.owner, [("token", orjson.dumps(line).decode())]
            )
            del self.text[:texts], self.thought[:thoughts]
            return kept


class Workers:
    def __init__(
        self,
        queue: Queue,
        pipeline: Pipeline,
        settings: Jobs,
        bells: Bells,
        quiet: Quiet,
        caller_of: CallerOf,
        seen: Seen,
    ) -> None:
        self._queue = queue
        self._pipeline = pipeline
        self._bells = bells
        self._quiet = quiet
        self._caller_of = caller_of
        self._seen = seen
        self.settings = settings
        self.process = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._claims = 0
        self._running: dict[str, _Running] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._loops: list[asyncio.Task[None]] = []

    @property
    def busy(self) -> int:
        return len(self._running)

    async def start(self) -> None:
        await self._beat()
        for loop in (self._take, self._renew, self._sweep):
            self._loops.append(asyncio.create_task(self._forever(loop)))

    def wake(self) -> None:
        """Something was put in."""
        self._quiet.stir()
        self._wake.set()

    def cancelled(self, job_id: str) -> None:
        """Frees its upstream at once, when it runs here."""
        for one in self._running.values():
            if one.job.id == job_id:
                one.lose()

    def drain(self) -> None:
        """Takes no more jobs."""
        self._stopping = True

    async def close(self, grace_s: float) -> None:
        """Running jobs may end for a while; the others go back to their place."""
        self._stopping = True
        tasks = [one.task for one in self._running.values() if one.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, grace_s))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._queue.beat(self.process, 0, 0)

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as fault:
                # The store is gone for a moment; leases and jobs are in it, not here.
                log.warning("queue", extra={"fields": {"error": str(fault) or repr(fault)}})
                await asyncio.sleep(AGAIN_S)

    async def _take(self) -> None:
        await self._quiet.over()
        self._wake.clear()
        while not self._stopping and self.busy < self.settings.workers:
            self._claims += 1
            owner = f"{self.process}.{self._claims}"
            job = await self._queue.claim(owner, self.settings.lease_s)
            if job is None:
                break
            one = self._running[owner] = _Running(job, owner)
            one.task = asyncio.create_task(self._work(one))
            self._bells.ring(job.id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()

    async def _renew(self) -> None:
        await self._quiet.over()
        await asyncio.sleep(min(1.0, self.settings.lease_s / 4))
        mine = dict(self._running)
        kept = await self._queue.renew(list(mine), self.settings.lease_s)
        for owner in mine.keys() - kept:
            # It may have ended between the two.
            if owner in self._running:
                mine[owner].lose()

    async def _sweep(self) -> None:
        await self._beat()
        for job_id, _ in await self._queue.reap(
            max_claims=self.settings.max_claims, retention_s=self.settings.retention_s
        ):
            self._bells.ring(job_id)
            self._wake.set()
        seen = self._quiet.seen()
        if self._running or await self._queue.live():
            self._quiet.stir()
            await asyncio.sleep(SWEEP_S)
        else:
            self._quiet.rest(seen)
            await self._quiet.over(REST_S)

    async def _beat(self) -> None:
        if self.settings.workers and not self._stopping:
            await self._queue.beat(self.process, self.settings.workers, self.busy)

    async def _work(self, one: _Running) -> None:
        flushing = asyncio.create_task(self._flush(one))
        try:
            await self._answer(one)
        except asyncio.CancelledError:
            if not one.lost:
                await self._give_back(one)
        except Exception:
            log.exception("a fault of ours", extra={"fields": {"job": one.job.id}})
            # Its lease runs out, and it is tried again, but not for ever.
        finally:
            flushing.cancel()
            del self._running[one.owner]
            self._wake.set()
            self._bells.ring(one.job.id)

    async def _answer(self, one: _Running) -> None:
        job = one.job
        done: Json = None
        failure: Json = None
        stopped = False
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                caller = self._caller_of(job.app_id)
                if caller is None:
                    raise NotAllowed("The application of this job was revoked.")
                asked = question.asked(job.body, caller)
                async with aclosing(self._pipeline.stream(asked, Trace(job.id))) as pieces:
                    async for piece in pieces:
                        for raw in piece.splitlines():
                            line = orjson.loads(raw)
                            done, failure = line.get("done", done), line.get("error", failure)
                            if "text" in line:
                                one.text.append(line["text"])
                            if "reasoning" in line:
                                one.thought.append(line["reasoning"])
        except TimeoutError:
            words = f"The answer took more than {self.settings.timeout_s:g} s."
            failure = {"message": words, "type": "timeout", "code": "job_timeout", "param": None}
        except Draining:
            stopped = True
        except GatewayError as error:
            wait = _wait(job, error)
            if wait is not None and not self._stopping:
                await self._queue.hold(job.id, one.owner, wait)
                return
            failure = error_object(error)
        if stopped or (self._stopping and failure and failure["type"] == "overloaded"):
            await self._give_back(one)
            return
        await one.write(self._queue)
        status: Status = "error" if failure or done is None else "completed"
        result = None if done is None else orjson.dumps(done).decode()
        error_text = None if failure is None else orjson.dumps(failure).decode()
        if await self._queue.finish(job.id, one.owner, status, result, error_text):
            began = job.started_at or job.created_at
            self._seen.ended(status, began - job.created_at, max(0.0, time.time() - began))

    async def _flush(self, one: _Running) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            if not one.text and not one.thought:
                continue
            try:
                if not await one.write(self._queue):
                    one.lose()
                    return
            except Exception as fault:
                log.warning("queue", extra={"fields": {"error": str(fault) or repr(fault)}})
            self._bells.ring(one.job.id)

    async def _give_back(self, one: _Running) -> None:
        """Shielded: the process stops, and whoever waits for it may be cancelled, too."""
        with contextlib.suppress(Exception):
            await asyncio.shield(self._queue.release(one.job.id, one.owner))


def _wait(job: Job, error: GatewayError) -> float | None:
    """Seconds until a job that nobody was asked for may be asked; None for one that may never."""
    wait = max(SHORTEST_HOLD_S, error.retry_after or 1.0)
    if isinstance(error, QueueFull):
        return min(wait, ROOM_S)
    if isinstance(error, LimitReached):
        # More than its whole window has is never let in.
        return None if error.headers.get("X-Should-Retry") == "false" else wait
    if isinstance(error, BudgetReached) and error.retry_after is not None:
        # A budget that is spent is told at once, unless the next one begins in time.
        return wait if time.time() + wait < job.expires_at else None
    return None
