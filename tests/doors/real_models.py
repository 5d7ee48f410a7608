"""Real servers of models on this machine: llama.cpp with the embedded weights, and an Ollama."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from local.weights import MODEL_ID, choose
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "var/ollama/bin/ollama"
"""Where `make ollama` puts one."""
STARTS_WITHIN_S = 60.0
ANSWERS_WITHIN_S = 120.0


def ollama_binary() -> str | None:
    return shutil.which("ollama") or (str(BUILT) if BUILT.is_file() else None)


@asynccontextmanager
async def _process(
    *command: str, **environment: str
) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_there(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(STARTS_WITHIN_S), aiohttp.ClientSession() as session:
        while True:
            assert process.returncode is None, "it ended before it answered"
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def llama_cpp(home: Path) -> AsyncGenerator[dict[str, Any], None]:
    """The settings of a provider, once it answers."""
    port = free_port()
    environment = {
        "LOCAL_PORT": str(port),
        "LOCAL_THREADS": "1",
        "LOCAL_CONTEXT": "1024",
        "LOCAL_MODEL_PATH": "",
    }
    async with _process(sys.executable, "-m", "local", **environment) as process:
        url = f"http://127.0.0.1:{port}"
        await _until_there(url + "/health", process)
        yield {"kind": "openai", "base_url": url + "/v1", "models": [MODEL_ID]}


@asynccontextmanager
async def ollama(home: Path) -> AsyncGenerator[dict[str, Any], None]:
    """The same of an Ollama that was given the embedded weights. It keeps its files in `home`."""
    port, binary = free_port(), ollama_binary()
    assert binary is not None
    environment = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(home / "models"),
        "HOME": str(home),
    }
    modelfile = home / "Modelfile"
    modelfile.write_text(f"FROM {choose(None).path}\nPARAMETER num_thread 1\n", encoding="utf-8")
    async with _process(binary, "serve", **environment) as process:
        url = f"http://127.0.0.1:{port}"
        await _until_there(url + "/api/version", process)
        made = _process(binary, "create", MODEL_ID, "-f", str(modelfile), **environment)
        async with made as making:
            assert await asyncio.wait_for(making.wait(), STARTS_WITHIN_S) == 0
        yield {"kind": "ollama", "base_url": url, "models": [MODEL_ID]}
