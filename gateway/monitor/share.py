"""The live feed of several processes: each tells the others over Redis what ended at it.

Nothing waits for it, and what is lost is only not shown. Without Redis each process shows its own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import orjson

from gateway.monitor.hub import TICK_S, Hub
from gateway.store.faults import unreachable

if TYPE_CHECKING:
    from redis.asyncio import Redis

CHANNEL = "pointsman:live"
MOST_ROWS = 500
"""Told in one message; of more, the newest."""
AGAIN_S = 2.0
SHAPE = frozenset(("request_id", "at", "caller_id", "outcome", "route", "tier", "score", "target"))
log = logging.getLogger("pointsman.live")


class Share:
    def __init__(self, hub: Hub, redis: Redis) -> None:
        self._hub = hub
        self._redis = redis
        self._name = secrets.token_hex(6)

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._again(self._tell), self._again(self._hear))

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except unreachable() as fault:
                log.warning("live feed not shared", extra={"fields": {"error": str(fault)}})
            await asyncio.sleep(AGAIN_S)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            fresh = self._hub.fresh
            rows = [fresh.popleft() for _ in range(len(fresh))][-MOST_ROWS:]
            said = {"from": self._name, "in_flight": self._hub.in_flight(), "rows": rows}
            await self._redis.publish(CHANNEL, orjson.dumps(said))

    async def _hear(self) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            while True:
                # A timeout of its own, longer than others' silence and shorter than the client's.
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=1.0)
                if message is not None:
                    self._heard(message["data"])

    def _heard(self, raw: bytes) -> None:
        try:
            said = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return
        if not isinstance(said, dict) or said.get("from") in (None, self._name):
            return
        self._hub.heard(str(said["from"]), int(said.get("in_flight") or 0))
        for row in said.get("rows") or ():
            if isinstance(row, dict) and row.keys() >= SHAPE:
                self._hub.add(row)
