"""The real classifier and the real local model, each a process of its own on a free port."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp

from tests.ports import free_port
from tests.web.site import ROOT

START_S = 60.0


@dataclass(frozen=True)
class Real:
    classifier: str
    """Its address."""
    local: str
    """The model's, with /v1."""


@asynccontextmanager
async def real_parts() -> AsyncGenerator[Real, None]:
    classifier, local = free_port(), free_port()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            _process(
                ("classifier", "serve"),
                {"CLASSIFIER_PORT": str(classifier), "CLASSIFIER_WORKERS": "1"},
                f"http://127.0.0.1:{classifier}/healthz",
            )
        )
        await stack.enter_async_context(
            _process(
                ("local",),
                {"LOCAL_PORT": str(local), "LOCAL_THREADS": "1"},
                f"http://127.0.0.1:{local}/health",
            )
        )
        yield Real(f"http://127.0.0.1:{classifier}", f"http://127.0.0.1:{local}/v1")


@asynccontextmanager
async def _process(
    module: tuple[str, ...], environment: Mapping[str, str], health: str
) -> AsyncGenerator[None, None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *module,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _until_well(process, health, module[0])
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_well(process: asyncio.subprocess.Process, health: str, name: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(START_S):
        while process.returncode is None:
            try:
                async with session.get(health) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{name} ended with {process.returncode} before it was well")
