"""Keeps prompts, where that is on, and what was said of their answers.

The hot path appends to a list; a task writes it a few times a second. A request is known by its
id for as long as it is among the last ones, or its prompt was kept, or the ledger has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from chat.errors import NotFound
from gateway.engine.ports import Caller, Settlement
from gateway.engine.routing import prompt_of
from gateway.feedback.redact import redacted
from gateway.settings import Feedback
from gateway.store.database import Database
from gateway.store.tables.feedback import FEEDBACK, PROMPTS
from gateway.store.upsert import insert_into

WRITE_S = 0.5
CLEAN_S = 3600.0
MAX_WAITING = 5000
"""Prompts that wait for the database; more are dropped, and answers go on."""
REMEMBERED = 20_000
"""Requests of which the caller is known without asking the database."""
PAGE = 500

log = logging.getLogger("pointsman.feedback")


@dataclass(frozen=True, slots=True)
class Said:
    """One caller's word on one answer. `value`: good, bad, other_tier or score; `score` 0..1."""

    request_id: str
    value: str
    score: float | None = None
    better_model: str | None = None
    comment: str | None = None


class FeedbackKeeper:
    """`known(request_id)` finds a request's caller elsewhere, in the ledger; None when there is
    no such request. `toss` gives 0..1."""

    def __init__(
        self,
        settings: Feedback,
        database: Database,
        known: Callable[[str], Any] | None = None,
        now: Callable[[], float] = time.time,
        toss: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.counted: Callable[[str, str], None] = lambda value, tier: None
        """Told of each word: its value and the tier that had answered."""
        self.catch_up: Callable[[], None] = lambda: None
        """Called before something is looked for: the recorder writes what it has."""
        self._database = database
        self._known = known
        self._now = now
        self._toss = toss
        self._recent: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._waiting: list[dict[str, Any]] = []
        self._stirred = asyncio.Event()
        """A prompt waits."""
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._writing = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Writes what is left."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self.flush()

    def settled(self, some: Sequence[tuple[float, Settlement]]) -> None:
        """One of the recorder's books."""
        recent, capture = self._recent, self.settings.capture
        for _, settlement in some:
            trace = settlement.trace
            recent[trace.request_id] = (settlement.caller.id, trace.tier or "")
            if capture and settlement.outcome == "finished" and trace.tier is not None:
                self._keep(settlement)
        while len(recent) > REMEMBERED:
            recent.popitem(last=False)

    def _keep(self, settlement: Settlement) -> None:
        trace = settlement.trace
        if settlement.request is None or len(self._waiting) >= MAX_WAITING:
            return
        if self._toss() >= self.settings.capture_share:
            return
        prompt = prompt_of(settlement.request)[: self.settings.max_chars]
        self._waiting.append(
            {
                "request_id": trace.request_id,
                "caller": settlement.caller.id,
                "created_at": self._now(),
                "route": trace.route,
                "tier": trace.tier,
                "target": trace.target,
                "score": trace.score,
                "version": trace.classifier_version,
                "domain": trace.domain,
                "propensity": trace.propensity,
                "prompt": redacted(prompt) if self.settings.redact else prompt,
            }
        )
        self._stirred.set()

    async def flush(self) -> None:
        self.catch_up()
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        # A caller may give one id to two requests; the later one is kept.
        rows = list({row["request_id"]: row for row in rows}.values())
        ids = [row["request_id"] for row in rows]
        try:
            async with self._database.begin() as connection:
                for start in range(0, len(ids), PAGE):
                    some = ids[start : start + PAGE]
                    await connection.execute(delete(PROMPTS).where(PROMPTS.c.request_id.in_(some)))
                await connection.execute(insert(PROMPTS), rows)
        except SQLAlchemyError:
            self._waiting = (rows + self._waiting)[:MAX_WAITING]
            log.warning("prompts could not be kept; they wait")

    async def say(self, said: Said, caller: Caller) -> None:
        """Raises NotFound for a request that there was not, or that was another's."""
        owner, tier = await self._owner(said.request_id)
        if owner is None or (owner != caller.id and not caller.admin):
            raise NotFound(f"There is no request {said.request_id!r} of yours.", param="request_id")
        word = {
            "created_at": self._now(),
            "value": said.value,
            "score": said.score,
            "better_model": said.better_model,
            "comment": said.comment,
        }
        # One statement, as two words may be said at once.
        write = (
            insert_into(FEEDBACK, is_sqlite=self._database.is_sqlite)
            .values(request_id=said.request_id, caller=caller.id, **word)
            .on_conflict_do_update(index_elements=list(FEEDBACK.primary_key), set_=word)
        )
        async with self._database.begin() as connection:
            await connection.execute(write)
        self.counted(said.value, tier)

    async def prompts(self, request_ids: Sequence[str]) -> dict[str, str]:
        """The kept ones of these requests, by id; none where nothing is kept."""
        self.catch_up()
        if not self.settings.capture or not request_ids:
            return {}
        waiting = {row["request_id"]: row["prompt"] for row in self._waiting}
        found = {name: waiting[name] for name in request_ids if name in waiting}
        missing = [name for name in request_ids if name not in found]
        query = select(PROMPTS.c.request_id, PROMPTS.c.prompt).where(
            PROMPTS.c.request_id.in_(missing)
        )
        async with self._database.read() as connection:
            rows = await connection.execute(query)
        found.update({row.request_id: row.prompt for row in rows})
        return found

    async def forget(self, request_id: str, caller: Caller) -> int:
        """Deletes the kept prompt and the words on it; returns how many rows."""
        await self.flush()
        count = 0
        async with self._database.begin() as connection:
            for table in (PROMPTS, FEEDBACK):
                wanted = table.c.request_id == request_id
                if not caller.admin:
                    wanted &= table.c.caller == caller.id
                count += (await connection.execute(delete(table).where(wanted))).rowcount
        return count

    async def forget_caller(self, caller_id: str) -> int:
        """Deletes all that was kept of one caller; returns how many rows."""
        await self.flush()
        count = 0
        async with self._database.begin() as connection:
            for table in (PROMPTS, FEEDBACK):
                done = await connection.execute(delete(table).where(table.c.caller == caller_id))
                count += done.rowcount
        return count

    async def clean(self) -> int:
        """Deletes what is older than `keep_days`; returns how many rows."""
        oldest = self._now() - self.settings.keep_days * 86_400
        count = 0
        async with self._database.begin() as connection:
            for table in (PROMPTS, FEEDBACK):
                done = await connection.execute(delete(table).where(table.c.created_at < oldest))
                count += done.rowcount
        return count

    async def export(self, *, labelled_only: bool) -> AsyncGenerator[dict[str, Any], None]:
        """Kept prompts with what was said of them, oldest first; those without a word have
        `feedback` null. Read page by page, so that no memory holds them all."""
        await self.flush()
        joined = PROMPTS.outerjoin(FEEDBACK, FEEDBACK.c.request_id == PROMPTS.c.request_id)
        columns = (
            *PROMPTS.c,
            FEEDBACK.c.caller.label("said_by"),
            FEEDBACK.c.value.label("feedback"),
            FEEDBACK.c.score.label("value"),
            FEEDBACK.c.better_model,
        )
        order = (PROMPTS.c.created_at, PROMPTS.c.request_id, FEEDBACK.c.caller)
        query = select(*columns).select_from(joined).order_by(*order)
        if labelled_only:
            query = query.where(FEEDBACK.c.value.is_not(None))
        start = 0
        while True:
            async with self._database.read() as connection:
                rows = (await connection.execute(query.limit(PAGE).offset(start))).mappings().all()
            for row in rows:
                yield _exported(row)
            if len(rows) < PAGE:
                return
            start += PAGE

    async def _owner(self, request_id: str) -> tuple[str | None, str]:
        self.catch_up()
        recent = self._recent.get(request_id)
        if recent is not None:
            return recent
        query = select(PROMPTS.c.caller, PROMPTS.c.tier).where(PROMPTS.c.request_id == request_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is not None:
            return row[0], row[1] or ""
        found = await self._known(request_id) if self._known is not None else None
        return found if found is not None else (None, "")

    async def _write_on(self) -> None:
        cleaned = 0.0
        while True:
            await asyncio.sleep(WRITE_S)
            self._stirred.clear()
            await self.flush()
            if time.monotonic() - cleaned >= CLEAN_S:
                cleaned = time.monotonic()
                with contextlib.suppress(SQLAlchemyError):
                    await self.clean()
            if not self._waiting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLEAN_S):
                        await self._stirred.wait()


def _exported(row: RowMapping) -> dict[str, Any]:
    names = (
        "request_id",
        "prompt",
        "route",
        "tier",
        "target",
        "score",
        "version",
        "domain",
        "propensity",
        "feedback",
        "value",
        "better_model",
    )
    told = {name: row[name] for name in names}
    told["model"] = told.pop("target")
    created = time.gmtime(row["created_at"])
    told["created"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", created)
    return told
