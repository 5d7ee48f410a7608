"""What can be seen of a gateway process from outside: its metrics, files, memory and ledger."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp

PAGE = os.sysconf("SC_PAGE_SIZE")


def toml(upstream: str, *, server: str = "", more: str = "", database: str = "") -> str:
    """To stand behind the `[server]` that tests.accounts.processes writes."""
    return f"""max_lag_ms = 60000
{server}
[classifier]
url = "http://127.0.0.1:9"
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[routes.auto]
local = ["lab/m"]
[attempts]
backoff_ms = 1
[store]
database = "{database}"
{more}
"""


async def scraped(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
        return await answer.text()


def summed(text: str, name: str, **labels: str) -> float:
    """Over all samples of the name that have these labels."""
    total = 0.0
    for given, value in re.findall(rf"^{name}(?:\{{([^}}]*)\}})? (\S+)$", text, re.M):
        if labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', given)).items():
            total += float(value)
    return total


async def sample(url: str, name: str, **labels: str) -> float:
    return summed(await scraped(url), name, **labels)


async def ready(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url + "/readyz") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def asked(url: str, limit_s: float = 20, **body: Any) -> tuple[int, bytes]:
    """Status and whole body of one POST /complete."""
    given = {"message": "hello", "stream": False, **body}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=limit_s)) as session,
        session.post(url + "/complete", json=given) as answer,
    ):
        return answer.status, await answer.read()


async def until(true: Callable[[], Awaitable[bool]], what: str, limit_s: float = 30) -> None:
    try:
        async with asyncio.timeout(limit_s):
            while not await true():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {limit_s:g} s: {what}") from None


def files(pid: int) -> int:
    """Open descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def ledger(database: Path) -> dict[str, int]:
    """Rows of the ledger by outcome."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT outcome, count(*) FROM ledger GROUP BY outcome"))
