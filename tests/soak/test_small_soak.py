"""The soak itself, with few requests: all four sides count the same, and nothing is left behind."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_callers_gateway_upstream_and_ledger_count_the_same() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.soak", "1500", "--dry"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(180):
        said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()[-400:]
    assert said.decode().count("| yes |") == 4
