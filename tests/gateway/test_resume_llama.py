"""An answer that broke off is gone on with by a real llama.cpp: the embedded model."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local.weights import MODEL_ID
from tests.ports import free_port
from tests.replay.gateway import openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

ROOT = Path(__file__).parents[2]
STARTS_WITHIN_S = 60
BEGUN = "The three primary colours are red, ye"
SPACED = "1, 2, 3, 4, 5, "

pytestmark = [pytest.mark.slow]


@asynccontextmanager
async def llama() -> AsyncGenerator[str, None]:
    """Its address, once it answers."""
    port = free_port()
    environment = {
        **os.environ,
        "LOCAL_PORT": str(port),
        "LOCAL_THREADS": "1",
        "LOCAL_CONTEXT": "1024",
        "LOCAL_MODEL_PATH": "",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), STARTS_WITHIN_S)
        assert str(port) in line.decode()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.communicate()


async def directly(url: str, begun: str, question: str) -> str:
    """What the model itself says behind these words."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": begun}]
    body = {"model": MODEL_ID, "messages": messages, "max_tokens": 12, "temperature": 0, "seed": 1}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/v1/chat/completions", json=body) as response,
    ):
        said: dict[str, Any] = await response.json()
        text: str = said["choices"][0]["message"]["content"]
        # In whole answers it says the beginning once more.
        return text.removeprefix(begun)


async def test_a_real_llama_cpp_goes_on_to_the_character() -> None:
    async with llama() as url:
        for begun, question in ((BEGUN, "Name the primary colours."), (SPACED, "Count to ten.")):
            expected = await directly(url, begun.rstrip(), question)
            first = Play(openai_stream(begun, finish=None))
            async with ReplayServer(first) as broken:
                given = settings(
                    providers={
                        "hard": openai_provider(broken.url),
                        "lab": {**openai_provider(url), "prefill": "assistant"},
                    },
                    routes={
                        "auto": {
                            "strong": ["hard/m"],
                            "local": [f"lab/{MODEL_ID}"],
                            "resume": True,
                        }
                    },
                )
                async with running(given) as gateway:
                    answer = await gateway.complete(
                        message=question, max_tokens=12 + len(begun) // 4 + 1, temperature=0
                    )
            assert answer.route["resumed_from"] == ["hard/m"]
            assert answer.text.startswith(begun)
            behind = answer.text[len(begun) :]
            assert behind
            assert not behind.startswith(begun[:10])
            spaces = len(begun) - len(begun.rstrip())
            assert expected[spaces:].startswith(behind[:8]), (expected, behind)
