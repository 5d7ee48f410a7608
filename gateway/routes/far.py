"""Answers that another process writes: asked for over Redis, and mirrored here while they are read.

The process that has the answer sends its pieces as they come, whole batches where the network is
slower; the mirror keeps them, bounded as the answer itself is. Nobody asks an upstream twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from chat.request import Json
from gateway.routes.answers import Answer, Answers
from gateway.store.faults import unreachable

if TYPE_CHECKING:
    from redis.asyncio import Redis

ASK = "pointsman:answers"
FOUND_S = 1.0
"""How long one waits for a process that has the answer."""
AGAIN_S = 1.0
BATCH_BYTES = 256 * 2**10
log = logging.getLogger("pointsman.sockets")


class Mirror:
    """An answer of another process, from `start` on."""

    def __init__(self, far: Far, owner: str, answer_id: str) -> None:
        self._far = far
        self.token = secrets.token_hex(12)
        self.owner = owner
        self.id = answer_id
        self.pieces: list[dict[str, Json]] = []
        self.sizes: list[int] = []
        self.statuses: list[dict[str, Json]] = []
        self.last: dict[str, Json] | None = None
        self.reader: Callable[[], None] | None = None
        self.found = asyncio.Event()
        self.task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the answer has ended."""

    def attach(self, wake: Callable[[], None]) -> None:
        self.reader = wake

    def left(self) -> None:
        self.reader = None
        self._far.leave(self)

    def stop(self) -> None:
        self._far.say({"ask": "stop", "owner": self.owner, "id": self.id})

    def feed(self, told: dict[str, Json]) -> None:
        if not self.found.is_set():
            # What the reader has already is not sent again.
            self.pieces = [{}] * told["start"]
            self.sizes = [0] * told["start"]
        self.pieces += told["pieces"]
        self.sizes += told["sizes"]
        self.statuses += told["statuses"]
        self.last = told["last"]
        if self.last is not None and not self.task.done():
            self.task.set_result(None)
            self._far.forget(self)
        self.found.set()
        if self.reader is not None:
            self.reader()


class Far:
    def __init__(self, answers: Answers, redis: Redis) -> None:
        self._answers = answers
        self._redis = redis
        self._channel = f"{ASK}:{secrets.token_hex(6)}"
        self._mirrors: dict[str, Mirror] = {}
        self._relays: dict[str, asyncio.Task[None]] = {}
        self._saying: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self._hear()
                except unreachable() as fault:
                    told = {"fields": {"error": str(fault)}}
                    log.warning("answers of other processes are out of reach", extra=told)
                await asyncio.sleep(AGAIN_S)
        finally:
            tasks = [*self._relays.values(), *self._saying]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def find(self, owner: str, answer_id: str, offset: int) -> Mirror | None:
        """None where no process has it, or Redis is gone."""
        mirror = Mirror(self, owner, answer_id)
        self._mirrors[mirror.token] = mirror
        asked = {
            "ask": "resume",
            "to": self._channel,
            "token": mirror.token,
            "owner": owner,
            "id": answer_id,
            "offset": offset,
        }
        try:
            async with asyncio.timeout(FOUND_S):
                await self._redis.publish(ASK, orjson.dumps(asked))
                await mirror.found.wait()
        except unreachable():
            self.forget(mirror)
            return None
        return mirror

    def leave(self, mirror: Mirror) -> None:
        self.forget(mirror)
        self.say({"ask": "leave", "token": mirror.token})

    def forget(self, mirror: Mirror) -> None:
        self._mirrors.pop(mirror.token, None)

    def say(self, message: dict[str, Json]) -> None:
        """To all processes, in its own time."""
        task = asyncio.create_task(self._said(message))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _said(self, message: dict[str, Json]) -> None:
        try:
            await self._redis.publish(ASK, orjson.dumps(message))
        except unreachable() as fault:
            log.warning("not told", extra={"fields": {"error": str(fault)}})

    async def _hear(self) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(ASK, self._channel)
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=1.0)
                if message is None:
                    continue
                told = orjson.loads(message["data"])
                if "ask" in told:
                    self._asked(told)
                elif (mirror := self._mirrors.get(told["token"])) is not None:
                    mirror.feed(told)

    def _asked(self, told: dict[str, Json]) -> None:
        if told["ask"] == "leave":
            relay = self._relays.get(told["token"])
            if relay is not None:
                relay.cancel()
            return
        answer = self._answers.find(told["owner"], told["id"])
        if answer is None:
            return
        if told["ask"] == "stop":
            answer.stop()
            return
        token = told["token"]
        relay = asyncio.create_task(self._relay(answer, told["to"], token, told["offset"]))
        self._relays[token] = relay
        relay.add_done_callback(lambda _: self._relays.pop(token, None))

    async def _relay(self, answer: Answer, to: str, token: str, offset: int) -> None:
        """Sends what is there and what comes, to the end, or until nobody listens."""
        news = asyncio.Event()
        wake = news.set
        answer.attach(wake)
        start, statuses = min(offset, len(answer.pieces)), max(0, len(answer.statuses) - 1)
        news.set()
        try:
            while answer.reader == wake:
                await news.wait()
                news.clear()
                end = _batch(answer.sizes, start)
                whole = end == len(answer.pieces)
                told = {
                    "token": token,
                    "start": start,
                    "pieces": answer.pieces[start:end],
                    "sizes": answer.sizes[start:end],
                    "statuses": answer.statuses[statuses:],
                    "last": answer.last if whole else None,
                }
                start, statuses = end, len(answer.statuses)
                if not await self._redis.publish(to, orjson.dumps(told)):
                    return
                if told["last"] is not None:
                    answer.reader = None
                    return
                if not whole:
                    news.set()
        except unreachable() as fault:
            log.warning("not relayed", extra={"fields": {"error": str(fault)}})
        finally:
            if answer.reader == wake:
                answer.left()


def _batch(sizes: list[int], start: int) -> int:
    """The end of as many pieces as go in one message; at least one where there is one."""
    end, size = start, 0
    while end < len(sizes) and (end == start or size + sizes[end] <= BATCH_BYTES):
        size += sizes[end]
        end += 1
    return end
