"""The line of all processes that share a Redis: one script a step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.jobs.line import NOW, SAMPLES, SEEN_S, LineGoneError, Room, Ticket
from gateway.store.faults import unreachable

if TYPE_CHECKING:
    from redis.asyncio import Redis

SCRIPT = Path(__file__).with_name("line.lua").read_text(encoding="utf-8")
LEASE_S = 20.0
"""After that a dead process's answers run no more."""
RENEW_S = 5.0
CLOSE_S = 2.0


class RedisLine:
    def __init__(self, redis: Redis) -> None:
        # Its annotations allow for answers as text; ours are bytes.
        self._redis: Any = redis
        self._script = redis.register_script(SCRIPT)
        self._running: dict[int, Ticket] = {}
        """Of this process."""
        self._renewing: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def enter(self, ticket: Ticket, room: Room) -> int:
        given = (room.limit, room.capacity, room.spread, ticket.ahead, SEEN_S, LEASE_S)
        place, rank, tag = await self._do("enter", ticket.route, _member(ticket), *given)
        ticket.rank, ticket.tag = float(rank), float(tag)
        if place == NOW:
            self._runs(ticket)
        return int(place)

    async def look(self, route: str, mine: Sequence[Ticket], limit: int) -> list[int]:
        told: list[str | float] = []
        for one in mine:
            told += [_member(one), one.rank, one.tag]
        places = await self._do("look", route, limit, SEEN_S, LEASE_S, *told)
        for one, place in zip(mine, places, strict=True):
            if place == NOW:
                self._runs(one)
        return [int(place) for place in places]

    async def took(self, route: str) -> list[float]:
        try:
            found = await self._redis.lrange(_prefix(route) + "took", 0, SAMPLES - 1)
        except unreachable() as fault:
            raise LineGoneError from fault
        return [float(one) for one in found]

    def leave(self, ticket: Ticket, took_s: float | None) -> None:
        self._running.pop(ticket.id, None)
        leaving = asyncio.get_running_loop().create_task(self._left(ticket, took_s))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=CLOSE_S)

    async def _left(self, ticket: Ticket, took_s: float | None) -> None:
        seconds = "" if took_s is None else round(took_s, 3)
        # Else its lease ends by itself.
        with contextlib.suppress(LineGoneError):
            await self._do("leave", ticket.route, _member(ticket), seconds, SAMPLES)

    def _runs(self, ticket: Ticket) -> None:
        self._running[ticket.id] = ticket
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            routes: dict[str, list[Ticket]] = {}
            for one in self._running.values():
                routes.setdefault(one.route, []).append(one)
            for route, tickets in routes.items():
                with contextlib.suppress(LineGoneError):
                    await self._do("renew", route, LEASE_S, *map(_member, tickets))
                for one in tickets:
                    if one.id not in self._running:
                        # It left meanwhile, and may have been put back.
                        self.leave(one, None)

    async def _do(self, op: str, route: str, *given: str | float) -> Any:
        try:
            return await self._script(keys=[_prefix(route)], args=[op, *given])
        except unreachable() as fault:
            raise LineGoneError from fault


def _prefix(route: str) -> str:
    """In one slot of a cluster."""
    return f"pointsman:{{line:{route}}}:"


def _member(ticket: Ticket) -> str:
    return f"{ticket.id} {ticket.app}"
