"""What stands in a ledger, and a gateway in a process of its own that writes one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import Select, func, select

from gateway.store.database import Database
from gateway.store.tables.ledger import ATTEMPTS, DAYS
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


async def fetched(database: Database, statement: Select[Any]) -> list[dict[str, Any]]:
    async with database.read() as connection:
        found = await connection.execute(statement)
        return [dict(row) for row in found.mappings()]


async def attempts(database: Database) -> list[dict[str, Any]]:
    return await fetched(database, select(ATTEMPTS).order_by(ATTEMPTS.c.id))


async def days(database: Database) -> list[dict[str, Any]]:
    return await fetched(database, select(DAYS).order_by(*DAYS.primary_key))


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int(
            (await connection.execute(select(func.count()).select_from(ATTEMPTS))).scalar_one()
        )


@dataclass
class Process:
    url: str
    pid: int
    process: subprocess.Popen[bytes]

    def kill(self, number: signal.Signals) -> int:
        os.kill(self.pid, number)
        return self.process.wait(30)


@asynccontextmanager
async def gateway(folder: Path, toml: str, **environment: str) -> AsyncGenerator[Process]:
    """`python -m gateway` with this gateway.toml, until the block ends."""
    port = free_port()
    config = folder / "gateway.toml"
    config.write_text(f"[server]\nport = {port}\ndrain_s = 5\n{toml}")
    with (folder / "gateway.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", "gateway", "--config", str(config)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _answers(url, process)
        yield Process(url, process.pid, process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


async def _answers(url: str, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while process.poll() is None:
            try:
                async with session.get(url + "/healthz"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
    raise AssertionError("the gateway ended while it started")
