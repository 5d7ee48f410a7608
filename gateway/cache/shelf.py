"""Where what is kept lies: in this process, or in the Redis that all of them share."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway.store.faults import unreachable

if TYPE_CHECKING:
    from redis.asyncio import Redis


OVERHEAD = 300
"""Bytes of a kept value beside its own: its key and its place."""
REST_S = 5.0
"""A Redis that failed is left alone for so long."""


class Shelf(Protocol):
    """Neither method raises: what cannot be looked up is not there."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, seconds: float) -> None: ...


class NearShelf(Shelf, Protocol):
    """One that is at hand."""

    def hold(self, key: str, value: bytes, seconds: float) -> None:
        """As `put`, at once."""


class MemoryShelf:
    """The least recently used goes first when there are more than `limit` bytes."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.size = 0
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        self.hold(key, value, seconds)

    def hold(self, key: str, value: bytes, seconds: float) -> None:
        self._drop(key)
        self._kept[key] = (self._clock() + seconds, value)
        self.size += len(value) + OVERHEAD
        while self.size > self.limit and self._kept:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self.size -= len(gone[1]) + OVERHEAD


class RedisShelf:
    """Redis itself drops what is old; give it a maxmemory and allkeys-lru to bound it."""

    def __init__(
        self, redis: Redis, prefix: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._clock = clock
        self._rests_until = 0.0

    async def get(self, key: str) -> bytes | None:
        if self._clock() < self._rests_until:
            return None
        try:
            found = await self._redis.get(self._prefix + key)
        except unreachable():
            self._rests_until = self._clock() + REST_S
            return None
        return found if isinstance(found, bytes) else None

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        if self._clock() < self._rests_until:
            return
        try:
            await self._redis.set(self._prefix + key, value, px=max(1, int(seconds * 1000)))
        except unreachable():
            self._rests_until = self._clock() + REST_S


class Clerk:
    """Puts things on a shelf beside the request: nobody waits for it."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._writing: set[asyncio.Task[None]] = set()

    def put(self, key: str, value: bytes, seconds: float) -> None:
        task = asyncio.get_running_loop().create_task(self._shelf.put(key, value, seconds))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._writing, return_exceptions=True)
