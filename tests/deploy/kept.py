"""`python -m gateway --workers N` as a process of its own, and what can be seen of it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]


def toml(
    port: int,
    upstream: str,
    *,
    classifier: str = "http://127.0.0.1:1",
    local: str = '["lab/m"]',
    provider: str = "",
) -> str:
    return f"""
[server]
port = {port}
drain_s = 6
[classifier]
url = "{classifier}"
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
{provider}
[routes.auto]
local = {local}
"""


@asynccontextmanager
async def keeper(
    folder: Path,
    upstream: str,
    *,
    extra: str = "",
    workers: int = 2,
    environment: dict[str, str] | None = None,
    **more: str,
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str]]:
    """The keeper's process and the address that its workers serve."""
    config = folder / "gateway.toml"
    config.write_text(toml(0, upstream, **more) + extra, encoding="utf-8")
    log = (folder / "log").open("wb")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "--config", str(config), "--workers", str(workers)),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=log,
        stderr=log,
    )
    log.close()
    try:
        url = await address(folder, child)
        port = int(url.rpartition(":")[2])
        await until(lambda: listeners(port) == workers, "every worker listens")
        yield child, url
    finally:
        if child.returncode is None:
            child.terminate()
            async with asyncio.timeout(30):
                await child.wait()


async def address(folder: Path, child: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(40):
        while True:
            said = (folder / "log").read_text()
            if found := re.search(r"is ready at (\S+)", said):
                return found[1]
            assert child.returncode is None, said
            await asyncio.sleep(0.05)


def rows(port: int, state: str) -> list[list[str]]:
    """Lines of the kernel's table of connections: those of this port on our side, in `state`."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] == state]


def listeners(port: int) -> int:
    return len(rows(port, "0A"))


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(one) for one in listed}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(true: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.05)
    assert true(), what


async def asked(url: str, times: int) -> None:
    """One connection each, so that the kernel deals them out."""
    for _ in range(times):
        async with (
            aiohttp.ClientSession() as session,
            session.post(url + "/complete", json={"message": "hello", "stream": False}) as answer,
        ):
            assert answer.status == 200, await answer.text()


async def sample(url: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
        text = await answer.text()
    return sum(float(one) for one in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))


async def reaches(url: str, name: str, wanted: float) -> None:
    """What another worker answered is counted a moment later."""
    seen = None
    try:
        async with asyncio.timeout(20):
            while (seen := await sample(url, name)) != wanted:
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{name} is {seen}, not {wanted}") from None
