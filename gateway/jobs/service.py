"""Jobs as the doors see them: put in, looked at, followed, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import orjson

from chat.errors import BadRequest, NotFound, QueueFull
from chat.request import ChatRequest, Json
from gateway.engine.pipeline import Pipeline
from gateway.engine.ports import Caller
from gateway.jobs import question
from gateway.jobs.bells import Bells
from gateway.jobs.drivers import PostgresDriver, SqliteDriver
from gateway.jobs.estimate import Estimator, Pace, Quote
from gateway.jobs.hooks import Hooks, wait_before
from gateway.jobs.job import Job, NewJob, Search, Stats
from gateway.jobs.queue import FullError, KeyReusedError, Queue
from gateway.jobs.quiet import REST_S, Quiet
from gateway.jobs.redis_queue import RedisQueue
from gateway.jobs.sql import SqlQueue
from gateway.jobs.workers import CallerOf, Seen, Workers
from gateway.settings import Jobs as JobSettings
from gateway.store.database import Database
from gateway.store.watch import Watch, Wish

if TYPE_CHECKING:
    from redis.asyncio import Redis

LEARN_S = 2.0
"""Between two looks at how long answers take."""
TOLD_AGAIN_S = 5.0
"""Whoever follows a waiting job hears of his place when it changes, and so often."""
ASKED_S = 1.0
"""Nobody who asks how the queue does waits longer for a store that does not answer."""
LOOK_S = 0.25
"""Between two looks for what another process wrote."""
QUESTION_SHOWN = 300
"""Characters of a question by which a job is known again in a list."""
SHORTEST_SPREAD_S, LONGEST_SPREAD_S = 0.001, 60.0


class Gauges(Seen, Protocol):
    def stand(self, stats: Stats) -> None: ...


class KeyReused(BadRequest):
    """The idempotency key came with another body."""

    status = 422


@dataclass(frozen=True, slots=True)
class Asking:
    """One question that is to be put in."""

    caller: Caller
    door: str
    type: str
    dialect: str
    body: dict[str, Json]
    request: ChatRequest
    models: tuple[str, ...] = ()
    webhook: str | None = None
    idem_key: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    position: int
    quote: Quote


def queue_for(settings: JobSettings, database: Database, redis: Redis | None) -> Queue:
    if redis is not None and settings.queue == "auto":
        return RedisQueue(redis)
    url = database.engine.url
    if not database.is_sqlite:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        return SqlQueue(PostgresDriver(plain))
    return SqlQueue(SqliteDriver(url.database or None))


class Jobs:
    def __init__(
        self,
        queue: Queue,
        pipeline: Pipeline,
        settings: JobSettings,
        caller_of: CallerOf,
        gauges: Gauges,
        hook_wait: Callable[[int], float] = wait_before,
        pace_of: Callable[[str], Pace | None] = lambda _: None,
    ) -> None:
        """`pace_of`: what an application's limits let through, by its id; 0 s is as long as an
        answer takes."""
        self.queue = queue
        self._pace_of = pace_of
        self._gauges = gauges
        self._bells = Bells()
        self._quiet = Quiet()
        self.settings = settings
        self.workers = Workers(
            queue, pipeline, settings, self._bells, self._quiet, caller_of, gauges
        )
        self.hooks = Hooks(queue, settings, hook_body, hook_wait, self._quiet)
        self.estimator = Estimator()
        self.stats = Stats(0, 0.0, 0, 0, 0)
        """As of a moment ago."""
        self._learning: asyncio.Task[None] | None = None
        self._stop_at = 0.0

    async def start(self) -> None:
        await self.queue.open()
        await self.workers.start()
        await self._learn()
        self.hooks.start()
        self._learning = asyncio.create_task(self._learn_on())

    def watch(self, watch: Watch) -> None:
        """Hears of what other processes put into the database's queue."""
        if self.queue.stirring is not None:
            watch.add(Wish(self.queue.stirring, self._heard))

    async def _heard(self, live: int) -> None:
        if live:
            self._quiet.stir()

    def use(self, settings: JobSettings) -> None:
        """From the next job on."""
        self.settings = self.workers.settings = self.hooks.settings = settings

    def drain(self, grace_s: float) -> None:
        """Takes no more; what runs may end within `grace_s`."""
        self._stop_at = time.monotonic() + grace_s
        self.workers.drain()

    async def close(self) -> None:
        await self.workers.close(max(0.0, self._stop_at - time.monotonic()))
        await self.hooks.close()
        if self._learning is not None:
            self._learning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._learning
        await self.queue.close()

    async def put(self, *asking: Asking) -> list[tuple[str, bool]]:
        """All of them or none: each id, and whether it is new. Raises QueueFull, KeyReused."""
        new = [self._new(one) for one in asking]
        try:
            found = await self.queue.enqueue(
                new,
                capacity=self.settings.capacity,
                spread=self._spread(),
                boost=self.settings.priority_s,
            )
        except FullError as full:
            raise self.full(full.waiting) from None
        except KeyReusedError:
            raise KeyReused(
                "This Idempotency-Key came with another body before.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            ) from None
        self.workers.wake()
        return found

    def full(self, waiting: int) -> QueueFull:
        seconds = self.estimator.wait(1, max(1, self.stats.slots), self.stats.types).high
        return QueueFull(
            f"The queue is full: {waiting} jobs wait. Ask again later.",
            code="queue_full",
            retry_after=max(1.0, seconds),
        )

    async def get(self, job_id: str, caller: Caller | None) -> Job:
        """`caller`: None looks at anybody's. Raises NotFound."""
        job = await self.queue.get(job_id) if job_id.isascii() and job_id.isalnum() else None
        if job is None or not (caller is None or caller.admin or job.app_id == caller.id):
            raise NotFound("There is no such job.", param="id", code="job_not_found")
        return job

    async def place(self, job: Job) -> Place | None:
        """None when it does not wait."""
        position = await self.queue.position(job.id) if job.status == "queued" else None
        if position is None:
            return None
        stats, own = self.stats, self.settings.workers
        # What others do is known as of a moment ago, what this process does as of now.
        idle_here = max(0, own - self.workers.busy) + max(0, stats.slots - own)
        idle = min(max(0, stats.slots - stats.busy), idle_here)
        # Whoever waits although workers are idle was not seen by them for a moment.
        quote = self.estimator.wait(
            position, stats.slots, stats.types or {job.type: position}, idle=idle
        )
        held = await self.queue.held(job.id) if job.held else None
        if held is not None:
            count, seconds = self._pace_of(job.app_id) or (1, 0.0)
            pace = count, seconds or self.estimator.answer(job.type)
            quote = quote.held(held.left_s, held.before, pace)
        return Place(position, quote)

    async def now(self) -> Stats:
        """As of a moment ago where the store does not answer."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(ASKED_S):
                self.stats = await self.queue.stats()
        return self.stats

    async def cancel(self, job: Job) -> Job:
        """Raises NotFound when it is gone meanwhile."""
        before = await self.queue.cancel(job.id)
        if before == "processing":
            self.workers.cancelled(job.id)
        self._bells.ring(job.id)
        return await self.get(job.id, None)

    async def search(self, search: Search) -> list[Job]:
        return await self.queue.search(search)

    async def follow(
        self, job_id: str, after: int
    ) -> AsyncGenerator[tuple[str, str | None, dict[str, Json]], None]:
        """(event, id, data) from event number `after` on, to the end of the job."""
        told: tuple[int, float] = (0, 0.0)
        while True:
            job = await self.queue.get(job_id)
            for event in await self.queue.events(job_id, after):
                after = event.n
                yield event.kind, str(event.n), orjson.loads(event.data)
            if job is None:
                yield "error", None, {"error": {"code": "job_not_found", "message": "It is gone."}}
                return
            if job.ended:
                name = "done" if job.status == "completed" else job.status
                yield name, f"{after}.end", shown(job, None)
                return
            place = await self.place(job)
            now = time.monotonic()
            if place is not None and (place.position != told[0] or now - told[1] >= TOLD_AGAIN_S):
                told = (place.position, now)
                yield "queued", None, waiting(place)
            await self._bells.heard(job_id, LOOK_S)
            if self._stop_at:
                # This process stops; another one tells the rest, from Last-Event-ID on.
                return

    async def _learn_on(self) -> None:
        while True:
            await asyncio.sleep(LEARN_S)
            # Old figures are better than none.
            with contextlib.suppress(Exception):
                await self._learn()
            await self._quiet.over(REST_S)

    async def _learn(self) -> None:
        self.estimator = Estimator(await self.queue.durations())
        self.stats = await self.queue.stats()
        self._gauges.stand(self.stats)

    def _spread(self) -> float:
        """Between two jobs of one application: what each takes of all the workers."""
        mean = self.estimator.mean(self.stats.types) / max(1, self.stats.slots)
        return min(LONGEST_SPREAD_S, max(SHORTEST_SPREAD_S, mean))

    def _new(self, asking: Asking) -> NewJob:
        caller = asking.caller
        return NewJob(
            id=secrets.token_hex(16),
            app_id=caller.id,
            app_name=caller.name,
            type=asking.type,
            door=asking.door,
            priority=caller.priority,
            body=question.kept(asking.dialect, asking.body, asking.models),
            question=question.words(asking.request),
            timeout_s=self.settings.timeout_s,
            webhook=asking.webhook,
            idem_key=asking.idem_key,
            digest=asking.digest,
        )


def waiting(place: Place) -> dict[str, Json]:
    return {
        "position": place.position,
        "estimated_wait_time": place.quote.words,
        "estimated_wait_s": {
            "low": round(place.quote.low, 1),
            "high": round(place.quote.high, 1),
        },
    }


def shown(job: Job, place: Place | None) -> dict[str, Json]:
    """A job, as its caller reads it."""
    found: dict[str, Json] = {
        "id": job.id,
        "object": "job",
        "status": job.status,
        "app": job.app_name,
        "type": job.type,
        "dialect": question.dialect_of(job.body),
        "question": job.question[:QUESTION_SHOWN],
        "created_at": rfc3339(job.created_at),
        "expires_at": rfc3339(job.expires_at),
        "started_at": None if job.started_at is None else rfc3339(job.started_at),
        "ended_at": None if job.ended_at is None else rfc3339(job.ended_at),
        "attempts": job.claims,
    }
    if place is not None:
        found.update(waiting(place))
    if job.result is not None:
        result = orjson.loads(job.result)
        found["result"] = result.pop("body")
        found["answer"] = result
    if job.error is not None:
        found["error"] = orjson.loads(job.error)
    elif job.status == "expired":
        words = "It waited too long."
        found["error"] = {"message": words, "type": "timeout", "code": "expired", "param": None}
    if job.webhook is not None:
        found["webhook"] = {
            "url": job.webhook,
            "state": job.hook_state or "waits for the end",
            "tries": job.hook_tries,
        }
    return found


def hook_body(job: Job) -> bytes:
    """What a webhook is told: the job, as GET /jobs/{id} shows it, without its question and the
    delivery itself."""
    whole = shown(replace(job, webhook=None), None)
    del whole["question"]
    return orjson.dumps({"event": f"job.{job.status}", "job": whole})


def rfc3339(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def result_of(job: Job) -> Json:
    """The answer without the body of its dialect; None where there is none."""
    return None if job.result is None else orjson.loads(job.result)
