"""Answers that are written whether or not anybody reads them.

Each runs in a task of its own through the pipeline, as every door's does, and is kept as pieces
from which any number of deltas can be made: a reader has a place in it and no queue of his own, so
a slow one costs nothing. What is kept is bounded in time and in bytes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

import orjson

from chat.errors import Draining, GatewayError, QueueFull, TooLarge
from chat.events import Usage
from chat.request import Json
from chat.trace import Trace
from dialects.complete import error_object
from gateway.engine.pipeline import Pipeline
from gateway.engine.ports import Asked, Settlement
from gateway.routes.socket_dialect import closing
from gateway.settings import Web

ANSWER_BYTES = 8 * 2**20
"""Of one answer's text."""
DELTA_BYTES = 64 * 2**10
"""Of one delta that joins what a reader missed."""
LOADING_S = 2.0
STATUSES = 64
RETRYABLE = frozenset(
    ("rate_limited", "overloaded", "timeout", "upstream_error", "upstream_refused")
)
log = logging.getLogger("pointsman.sockets")


class Answer:
    """One answer while it is written, and for a while after."""

    def __init__(self, answers: Answers, asked: Asked, trace: Trace) -> None:
        # Without its messages: pictures are not kept for as long as the answer is.
        self._plain = replace(asked.request, messages=())
        self.trace = trace
        self.id = trace.request_id
        self.owner = asked.caller.id
        self.pieces: list[dict[str, Json]] = []
        self.sizes: list[int] = []
        self.bytes = 0
        self.statuses: list[dict[str, Json]] = []
        self.last: dict[str, Json] | None = None
        """Its `done` or `error`."""
        self.stopped = False
        self.usage = Usage()
        self.reader: Callable[[], None] | None = None
        """Called when there is something new."""
        self.timer: asyncio.TimerHandle | None = None
        self._loading: asyncio.TimerHandle | None = None
        self._answers = answers
        trace.watch = self._told
        self.task: asyncio.Future[None] = asyncio.create_task(
            self._run(asked), name=f"answer {self.id}"
        )

    def stop(self) -> None:
        """Leaves the upstream. Nothing happens to an answer that has ended."""
        if self.last is None:
            self.stopped = True
            self.task.cancel()

    def attach(self, wake: Callable[[], None]) -> None:
        self._answers.attach(self, wake)

    def left(self) -> None:
        self._answers.left(self)

    def settled(self, settlement: Settlement) -> None:
        self.usage = settlement.usage

    async def _run(self, asked: Asked) -> None:
        try:
            async with aclosing(self._answers.pipeline.stream(asked, self.trace)) as pieces:
                async for piece in pieces:
                    for line in piece.splitlines():
                        self._take(line)
        except GatewayError as error:
            self._fail(error)
        except asyncio.CancelledError:
            if self.stopped:
                self._end({"type": "done", **self._closing(), "stopped": True})
            else:
                self._fail(Draining())
        except Exception:
            log.exception("a fault of ours", extra={"fields": {"request_id": self.id}})
            self._fail(GatewayError("The gateway failed. The log has the request's id."))

    def _take(self, line: bytes) -> None:
        piece: dict[str, Json] = orjson.loads(line)
        if "done" in piece:
            del piece["done"]
            self._end({"type": "done", **piece, "stopped": False})
        elif "error" in piece:
            self._end(self._failed(piece["error"]))
        else:
            self._quiet()
            self.pieces.append(piece)
            self.sizes.append(len(line))
            self.bytes += len(line)
            self._answers.grew(len(line))
            if self.bytes > ANSWER_BYTES:
                raise TooLarge(f"The answer has more than {ANSWER_BYTES} bytes of text.")
            self._wake()

    def _end(self, last: dict[str, Json]) -> None:
        self._quiet()
        if self.last is not None:
            return
        if last["type"] == "done":
            last["cost"] = self._answers.cost(self.trace, last["usage"])
            last["tokens_per_s"] = _speed(last)
        self.last = {"type": last.pop("type"), "id": self.id, "next": len(self.pieces), **last}
        self.statuses.clear()
        self._answers.ended(self)
        self._wake()

    def _fail(self, error: GatewayError) -> None:
        self._end(self._failed(error_object(error)))

    def _failed(self, error: dict[str, Json]) -> dict[str, Json]:
        told: dict[str, Json] = {"type": "error", **error_fields(error)}
        if self.trace.target or self.trace.route:
            told["route"] = self._closing()["route"]
        return told

    def _closing(self) -> dict[str, Json]:
        fields = closing(self._plain, self.usage, self.trace, time.time)
        fields.pop("done", None)
        return fields

    def _told(self, state: str, facts: dict[str, Json]) -> None:
        """The engine tells what it does before the first token."""
        self._status({"state": state, **facts})
        self._quiet()
        if state == "asking" and self._answers.loads(facts["target"]):
            loop = asyncio.get_running_loop()
            loading: dict[str, Json] = {"state": "loading", "target": facts["target"]}
            self._loading = loop.call_later(LOADING_S, self._status, loading)

    def _status(self, status: dict[str, Json]) -> None:
        if self.last is None and not self.pieces and len(self.statuses) < STATUSES:
            self.statuses.append({"type": "status", "id": self.id, **status})
            self._wake()

    def _quiet(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None

    def _wake(self) -> None:
        if self.reader is not None:
            self.reader()


class Readable(Protocol):
    """An answer of this process or a mirror of another one's."""

    id: str
    pieces: list[dict[str, Json]]
    sizes: list[int]
    statuses: list[dict[str, Json]]
    last: dict[str, Json] | None
    reader: Callable[[], None] | None

    @property
    def task(self) -> asyncio.Future[None]: ...

    def attach(self, wake: Callable[[], None]) -> None: ...

    def left(self) -> None:
        """Its reader is gone."""
        ...

    def stop(self) -> None: ...


class Place:
    """Where one reader is in an answer."""

    def __init__(self, answer: Readable, offset: int = 0) -> None:
        self.answer = answer
        self.offset = min(offset, len(answer.pieces))
        # Of what happened before he came, only the last counts.
        self._statuses = max(0, len(answer.statuses) - 1)
        self.over = False

    def following(self) -> dict[str, Json] | None:
        """The next message for him; None when there is nothing now, or nothing more."""
        answer = self.answer
        if self.offset < len(answer.pieces):
            return self._delta()
        if answer.last is not None:
            if self.over:
                return None
            self.over = True
            return answer.last
        if not answer.pieces and self._statuses < len(answer.statuses):
            self._statuses += 1
            return answer.statuses[self._statuses - 1]
        return None

    def _delta(self) -> dict[str, Json]:
        """As much of one kind as is there, up to a bound."""
        pieces, sizes, start = self.answer.pieces, self.answer.sizes, self.offset
        kind, first = next(iter(pieces[start].items()))
        end, size = start + 1, sizes[start]
        while end < len(pieces) and kind in pieces[end] and size + sizes[end] <= DELTA_BYTES:
            size += sizes[end]
            end += 1
        if end == start + 1:
            joined = first
        elif kind == "tool_calls":
            joined = [call for piece in pieces[start:end] for call in piece[kind]]
        else:
            joined = "".join([piece[kind] for piece in pieces[start:end]])
        self.offset = end
        return {
            "type": "delta",
            "id": self.answer.id,
            "offset": start,
            "next": end,
            kind: joined,
        }


class Answers:
    """Those of this process, by who asked and the id that he gave. `loads` says of a target
    whether its server reads models into memory first; `cost` is what a usage costs, or None."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Web,
        loads: Callable[[str], bool],
        cost: Callable[[Trace, dict[str, Json]], Json],
    ) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.loads = loads
        self.cost = cost
        self._kept: OrderedDict[tuple[str, str], Answer] = OrderedDict()
        self._bytes = 0

    def start(self, asked: Asked, trace: Trace) -> Answer:
        """Raises QueueFull when too much is kept already."""
        if self._bytes > self.settings.kept_bytes:
            raise QueueFull("Too many answers are being written. Ask again.", retry_after=5)
        answer = Answer(self, asked, trace)
        self._kept[answer.owner, answer.id] = answer
        return answer

    def find(self, owner: str, answer_id: str) -> Answer | None:
        return self._kept.get((owner, answer_id))

    def left(self, answer: Answer) -> None:
        """Its reader is gone: it goes on for a while."""
        answer.reader = None
        if answer.last is None:
            self._later(answer, self.settings.orphan_s, answer.stop)

    def attach(self, answer: Answer, wake: Callable[[], None]) -> None:
        answer.reader = wake
        if answer.last is None and answer.timer is not None:
            answer.timer.cancel()
            answer.timer = None

    def ended(self, answer: Answer) -> None:
        self._later(answer, self.settings.kept_s, lambda: self._drop(answer))
        self._shrink()

    def grew(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self.settings.kept_bytes:
            self._shrink()

    def settled(self, settlement: Settlement) -> None:
        """One of the recorder's listeners."""
        if settlement.door == "chat_socket":
            answer = self.find(settlement.caller.id, settlement.trace.request_id)
            if answer is not None and answer.trace is settlement.trace:
                answer.settled(settlement)

    async def close(self) -> None:
        """The process stops."""
        answers = list(self._kept.values())
        for answer in answers:
            if answer.timer is not None:
                answer.timer.cancel()
            if answer.last is None:
                answer.task.cancel()
        await asyncio.gather(*(answer.task for answer in answers), return_exceptions=True)
        for answer in list(self._kept.values()):
            self._drop(answer)

    def _shrink(self) -> None:
        for answer in list(self._kept.values()):
            if self._bytes <= self.settings.kept_bytes:
                return
            if answer.last is not None and answer.reader is None:
                self._drop(answer)

    def _drop(self, answer: Answer) -> None:
        if answer.timer is not None:
            answer.timer.cancel()
        if self._kept.pop((answer.owner, answer.id), None) is not None:
            self._bytes -= answer.bytes

    def _later(self, answer: Answer, seconds: float, then: Callable[[], None]) -> None:
        if answer.timer is not None:
            answer.timer.cancel()
        answer.timer = asyncio.get_running_loop().call_later(seconds, then)


def error_fields(error: dict[str, Json]) -> dict[str, Json]:
    """POST /complete's error -> that of a socket."""
    kind = error.get("type") or "internal_error"
    return {
        "kind": kind,
        "message": error.get("message"),
        "code": error.get("code"),
        "param": error.get("param"),
        "retry_after": error.get("retry_after"),
        "retryable": kind in RETRYABLE,
    }


def _speed(done: dict[str, Json]) -> float | None:
    times = done["route"]["milliseconds"]
    tokens, first, total = done["usage"]["output_tokens"], times["first_token"], times["total"]
    if not tokens or first is None or total is None or total - first < 1:
        return None
    return float(round(tokens / (total - first) * 1000, 1))
