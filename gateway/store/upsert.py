"""INSERT as each database has it, with its own "on conflict"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def insert_into(table: Table, *, is_sqlite: bool) -> sqlite.Insert | postgresql.Insert:
    # The other one's library need not be loaded: 5 MB and 60 ms of a start.
    if is_sqlite:
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
