"""Rests that several processes share over one Redis.

Each process decides from its own memory, at once; what it finds out, a breaker that opens or
closes, is told to the others, who believe it. What it counts of a target that fails while the
breaker is closed is told, too: failures within COUNTS_S, answers in between at least once in
ANSWERS_S, however many they are. Of targets that do not fail nothing is told. A target that is half
open is probed by one process: whoever sets the key. Without an answer from the Redis each process
goes on alone, and catches up when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.engine.cooldown import Change, CooldownTable
from gateway.engine.tally import Counted
from gateway.rests.around import RestsAround
from gateway.rests.words import counts_read, counts_written, read, written
from gateway.store.faults import unreachable

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger("pointsman.rests")

PREFIX = "pointsman:rests:"
CHANNEL = "pointsman:rests"
COUNTS = "pointsman:rests:counts"
PROBE = "pointsman:probe:"
PROBE_MS = 15_000
"""A process that dies while it probes frees the target after so long."""
RENEW_S = 5.0
CLAIM_S = 0.25
"""How long a probe waits for the others' consent."""
RECONNECT_S = 1.0
MAX_UNTOLD = 1000
COUNTS_S = 0.05
"""Between two words on what was counted, at least."""
ANSWERS_S = 1.0

# Deletes a probe's key only where it is still ours.
RELEASE = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0"


class SharedRests(RestsAround):
    """The engine's Rests."""

    def __init__(self, table: CooldownTable, redis: Redis) -> None:
        super().__init__(table)
        self._redis = redis
        self._me = secrets.token_hex(8)
        self._untold: asyncio.Queue[Change | str] = asyncio.Queue(MAX_UNTOLD)
        self._uncounted: dict[str, Counted] = {}
        """Counted here and not told yet."""
        self._failed = asyncio.Event()
        table.counted = self._counted
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = False
        """Others are heard."""

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(work())
            for work in (self._listen, self._speak, self._renew, self._tell_counts)
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(*unreachable()):
            async with asyncio.timeout(CLAIM_S):
                for target in list(self._claims):
                    await self._free(target)

    def enter(self, target: str, *, early: bool = False) -> int | Awaitable[int | None] | None:
        ticket = self._table.enter(target, early=early)
        return self._claimed(target, ticket) if ticket else ticket

    async def _claimed(self, target: str, ticket: int) -> int | None:
        """The ticket, where no other process probes; where nobody can be asked, too."""
        self._claims[target] = ticket
        try:
            async with asyncio.timeout(CLAIM_S):
                ours = await self._redis.set(PROBE + target, self._me, nx=True, px=PROBE_MS)
        except unreachable():
            return ticket
        except BaseException:
            self.left(target, ticket)
            raise
        if ours:
            return ticket
        self._claims.pop(target, None)
        self._table.left(target, ticket)
        return None

    def _let_go(self, target: str) -> None:
        self._put(target)

    def _tell(self, change: Change) -> None:
        if not change.counts:
            # The others begin to count anew, too.
            self._uncounted.pop(change.target, None)
            self._put(change)

    def _counted(self, one: Counted) -> None:
        before = self._uncounted.get(one.target)
        if before is not None:
            one = Counted(
                one.target,
                before.failures + one.failures,
                before.answers + one.answers,
                one.error or before.error,
            )
        self._uncounted[one.target] = one
        if one.failures:
            self._failed.set()

    async def _tell_counts(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWERS_S):
                    await self._failed.wait()
            self._failed.clear()
            if self._uncounted:
                rows, self._uncounted = self._uncounted.values(), {}
                # Counts of a time without a Redis are told to nobody: they are of that time.
                with contextlib.suppress(*unreachable()):
                    await self._redis.publish(COUNTS, counts_written(rows, self._me))
                await asyncio.sleep(COUNTS_S)

    def _put(self, word: Change | str) -> None:
        # A Redis that is gone for long is told of what rests then, not of what was.
        with contextlib.suppress(asyncio.QueueFull):
            self._untold.put_nowait(word)

    async def _speak(self) -> None:
        while True:
            word = await self._untold.get()
            try:
                if isinstance(word, str):
                    await self._free(word)
                else:
                    await self._told(word)
            except unreachable() as fault:
                log.warning("rests not told", extra={"fields": {"error": str(fault)}})

    async def _told(self, change: Change) -> None:
        raw = written(change, self._me)
        async with self._redis.pipeline(transaction=False) as pipe:
            if change.error is not None and change.seconds > 0:
                pipe.set(PREFIX + change.target, raw, px=max(1, int(change.seconds * 1000)))
            else:
                pipe.delete(PREFIX + change.target)
            pipe.publish(CHANNEL, raw)
            await pipe.execute()

    async def _free(self, target: str) -> None:
        await self._redis.eval(RELEASE, 1, PROBE + target, self._me)

    async def _renew(self) -> None:
        """Probes that last longer than the key."""
        while True:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(*unreachable()):
                for target in list(self._claims):
                    await self._redis.set(PROBE + target, self._me, xx=True, px=PROBE_MS)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL, COUNTS)
                    await self._catch_up()
                    self.connected = True
                    while True:
                        message = await channel.get_message(
                            ignore_subscribe_messages=True, timeout=RENEW_S
                        )
                        if message is not None:
                            self._heard(message["data"], channel=message["channel"])
            except unreachable() as fault:
                if self.connected:
                    log.warning("rests are not shared", extra={"fields": {"error": str(fault)}})
                self.connected = False
                await asyncio.sleep(RECONNECT_S)

    async def _catch_up(self) -> None:
        """Both ways: what rests elsewhere, and what rests here."""
        async for key in self._redis.scan_iter(match=PREFIX + "*", count=500):
            raw = await self._redis.get(key)
            left = await self._redis.pttl(key)
            if raw is not None and left > 0:
                self._heard(raw, left / 1000)
        for change in self._table.resting_now():
            await self._told(change)

    def _heard(
        self, raw: bytes | str, left_s: float | None = None, channel: bytes | str = CHANNEL
    ) -> None:
        counts: list[Counted] = []
        change = None
        try:
            if channel in (COUNTS, COUNTS.encode()):
                sender, counts = counts_read(raw)
            else:
                sender, change = read(raw)
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("a word on rests that makes no sense")
            return
        if sender == self._me:
            return
        for one in counts:
            self._table.count(one)
        if change is not None:
            if left_s is not None:
                change = replace(change, seconds=left_s)
            self._table.apply(change)
