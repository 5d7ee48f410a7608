"""`python -m gateway` as it is run, several of them where a test needs it, on one database."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Gateway:
    url: str
    child: asyncio.subprocess.Process
    log: Path
    """What it printed."""


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **more}


async def command(folder: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    """`python -m gateway ARGUMENTS`: its code, what it said, and what it complained of."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        cwd=folder,
        env=environment(**more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await child.communicate()
    assert child.returncode is not None
    return child.returncode, said.decode(), complained.decode()


@asynccontextmanager
async def gateway(
    folder: Path, toml: str, *arguments: str, name: str = "gateway", **more: str
) -> AsyncGenerator[Gateway]:
    """Ended as an operator ends it. `toml` without [server]: it takes a free port."""
    config, log = folder / f"{name}.toml", folder / f"{name}.log"
    config.write_text("[server]\nport = 0\ndrain_s = 4\n" + toml, encoding="utf-8")
    with log.open("w") as out:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            "--config",
            str(config),
            *arguments,
            cwd=folder,
            env=environment(**more),
            stdout=out,
            stderr=out,
        )
    try:
        yield Gateway(await _address(child, log), child, log)
    finally:
        if child.returncode is None:
            child.terminate()
            try:
                async with asyncio.timeout(20):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()


@asynccontextmanager
async def gateways(
    folder: Path, toml: str, count: int, *arguments: str
) -> AsyncGenerator[list[Gateway]]:
    async with AsyncExitStack() as stack:
        started = []
        for number in range(count):
            one = gateway(folder, toml, *arguments, name=f"gateway{number}")
            started.append(await stack.enter_async_context(one))
        yield started


async def _address(child: asyncio.subprocess.Process, log: Path) -> str:
    async with asyncio.timeout(30):
        while True:
            said = await asyncio.to_thread(log.read_text, "utf-8")
            if found := re.search(r"is ready at (\S+)", said):
                return found[1]
            assert child.returncode is None, said
            await asyncio.sleep(0.02)
