"""What the live page reads from the ledger: the last requests, one of them, and money by day.

A request has a row for each attempt, written together; its last one stands for it in a list. Pages
go by the rows' own numbers, so the newest are found at once however many there are.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, select, true
from sqlalchemy.exc import SQLAlchemyError

from chat.request import Json
from gateway.ledger.prices import dollars
from gateway.monitor.row import speed
from gateway.store.core import AsyncConnection
from gateway.store.database import Database
from gateway.store.tables.ledger import ATTEMPTS, DAYS

REFRESH_S = 10.0
WANTED_S = 60.0
MONEY_DAYS = 30
MOST_SCOPES = 200
DAY_S = 86_400
DAY_MS = DAY_S * 1000
NEXT = ATTEMPTS.alias("next")
FILTERS: Mapping[str, ColumnElement[Any]] = {
    name: ATTEMPTS.c[name]
    for name in ("outcome", "error", "door", "route", "provider", "model", "tier")
} | {"target": ATTEMPTS.c.provider + "/" + ATTEMPTS.c.model}

log = logging.getLogger("pointsman.live")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`exact`: by the names of FILTERS. `before`: a row's number. Times: seconds since 1970."""

    scope: str | None
    exact: Mapping[str, str] = field(default_factory=dict)
    caller: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    limit: int = 50


async def page(database: Database, wanted: Wanted) -> tuple[list[dict[str, Json]], int | None]:
    """Requests, newest first, and the mark of the page behind them."""
    table = ATTEMPTS.c
    later = exists().where(
        NEXT.c.id == table.id + 1,
        NEXT.c.request_id == table.request_id,
        NEXT.c.number == table.number + 1,
    )
    where = [FILTERS[name] == value for name, value in wanted.exact.items()]
    if wanted.scope is not None:
        where.append(table.caller_id == wanted.scope)
    if wanted.caller is not None:
        where.append((table.caller_id == wanted.caller) | (table.caller_name == wanted.caller))
    if wanted.since is not None:
        where.append(table.at >= int(wanted.since * 1000))
    if wanted.until is not None:
        where.append(table.at < int(wanted.until * 1000))
    if wanted.before is not None:
        where.append(table.id < wanted.before)
    # The dearest condition comes last: SQLite looks at them in this order.
    last = select(ATTEMPTS).where(*where, ~later).order_by(table.id.desc())
    ends: list[dict[str, Any]] = []
    async with database.read() as connection:
        async for span in _spans(connection, wanted):
            asked = last.where(span).limit(wanted.limit + 1 - len(ends))
            ends += [dict(row) for row in (await connection.execute(asked)).mappings()]
            if len(ends) > wanted.limit:
                break
        more, ends = len(ends) > wanted.limit, ends[: wanted.limit]
        found = await _attempts(connection, ends)
    rows = [_row(found[end["id"]]) for end in ends]
    return rows, ends[-1]["id"] if more else None


async def _spans(
    connection: AsyncConnection, wanted: Wanted
) -> AsyncGenerator[ColumnElement[bool], None]:
    """Where to look, newest first. One caller's few rows are looked for on the days on which he has
    some: the totals know them, and an index for it would be paid for by every request."""
    table, his = ATTEMPTS.c, DAYS.c
    if wanted.scope is not None:
        whose = his.caller_id == wanted.scope
    elif wanted.caller is not None:
        whose = (his.caller_id == wanted.caller) | (his.caller_name == wanted.caller)
    else:
        yield true()
        return
    days = select(his.day).where(whose).group_by(his.day).order_by(his.day.desc())
    if wanted.before is not None:
        behind = select(table.day).where(table.id < wanted.before).order_by(table.id.desc())
        newest = (await connection.execute(behind.limit(1))).scalar()
        # A row may have a lower number than one of the day before: two processes at midnight.
        days = days.where(his.day <= (-1 if newest is None else newest + 1))
    if wanted.until is not None:
        days = days.where(his.day <= int(wanted.until // DAY_S))
    if wanted.since is not None:
        days = days.where(his.day >= int(wanted.since // DAY_S))
    below: int | None = None
    for day in (await connection.execute(days)).scalars().all():
        of_day = table.at.between(day * DAY_MS, (day + 1) * DAY_MS - 1)
        ids = select(func.min(table.id), func.max(table.id)).where(of_day)
        low, high = (await connection.execute(ids)).one()
        # The rows of old days are gone, their sums stay.
        if low is not None and (below is None or low < below):
            yield table.id.between(low, high if below is None else min(high, below - 1))
            below = low


async def one(database: Database, scope: str | None, request_id: str) -> dict[str, Json] | None:
    """The newest request with this id."""
    table = ATTEMPTS.c
    asked = select(ATTEMPTS).where(table.request_id == request_id)
    if scope is not None:
        asked = asked.where(table.caller_id == scope)
    async with database.read() as connection:
        found = await connection.execute(asked.order_by(table.id.desc()).limit(100))
        rows = [dict(row) for row in found.mappings()]
    group: list[dict[str, Any]] = []
    for row in rows:
        if group and row["number"] != group[-1]["number"] - 1:
            break
        group.append(row)
    return _row(group[::-1]) if group else None


class Money:
    """Costs of the last days, read again now and then for whoever watches them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wanted: dict[str | None, float] = {}
        self._known: dict[str | None, Json] = {}
        self._asked = asyncio.Event()

    def __call__(self, scope: str | None) -> Json:
        """None until it was read for the first time."""
        if scope not in self._wanted:
            self._asked.set()
        self._wanted[scope] = time.monotonic()
        return self._known.get(scope)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(REFRESH_S if self._wanted else None):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()
            old = time.monotonic() - WANTED_S
            kept = [scope for scope, at in self._wanted.items() if at > old][-MOST_SCOPES:]
            self._wanted = {scope: self._wanted[scope] for scope in kept}
            self._known = {scope: self._known[scope] for scope in kept if scope in self._known}
            for scope in kept:
                try:
                    self._known[scope] = await money(self._database, scope)
                except SQLAlchemyError as fault:
                    told = {"fields": {"error": type(fault).__name__}}
                    log.warning("money not read", extra=told)


async def money(database: Database, scope: str | None) -> dict[str, Json]:
    today = int(time.time()) // DAY_S
    table = DAYS.c
    routed = case((table.tier != "", table.cost_nano), else_=0)
    sums = (table.cost_nano, table.strong_nano, table.strong_unpriced, routed, table.unpriced)
    asked = (
        select(table.day, *(func.sum(one).label(f"sum{n}") for n, one in enumerate(sums)))
        .where(table.day > today - MONEY_DAYS)
        .group_by(table.day)
        .order_by(table.day)
    )
    if scope is not None:
        asked = asked.where(table.caller_id == scope)
    async with database.read() as connection:
        rows = (await connection.execute(asked)).all()
    days: list[Json] = []
    saved, known = 0, True
    for day, cost, strong, strong_unpriced, of_routes, unpriced in rows:
        # What one tier alone would have cost, beside what no route decided.
        always = None if strong_unpriced else int(strong) + int(cost) - int(of_routes)
        known = known and always is not None and not unpriced
        saved += 0 if always is None else always - int(cost)
        days.append(
            {
                "day": (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat(),
                "cost": amount(int(cost)),
                "always_strong": None if always is None else amount(always),
                "unpriced": int(unpriced),
            }
        )
    return {"currency": "USD", "days": days, "saved": amount(saved) if known else None}


def amount(nano: int) -> str:
    """1250000 -> "0.00125" """
    return format(dollars(nano).normalize(), "f")


async def _attempts(
    connection: Any, ends: Sequence[Mapping[str, Any]]
) -> dict[int, list[dict[str, Any]]]:
    """Of each last attempt, by its number: all attempts of its request."""
    wanted = [end["id"] - back for end in ends for back in range(1, end["number"])]
    before: dict[int, dict[str, Any]] = {}
    if wanted:
        asked = select(ATTEMPTS).where(ATTEMPTS.c.id.in_(wanted))
        for row in (await connection.execute(asked)).mappings():
            before[row["id"]] = dict(row)
    found = {}
    for end in ends:
        group = [
            row
            for back in range(end["number"] - 1, 0, -1)
            if (row := before.get(end["id"] - back)) is not None
            and row["request_id"] == end["request_id"]
        ]
        found[end["id"]] = [*group, dict(end)]
    return found


def _row(attempts: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    """The live table's row. What only the process knew that answered is null."""
    last = attempts[-1]
    main = next((one for one in attempts if one["answered"]), last)
    starts = _starts(attempts)
    start = starts[attempts.index(main)]
    total = max(
        ((one or 0.0) + (each["total_ms"] or 0.0))
        for one, each in zip(starts, attempts, strict=True)
    )
    total = round(total, 2)
    first = main["first_ms"]
    first = None if first is None or start is None else round(start + first, 2)
    costs = [one["cost_nano"] for one in attempts]
    return {
        "request_id": last["request_id"],
        "at": last["at"] / 1000,
        "door": main["door"],
        "caller": main["caller_name"],
        "caller_id": main["caller_id"],
        "outcome": main["outcome"],
        "error": main["error"],
        "route": main["route"],
        "target": f"{main['provider']}/{main['model']}",
        "provider": main["provider"],
        "model": main["model"],
        "tier": main["tier"] or None,
        "score": main["score"],
        "domain": None,
        "reason": main["reason"],
        "input_tokens": main["input_tokens"],
        "output_tokens": main["output_tokens"],
        "cached_tokens": main["cached_tokens"],
        "reasoning_tokens": main["reasoning_tokens"],
        "cost": None if None in costs else amount(sum(costs)),
        "classifier_ms": None,
        "queue_ms": None,
        "first_token_ms": first,
        "total_ms": total,
        "tokens_per_s": speed(main["output_tokens"], first, total),
        "fallbacks": sum(one["outcome"] == "failed" for one in attempts if one is not last),
        "attempts": [_attempt(one, start) for one, start in zip(attempts, starts, strict=True)],
    }


def _starts(attempts: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """When each began, in ms from the first one: the ledger has lengths only, so one is laid
    behind the other. Of one that was asked beside another it is not known."""
    found: list[float | None] = []
    ended = 0.0
    for one in attempts:
        found.append(None if one["hedge"] else ended)
        if not one["hedge"]:
            ended += one["total_ms"] or 0.0
    return found


def _attempt(one: Mapping[str, Any], start: float | None) -> dict[str, Json]:
    first, total = one["first_ms"], one["total_ms"]
    return {
        "target": f"{one['provider']}/{one['model']}",
        "began_ms": None if start is None else round(start, 1),
        "first_ms": None if start is None or first is None else round(start + first, 1),
        "ended_ms": None if start is None or total is None else round(start + total, 1),
        "outcome": one["error"] or one["outcome"],
        "error": None,
        "hedge": one["hedge"],
    }
