"""Callers who ask a mix of good and broken upstreams, and check what each of them is told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.client import Answer, Connection

MIX: tuple[tuple[str, bool, int], ...] = (
    ("good", False, 40),
    ("good", True, 26),
    ("then", False, 4),
    ("then", True, 4),
    ("broken", False, 3),
    ("broken", True, 3),
    ("wrong", False, 2),
    ("empty", True, 2),
    ("cut", False, 3),
    ("cut", True, 4),
    ("garbage", False, 2),
    ("garbage", True, 3),
    ("endless", True, 4),
)
"""Model, stream, percent. `then` is a route: a broken target, behind it a good one."""
OUTCOMES = {"good": "finished", "then": "finished", "endless": "cancelled"}
"""Of the models; all others fail."""
TEXT = b"mark0007 "
DOORS = ("/complete", "/v1/chat/completions")


class WrongError(Exception):
    """An answer that should not be."""


def request(door: str, model: str, stream: bool, number: int) -> bytes:
    name = "then" if model == "then" else f"lab/{model}"
    words = "true" if stream else "false"
    if door == "/complete":
        body = f'{{"message":"question {number}","model":"{name}","stream":{words}}}'
    else:
        message = f'{{"role":"user","content":"question {number}"}}'
        body = f'{{"messages":[{message}],"model":"{name}","stream":{words}}}'
    return (
        f"POST {door} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def checked(model: str, stream: bool, answer: Answer) -> None:
    """Raises WrongError."""
    body = answer.body
    if OUTCOMES.get(model) == "finished":
        well = answer.status == 200 and not answer.failure and TEXT in body
        well = well and (b'"finish_reason":"stop"' in body)
    elif model == "wrong":
        well = answer.status == 400
    elif stream and model in ("cut", "garbage"):
        well = answer.status == 200 and b"error" in body and b'"stop"' not in body
        well = well and b"[DONE]" not in body
    else:
        well = answer.status == 502
    if not well:
        raise WrongError(f"{model}, stream={stream}: {answer.status} {answer.failure} {body!r}")


class Leaving(Connection):
    """Leaves at the first words of an answer."""

    def data_received(self, data: bytes) -> None:
        if b"mark0000" in data:
            self.close()
        else:
            super().data_received(data)


@dataclass
class Callers:
    """`count` of them, each asking again as soon as he is answered, `total` questions in all."""

    port: int
    count: int
    total: int
    each: Callable[[int], None]
    """Called with the number of answers so far."""
    asked: Counter[str] = field(default_factory=Counter)
    """Outcomes."""
    _sent: int = 0
    _done: int = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                group.create_task(self._one(random.Random(number)))

    async def _one(self, chance: random.Random) -> None:
        loop = asyncio.get_running_loop()
        kinds = [(model, stream) for model, stream, _ in MIX]
        weights = [weight for *_, weight in MIX]
        kept: Connection | None = None
        while self._sent < self.total:
            number = self._sent
            self._sent += 1
            model, stream = chance.choices(kinds, weights)[0]
            whole = request(DOORS[number % 2], model, stream, number)
            ended: asyncio.Future[Answer] = loop.create_future()
            if model == "endless":
                _, leaving = await loop.create_connection(Leaving, "127.0.0.1", self.port)
                leaving.send(whole, ended.set_result)
                await ended
            else:
                if kept is None or not kept.is_open:
                    _, kept = await loop.create_connection(Connection, "127.0.0.1", self.port)
                kept.send(whole, ended.set_result)
                checked(model, stream, await ended)
            self.asked[OUTCOMES.get(model, "failed")] += 1
            self._done += 1
            self.each(self._done)
        if kept is not None:
            kept.close()
