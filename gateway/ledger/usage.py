"""What was used and what it cost, by the totals of each day. Sums are exact: money is whole
nano-dollars until it is told."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, func, select

from gateway.ledger.prices import dollars
from gateway.store.database import Database
from gateway.store.tables.ledger import DAYS

EPOCH = datetime.date(1970, 1, 1)
GROUPS: Mapping[str, Sequence[str]] = {
    "day": ("day",),
    "app": ("caller_id", "caller_name"),
    "model": ("provider", "model"),
    "provider": ("provider",),
    "route": ("route",),
    "tier": ("tier",),
}
"""What may be grouped by -> the columns."""
NAMES = {"caller_id": "app_id", "caller_name": "app"}
"""Of a column, where it is told by another name."""
COUNTS = ("requests", "attempts", "answers", "cache_hits")
TOKENS = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "output_tokens",
)
MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Days are inclusive. `caller`: an app's id, None for everybody."""

    first: datetime.date
    last: datetime.date
    caller: str | None = None
    by: tuple[str, ...] = ("day",)


async def usage(database: Database, asked: Asked) -> dict[str, Any]:
    """`total` and `rows`, newest day first; at most MOST_ROWS, and then `truncated`."""
    columns = list(dict.fromkeys(name for group in asked.by for name in GROUPS[group]))
    sums = (*COUNTS, *TOKENS, "cost_nano", "unpriced", "saved_nano")
    keys = [DAYS.c[name] for name in columns]
    order = [key.desc() if key.name == "day" else key for key in keys]
    wanted = select(*(_sum(name) for name in sums)).where(_where(asked))
    grouped = wanted.add_columns(*keys).group_by(*keys).order_by(*order).limit(MOST_ROWS + 1)
    async with database.read() as connection:
        total = (await connection.execute(wanted)).mappings().one()
        rows = [dict(row) for row in (await connection.execute(grouped)).mappings()]
    return {
        "from": asked.first.isoformat(),
        "to": asked.last.isoformat(),
        "by": list(asked.by),
        "currency": "USD",
        "total": _told(total),
        "rows": [
            {NAMES.get(name, name): _key(name, row[name]) for name in columns} | _told(row)
            for row in rows[:MOST_ROWS]
        ],
        "truncated": len(rows) > MOST_ROWS,
    }


async def savings(database: Database, asked: Asked) -> dict[str, Any]:
    """What the routes spent, beside what one tier alone would have cost for the same tokens."""
    names = ("routed", "cost_nano", "attempts", "unpriced", "saved_nano", "cache_hits")
    ends = ("local_nano", "local_unpriced", "strong_nano", "strong_unpriced")
    found = (
        select(DAYS.c.route, DAYS.c.tier, *(_sum(name) for name in (*names, *ends)))
        .where(_where(asked) & (DAYS.c.tier != ""))
        .group_by(DAYS.c.route, DAYS.c.tier)
        .order_by(DAYS.c.route, DAYS.c.tier)
    )
    cached = select(_sum("cache_hits"), _sum("saved_nano")).where(_where(asked))
    async with database.read() as connection:
        rows = [dict(row) for row in (await connection.execute(found)).mappings()]
        cache = (await connection.execute(cached)).mappings().one()
    routes = list(dict.fromkeys(row["route"] for row in rows))
    return {
        "from": asked.first.isoformat(),
        "to": asked.last.isoformat(),
        "currency": "USD",
        "total": _compared(rows),
        "routes": {
            name: _compared([row for row in rows if row["route"] == name]) for name in routes
        },
        "cache": {
            "hits": int(cache["cache_hits"]),
            "saved": _text(dollars(int(cache["saved_nano"]))),
        },
    }


def _compared(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def whole(name: str) -> int:
        return sum(int(row[name]) for row in rows)

    answers = whole("routed")
    spent = _money(whole("cost_nano"), whole("unpriced"), whole("attempts"))
    local = _money(whole("local_nano"), whole("local_unpriced"), answers)
    strong = _money(whole("strong_nano"), whole("strong_unpriced"), answers)
    # Sums in which something is unknown do not compare.
    known = not whole("unpriced") and not whole("strong_unpriced") and strong is not None
    saved = strong - spent if known and strong is not None and spent is not None else None
    tiers: dict[str, int] = {}
    for row in rows:
        tiers[row["tier"]] = tiers.get(row["tier"], 0) + int(row["routed"])
    return {
        "answers": answers,
        "spent": _text(spent),
        "spent_unpriced": whole("unpriced"),
        "always_local": _text(local),
        "always_local_unpriced": whole("local_unpriced"),
        "always_strong": _text(strong),
        "always_strong_unpriced": whole("strong_unpriced"),
        "saved": _text(saved),
        "saved_share": round(float(saved / strong), 4) if saved is not None and strong else None,
        "tiers": {
            tier: {"answers": count, "share": round(count / answers, 4) if answers else None}
            for tier, count in tiers.items()
        },
    }


def _where(asked: Asked) -> ColumnElement[bool]:
    between = DAYS.c.day.between((asked.first - EPOCH).days, (asked.last - EPOCH).days)
    return between if asked.caller is None else between & (DAYS.c.caller_id == asked.caller)


def _sum(name: str) -> ColumnElement[Any]:
    return func.coalesce(func.sum(DAYS.c[name]), 0).label(name)


def _told(row: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: int(row[name]) for name in (*COUNTS, *TOKENS)}
    found["total_tokens"] = found["input_tokens"] + found["output_tokens"]
    found["cost"] = _text(_money(int(row["cost_nano"]), int(row["unpriced"]), found["attempts"]))
    found["unpriced"] = int(row["unpriced"])
    found["saved_by_cache"] = _text(dollars(int(row["saved_nano"])))
    return found


def _money(nano: int, unknown: int, of: int) -> Decimal | None:
    """None where no part of it is known; a part is told with how many are missing."""
    return None if of and unknown >= of else dollars(nano)


def _text(money: Decimal | None) -> str | None:
    """A number with nine places would be rounded by who reads it."""
    return None if money is None else f"{money:.9f}"


def _key(name: str, value: Any) -> Any:
    return (EPOCH + datetime.timedelta(days=value)).isoformat() if name == "day" else value
