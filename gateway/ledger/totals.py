"""The sums of each day, folded from the ledger's rows in the transaction that writes the rows.

One statement folds a batch, and without its condition all rows: so the totals are what the rows
say, and can be made again from them.

    python -m gateway.ledger.totals rebuild --database sqlite:///var/pointsman.db
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Insert, case, delete, func, select, true

from gateway.store.core import AsyncConnection
from gateway.store.database import Database, StoreError
from gateway.store.tables.ledger import ATTEMPTS, DAYS
from gateway.store.upsert import insert_into

KEYS = tuple(column.name for column in DAYS.primary_key)
SUMS = tuple(column.name for column in DAYS.columns if column.name not in KEYS)
_A = ATTEMPTS.c
_ROUTED = _A.answered & (_A.tier != "") & ~_A.cache_hit


def _many(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((condition, 1), else_=0))


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(column), 0)


def _tokens(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Those of a kept answer were counted when it was made."""
    return _sum(case((~_A.cache_hit, column)))


_EXPRESSIONS: dict[str, ColumnElement[Any]] = {
    "requests": _many(_A.number == 1),
    "attempts": func.count(),
    "answers": _many(_A.answered),
    "cache_hits": _many(_A.cache_hit),
    "input_tokens": _tokens(_A.input_tokens),
    "cached_tokens": _tokens(_A.cached_tokens),
    "cache_write_tokens": _tokens(_A.cache_write_tokens),
    "reasoning_tokens": _tokens(_A.reasoning_tokens),
    "output_tokens": _tokens(_A.output_tokens),
    "cost_nano": _sum(_A.cost_nano),
    "unpriced": _many(_A.cost_nano.is_(None)),
    "saved_nano": _sum(_A.saved_nano),
    "routed": _many(_ROUTED),
    "local_nano": _sum(_A.local_nano),
    "local_unpriced": _many(_ROUTED & _A.local_nano.is_(None)),
    "strong_nano": _sum(_A.strong_nano),
    "strong_unpriced": _many(_ROUTED & _A.strong_nano.is_(None)),
}


def folded(dialect: str, where: ColumnElement[bool]) -> Insert:
    """Adds the rows that `where` selects to the totals."""
    keys = [_A[name] for name in KEYS]
    rows = (
        select(*keys, *(_EXPRESSIONS[name].label(name) for name in SUMS))
        .where(where)
        .group_by(*keys)
        # Two processes that add to the same days take their locks in the same order.
        .order_by(*keys)
    )
    insert = insert_into(DAYS, is_sqlite=dialect == "sqlite")
    statement = insert.from_select([*KEYS, *SUMS], rows)
    upsert: Insert = statement.on_conflict_do_update(
        index_elements=list(KEYS),
        set_={name: DAYS.c[name] + statement.excluded[name] for name in SUMS},
    )
    return upsert


async def rebuild(connection: AsyncConnection) -> None:
    """Makes the totals anew from the rows. Days whose rows were deleted keep what they have."""
    first = (await connection.execute(select(func.min(_A.day)))).scalar()
    if first is None:
        return
    await connection.execute(delete(DAYS).where(DAYS.c.day >= first))
    await connection.execute(folded(connection.dialect.name, true()))


async def _rebuild(url: str) -> None:
    database = Database(url)
    try:
        await database.open()
        async with database.begin() as connection:
            await rebuild(connection)
    finally:
        await database.close()


def main(given: Sequence[str] | None = None) -> int:
    """0 when the totals were made anew; 1 when the database cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m gateway.ledger.totals")
    commands = parser.add_subparsers(required=True)
    again = commands.add_parser("rebuild", help="make the totals anew from the rows")
    again.add_argument("--database", required=True, metavar="URL")
    try:
        asyncio.run(_rebuild(parser.parse_args(given).database))
    except StoreError as fault:
        sys.stderr.write(f"totals: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
