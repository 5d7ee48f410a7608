"""Items of answers, to be found again by their ids for a while, each by the caller it was for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson

from chat.request import Json
from gateway.cache.shelf import Clerk, NearShelf, RedisShelf

if TYPE_CHECKING:
    from redis.asyncio import Redis

MAX_BYTES = 32 * 2**20
"""Of all items in a process, or in all workers of a machine together; the oldest go first."""
KEEP_S = 3600.0
PREFIX = "pointsman:item:"
AGAIN_S = 0.1
"""Another machine may be writing it just now: a client can ask before that is done."""


class Items:
    """`near`: this machine's. A Redis has them for the others."""

    def __init__(self, near: NearShelf, redis: Redis | None) -> None:
        self._near = near
        self._far = None if redis is None else RedisShelf(redis, PREFIX)
        self._clerk = None if self._far is None else Clerk(self._far)

    def keep(self, caller: str, items: Sequence[Json]) -> None:
        for item in items:
            key, written = _key(caller, item["id"]), orjson.dumps(item)
            self._near.hold(key, written, KEEP_S)
            if self._clerk is not None:
                self._clerk.put(key, written, KEEP_S)

    async def find(self, caller: str, item_id: Json) -> Json | None:
        if not isinstance(item_id, str):
            return None
        key = _key(caller, item_id)
        found = await self._near.get(key)
        if found is None and self._far is not None:
            found = await self._far.get(key)
            if found is None:
                await asyncio.sleep(AGAIN_S)
                found = await self._far.get(key)
        return None if found is None else orjson.loads(found)

    async def close(self) -> None:
        if self._clerk is not None:
            await self._clerk.close()


def _key(caller: str, item_id: str) -> str:
    return f"{caller}:{item_id}"
