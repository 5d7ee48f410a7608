"""Services of Debian that the tests start themselves: on free ports of 127.0.0.1, ended by id."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.ports import free_port

PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


def program(name: str, package: str) -> str:
    """Its path; the test says loudly that it did not run where it is missing."""
    found = shutil.which(name, path=PLACES)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not here: .ci/run installs {package}")
        pytest.skip(f"{name} is not here (Debian: {package})")
    return found


def ran(*command: str, cwd: Path | None = None) -> str:
    """What a command said; the test fails with it when the code is not 0."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@asynccontextmanager
async def process(
    *command: str, cwd: Path, ready: str, limit_s: float = 30, ssl: bool = True
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A running service, once `ready` answers 200."""
    log = (cwd / "service.log").open("wb")
    child = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=log, stderr=log)
    log.close()
    try:
        async with asyncio.timeout(limit_s), aiohttp.ClientSession() as session:
            while True:
                assert child.returncode is None, (cwd / "service.log").read_text()
                try:
                    async with session.get(ready, ssl=ssl) as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        async with asyncio.timeout(20):
            await child.wait()


@asynccontextmanager
async def prometheus(folder: Path, targets: dict[str, str]) -> AsyncGenerator[str]:
    """Scrapes each job's address once a second and keeps our rules; its own address."""
    binary = program("prometheus", "prometheus")
    port = free_port()
    rules = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules" / "*.yml"
    jobs = "".join(
        f"  - job_name: {job}\n    static_configs:\n      - targets: ['{target}']\n"
        for job, target in targets.items()
    )
    (folder / "prometheus.yml").write_text(
        "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n"
        f"rule_files: ['{rules}']\nscrape_configs:\n{jobs}"
    )
    url = f"http://127.0.0.1:{port}"
    command = (
        binary,
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    async with process(*command, cwd=folder, ready=f"{url}/-/ready"):
        yield url
