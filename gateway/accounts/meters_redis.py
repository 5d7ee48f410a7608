"""The meters of all applications in a Redis, so that every node says the same.

One script does each step. What runs has a lease there, renewed while this process lives; what a
dead process held is freed when its leases end. While the Redis is gone, each process counts alone,
from what the ledger knows, or lets nobody pass, as the settings say. When it is back it is told
what it missed before anybody is counted there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat.errors import QueueFull
from gateway.accounts import outcome
from gateway.accounts.app import App
from gateway.accounts.meter import NOTHING, Calendar, Need
from gateway.accounts.meters import Meters, Spent, Standing
from gateway.accounts.outcome import Outcome
from gateway.settings import Access
from gateway.store.faults import redis_lost, unreachable

if TYPE_CHECKING:
    from redis.asyncio import Redis

SCRIPT = Path(__file__).with_name("meter.lua").read_text(encoding="utf-8")
LEASE_S = 60.0
RENEW_S = 15.0
REST_S = 1.0
"""After a failure the Redis is left alone so long, as each try may take its whole timeout."""
CLOSE_S = 3.0
TELL_S = 2.0
TRIES = 5

log = logging.getLogger("pointsman.accounts")


class _Resting(ConnectionError):
    """The Redis is left alone for a moment: nothing new is known of it."""


class RedisMeters:
    """`local` counts while the Redis is gone. `gone` is called before it does so and each second
    after, `back` when the Redis came back."""

    def __init__(
        self,
        redis: Redis,
        local: Meters,
        access: Callable[[], Access],
        back: Callable[[], Awaitable[None]] | None = None,
        gone: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(SCRIPT)
        self._local = local
        self._access = access
        self._back = back
        self._when_gone = gone
        self._caught_up_at = 0.0
        self._returning = asyncio.Lock()
        self._leases: dict[int, App] = {}
        self._here: dict[int, tuple[App, Need]] = {}
        """Requests that the local meters know, and what they hold there."""
        self._rests_until = 0.0
        self._gone = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._renewing = asyncio.get_running_loop().create_task(self._renew())

    async def close(self) -> None:
        """Tells the Redis what ended last."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)

    async def admit(self, app: App, id_: int) -> Outcome:
        """Raises QueueFull where the settings let nobody pass without the Redis."""
        try:
            found = await self._run("admit", app, id_)
        except unreachable() as fault:
            self._failed(fault)
            return await self._admit_here(app, id_)
        if found.code == outcome.OK:
            self._leases[id_] = app
        return found

    async def reserve(self, app: App, id_: int, need: Need) -> Outcome:
        """Raises QueueFull as admit."""
        if id_ not in self._here:
            try:
                return await self._run("reserve", app, id_, need.money, need.most, need.likely)
            except unreachable() as fault:
                self._failed(fault)
                found = await self._admit_here(app, id_)
                if found.code != outcome.OK:
                    return found
        told = self._local.reserve(app, id_, need)
        if told.code == outcome.OK:
            _, held = self._here[id_]
            self._here[id_] = (
                app,
                Need(held.money + need.money, held.most + need.most, held.likely + need.likely),
            )
        return told

    def settle(self, app: App, id_: int, need: Need | None, used: Need, slot: int) -> None:
        if (here := self._here.pop(id_, None)) is not None:
            self._local.settle(app, id_, here[1] if need is not None else None, used, slot)
            return
        self._spawn(self._settle(app, id_, used))

    async def remember(self, spent: Iterable[Spent]) -> None:
        """What stands in the ledger, for a Redis that knows less."""
        for id_, day, month in spent:
            more = (day.money, day.likely, month.money, month.likely)
            await self._script(
                keys=_keys(id_), args=["seed", 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, *more]
            )

    async def standing(self, id_: str) -> Standing:
        """Raises RedisError."""
        names = (
            "running",
            "day",
            "day_money",
            "day_tokens",
            "month",
            "month_money",
            "month_tokens",
        )
        found = await self._redis.hmget(_keys(id_)[0], names)
        running, day, *today, month, money, tokens = [int(one or 0) for one in found]
        its_day, its_month, _ = Calendar().at(time.time())
        return Standing(
            running,
            Need(today[0], 0, today[1]) if day >= its_day else NOTHING,
            Need(money, 0, tokens) if month >= its_month else NOTHING,
        )

    async def _settle(self, app: App, id_: int, used: Need) -> None:
        """Tries again while the lease holds: a Redis may start anew."""
        for turn in range(TRIES):
            try:
                await self._run("settle", app, id_, used.money, used.likely, resting=False)
                break
            except unreachable() as fault:
                self._failed(fault)
                await asyncio.sleep(REST_S * 2**turn)
        self._leases.pop(id_, None)

    async def _run(
        self, what: str, app: App, id_: int, *more: int, resting: bool = True
    ) -> Outcome:
        if resting and time.monotonic() < self._rests_until:
            raise _Resting("it did not answer a moment ago")
        if self._gone:
            await self._returned()
        told = await self._called(what, app, id_, *more)
        code, wait, requests, resets, tokens, tokens_resets, left, slot = told
        if code not in (outcome.OK, outcome.CONCURRENCY, outcome.REQUESTS):
            wait = wait or _budget_wait(code)
        return Outcome(
            code, wait / 1000, requests, resets / 1000, tokens, tokens_resets / 1000, left, slot
        )

    async def _called(self, what: str, app: App, id_: int, *more: int) -> list[int]:
        given: list[str | int] = [what, id_, int(LEASE_S * 1000), *_limits(app), *more]
        try:
            return list(await self._script(keys=_keys(app.id), args=[*given]))
        except redis_lost():
            # A connection that was kept may be from before a restart, and all of them then are.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            return list(await self._script(keys=_keys(app.id), args=[*given]))

    async def _returned(self) -> None:
        """It is back: it is told what was spent, and what runs here is counted there from now on.
        Raises RedisError when it is not."""
        async with self._returning:
            if not self._gone:
                return
            await self._redis.ping()
            if self._back is not None:
                await self._recovered(self._back)
            for id_, (app, held) in list(self._here.items()):
                await self._called("adopt", app, id_, held.money, held.most, held.likely)
                if self._here.pop(id_, None) is None:
                    # It ended meanwhile: what it used is in the ledger.
                    await self._called("settle", app, id_, 0, 0)
                    continue
                self._leases[id_] = app
                self._local.settle(app, id_, held, NOTHING, 0)
            self._gone = False
            self._rests_until = 0.0
            log.info("limits are counted in the Redis again")

    def _failed(self, fault: BaseException) -> None:
        if isinstance(fault, _Resting):
            # Or a steady stream of requests would put the next try off for ever.
            return
        self._rests_until = time.monotonic() + REST_S
        if not self._gone:
            self._gone = True
            log.error("the limits' Redis is gone", extra={"fields": {"error": str(fault)}})

    async def _admit_here(self, app: App, id_: int) -> Outcome:
        if self._access().without_redis == "refuse":
            raise QueueFull("The limits cannot be counted just now.", retry_after=REST_S)
        if self._when_gone is not None and app.reserves:
            async with self._returning:
                if time.monotonic() - self._caught_up_at >= REST_S:
                    await self._recovered(self._when_gone)
                    self._caught_up_at = time.monotonic()
        found = self._local.admit(app, id_)
        if found.code == outcome.OK:
            self._here[id_] = app, NOTHING
        return found

    async def _recovered(self, back: Callable[[], Awaitable[None]]) -> None:
        """A database that is gone, too, holds nobody up for long; nor is it left in the middle."""
        telling = asyncio.ensure_future(back())
        telling.add_done_callback(_told)
        await asyncio.wait({telling}, timeout=TELL_S)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            # The Redis' own clock is the one that ends leases.
            try:
                seconds, micros = await self._redis.time()
                ends = int((seconds + micros / 1e6 + LEASE_S) * 1000)
                async with self._redis.pipeline(transaction=False) as pipe:
                    for id_, app in self._leases.items():
                        pipe.zadd(_keys(app.id)[1], {str(id_): ends}, xx=True)
                    await pipe.execute()
            except unreachable() as fault:
                self._failed(fault)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _told(telling: asyncio.Future[None]) -> None:
    if not telling.cancelled() and (fault := telling.exception()) is not None:
        log.error("what was spent could not be told on", extra={"fields": {"error": str(fault)}})


def _keys(id_: str) -> list[str]:
    """In one slot of a cluster."""
    return [
        f"pointsman:{{{id_}}}:meter",
        f"pointsman:{{{id_}}}:leases",
        f"pointsman:{{{id_}}}:holds",
    ]


def _limits(app: App) -> list[int]:
    rates = [
        (-1, -1) if rate is None else (rate.count, rate.seconds * 1000)
        for rate in (app.requests, app.tokens)
    ]
    budgets = (app.budget_day, app.budget_month, app.tokens_day, app.tokens_month)
    return [
        -1 if app.concurrency is None else app.concurrency,
        *rates[0],
        *rates[1],
        *(-1 if budget is None else budget for budget in budgets),
    ]


def _budget_wait(code: int) -> int:
    """Milliseconds to the end of the day or the month."""
    _, _, (day_s, month_s) = Calendar().at(time.time())
    return int((day_s if code in (outcome.MONEY_DAY, outcome.TOKENS_DAY) else month_s) * 1000)
