"""Where it is counted, from the start, with what the ledger remembers, to the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from gateway.accounts.accounts import Accounts
from gateway.accounts.board import Board
from gateway.accounts.meter import DAY_S, Need
from gateway.accounts.meters import Counts, Meters, Spent, Standing
from gateway.accounts.meters_redis import RedisMeters
from gateway.store.database import Database
from gateway.store.faults import unreachable
from gateway.store.tables.ledger import DAYS

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger("pointsman.accounts")


class Metering:
    """`board`: what the workers of one machine share; `worker`: which of them this is. `flush`
    writes the ledger's rows that wait."""

    def __init__(
        self,
        accounts: Accounts,
        database: Database,
        redis: Redis | None,
        board: Board | None = None,
        worker: int = 0,
        wall: Callable[[], float] = time.time,
        flush: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._database = database
        self._flush = flush
        self._wall = wall
        self._local = Meters(board, worker, wall=wall)
        self._far = (
            RedisMeters(redis, self._local, lambda: accounts.access, self._tell, self._recall)
            if redis
            else None
        )

    @property
    def counts(self) -> Counts:
        return self._far or self._local

    async def start(self) -> None:
        """Budgets begin where the ledger says that they stand."""
        self._local.remember(await spent_of(self._database, self._wall()))
        if self._far is not None:
            try:
                await self._tell()
            except unreachable() as fault:
                log.error("the limits' Redis is gone", extra={"fields": {"error": str(fault)}})
            self._far.start()

    async def close(self) -> None:
        if self._far is not None:
            await self._far.close()

    async def standing(self, id_: str) -> Standing:
        """By the Redis, where there is one and it answers."""
        if self._far is not None:
            try:
                return await self._far.standing(id_)
            except unreachable():
                return self._local.standing(id_)
        return self._local.standing(id_)

    async def _tell(self) -> None:
        """To a Redis that lost everything, or what was spent while it was gone."""
        assert self._far is not None
        if self._flush is not None:
            await self._flush()
        await self._far.remember(await spent_of(self._database, self._wall()))

    async def _recall(self) -> None:
        """What all spent, as far as the ledger knows, while each counts alone."""
        if self._flush is not None:
            await self._flush()
        self._local.catch_up(await spent_of(self._database, self._wall()))


async def spent_of(database: Database, wall: float) -> list[Spent]:
    """What every caller spent today and this month, by the ledger's days."""
    today = int(wall // DAY_S)
    first = today - time.gmtime(wall).tm_mday + 1
    tokens = DAYS.c.input_tokens + DAYS.c.output_tokens
    of_today = DAYS.c.day == today
    rows = (
        select(
            DAYS.c.caller_id,
            func.sum(case((of_today, DAYS.c.cost_nano), else_=0)),
            func.sum(case((of_today, tokens), else_=0)),
            func.sum(DAYS.c.cost_nano),
            func.sum(tokens),
        )
        .where(DAYS.c.day >= first, DAYS.c.day <= today)
        .group_by(DAYS.c.caller_id)
    )
    async with database.read() as connection:
        return [
            (id_, Need(int(money), 0, int(used)), Need(int(monthly), 0, int(used_monthly)))
            for id_, money, used, monthly, used_monthly in await connection.execute(rows)
        ]
