"""The three queues, each on a real store of the test's own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from redis.asyncio import Redis

from gateway.jobs.drivers import PostgresDriver, SqliteDriver
from gateway.jobs.job import NewJob
from gateway.jobs.queue import Queue
from gateway.jobs.redis_queue import RedisQueue
from gateway.jobs.sql import SqlQueue
from gateway.store.database import Database
from tests.store import servers

KINDS = ("sqlite", "postgresql", "redis")


@contextmanager
def store(kind: str, folder: Path) -> Generator[str]:
    """Yields the URL of an empty store."""
    redis = kind == "redis"
    made = servers.redis(folder / kind, durable=True) if redis else servers.database(kind, folder)
    with made as url:
        yield url


async def prepare(url: str) -> None:
    """The tables, where the store has tables."""
    if not url.startswith("redis"):
        database = Database(url)
        await database.open()
        await database.close()


@asynccontextmanager
async def queue(url: str) -> AsyncGenerator[Queue]:
    redis = Redis.from_url(url) if url.startswith("redis") else None
    found: Queue
    if redis is not None:
        found = RedisQueue(redis)
    elif url.startswith("sqlite"):
        found = SqlQueue(SqliteDriver(url.removeprefix("sqlite:///")))
    else:
        found = SqlQueue(PostgresDriver(url))
    await found.open()
    try:
        yield found
    finally:
        await found.close()
        if redis is not None:
            await redis.aclose()


def job(app: str = "a", **more: object) -> NewJob:
    given: dict[str, object] = {
        "id": uuid.uuid4().hex,
        "app_id": app,
        "app_name": app.upper(),
        "type": "t",
        "door": "jobs",
        "priority": 0,
        "body": "{}",
        "question": "what?",
        "timeout_s": 600.0,
    }
    return NewJob(**{**given, **more})  # type: ignore[arg-type]


async def put(queue: Queue, *jobs: NewJob, capacity: int = 10**6, spread: float = 0.0) -> list[str]:
    """Their ids."""
    found = await queue.enqueue(jobs, capacity=capacity, spread=spread, boost=60.0)
    return [name for name, _ in found]
