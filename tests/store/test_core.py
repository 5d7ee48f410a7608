"""What the database brings into a process, and what not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IN_USE = """
import asyncio, sys
import gateway.serve
from gateway.store.database import Database

async def used():
    database = Database("")
    await database.open()
    await database.close()

asyncio.run(used())
"""
LOADED = 'print(*(name for name in sys.modules if name.startswith("sqlalchemy.")))\n'


def said(code: str) -> list[str]:
    """Words that an interpreter of its own prints; warnings are errors in it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_gateway_on_sqlite_loads_neither_the_orm_nor_the_library_of_postgresql() -> None:
    loaded = said(IN_USE + LOADED)
    assert "sqlalchemy.ext.asyncio.engine" in loaded
    unused = ("sqlalchemy.orm", "sqlalchemy.ext.asyncio.session", "sqlalchemy.dialects.postgresql")
    assert not set(unused) & set(loaded)


@pytest.mark.parametrize("first", ["", IN_USE])
def test_whoever_asks_for_the_rest_of_the_package_gets_it(first: str) -> None:
    asks = """
from sqlalchemy.ext.asyncio import AsyncSession, AsyncEngine
import sqlalchemy.ext.asyncio
from gateway.store import core
print(AsyncSession.__module__, core.AsyncEngine is AsyncEngine)
print(sqlalchemy.ext.asyncio.create_async_engine is core.create_async_engine)
print(hasattr(sqlalchemy.ext.asyncio, "nothing_of_the_kind"))
"""
    assert said(first + asks) == ["sqlalchemy.ext.asyncio.session", "True", "True", "False"]
