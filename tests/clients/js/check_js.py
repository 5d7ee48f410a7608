"""The vendors' JavaScript clients at the gateway, newest and the major version before, with each
kind of upstream behind it. `make test-clients` installs them and runs this."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.doors.lab import PARAMETERS, PIXEL, SCHEMA, image_in, lab, results_in
from tests.doors.upstreams import (
    CALLS,
    HELLO,
    KINDS,
    OBJECT,
    cut_short,
    play,
    provider,
    refusal,
    stalled,
)
from tests.replay.gateway import running, settings
from tests.replay.server import ReplayServer

HERE = Path(__file__).parent
NEWEST = (
    "openai",
    "openai-responses",
    "anthropic",
    "genai",
    "ollama",
    "ai-openai",
    "ai-openai-chat",
    "ai-compatible",
    "ai-anthropic",
    "ai-google",
)
CLIENTS = tuple(name + suffix for name in NEWEST for suffix in ("", "-before"))
LISTS = ("openai", "anthropic", "genai", "ollama")
FINISH = {
    "openai": "stop",
    "openai-responses": "completed",
    "anthropic": "end_turn",
    "genai": "STOP",
    "ollama": "stop",
}
LIMIT_S = 30.0

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Driver:
    """One Node process that runs the clients, one case after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, client: str, case: str, url: str, **more: Any) -> dict[str, Any]:
        asked = {
            "client": client,
            "case": case,
            "url": url,
            "model": "lab/m",
            "parameters": PARAMETERS,
            "schema": SCHEMA,
            "pixel": PIXEL,
            "results": ["sunny", "rain"],
            **more,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(asked) + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), LIMIT_S)
        found: dict[str, Any] = orjson.loads(line)
        return found

    async def value(self, client: str, case: str, url: str, **more: Any) -> Any:
        answer = await self.run(client, case, url, **more)
        assert "error" not in answer, answer
        return answer["value"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncGenerator[Driver]:
    found = shutil.which("node")
    assert found, "Node.js is not installed"
    assert (HERE / "node_modules").is_dir(), "`make test-clients` installs the clients"
    process = await asyncio.create_subprocess_exec(
        found,
        "driver.mjs",
        cwd=HERE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    yield Driver(process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


def family(client: str) -> str:
    return client.removesuffix("-before")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_one_shot_and_stream(node: Driver, client: str, kind: str) -> None:
    for case, stream in (("oneshot", False), ("stream", True)):
        async with lab(kind, play(kind, HELLO, stream, chunk=7)) as (gateway, _):
            told = await node.value(client, case, gateway.url)
        assert told["text"] == HELLO.text
        assert told["finish"] == FINISH.get(family(client), "stop")
        assert tuple(told["usage"]) == HELLO.usage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_tools_there_and_back(node: Driver, client: str, kind: str) -> None:
    streams = family(client) in ("openai", "openai-responses", "anthropic")
    plays = (play(kind, CALLS, streams), play(kind, HELLO, False))
    async with lab(kind, *plays) as (gateway, upstream):
        told = await node.value(client, "tools", gateway.url)
        assert told["calls"] == [["weather", call.arguments] for call in CALLS.calls]
        assert told["text"] == HELLO.text
        if family(client) == "ai-google":
            # It says its results in an object of its own.
            told = str(upstream.received[1].body)
            assert told.index("sunny") < told.index("rain")
        else:
            assert results_in(kind, upstream.received[1].body) == ["sunny", "rain"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_structured_output(node: Driver, client: str, kind: str) -> None:
    async with lab(kind, play(kind, OBJECT, False)) as (gateway, _):
        told = await node.value(client, "structured", gateway.url)
    assert told == {"name": "Ann", "age": 7}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_picture(node: Driver, client: str, kind: str) -> None:
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        assert (await node.value(client, "image", gateway.url))["text"] == HELLO.text
        assert image_in(kind, upstream.received[0].body) == PIXEL


@pytest.mark.parametrize("status", [400, 404, 429, 500])
@pytest.mark.parametrize("client", CLIENTS)
async def test_an_error_has_its_status(node: Driver, client: str, status: int) -> None:
    once = {"per_target": 1}
    async with lab("openai", refusal("openai", status), attempts=once) as (gateway, upstream):
        told = (await node.run(client, "error", gateway.url))["error"]
        wanted = 502 if status == 500 else status
        assert told["status"] == wanted, told
        assert "No room." in told["message"] or family(client).startswith("ai-"), told
        assert len(upstream.received) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "client", [name for name in CLIENTS if family(name) not in ("genai", "openai-responses")]
)
async def test_a_cut_stream_is_an_error(node: Driver, client: str, kind: str) -> None:
    whole = cut_short(kind)
    async with lab(kind, whole) as (gateway, upstream):
        answer = await node.run(client, "cut", gateway.url)
        assert "error" in answer, answer
        assert len(upstream.received) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_caller_who_leaves_frees_the_upstream(node: Driver, client: str, kind: str) -> None:
    whole = stalled(kind)
    async with lab(kind, whole) as (gateway, upstream):
        await node.value(client, "cancel", gateway.url)
        await upstream.until_left(limit_s=2.0)


@pytest.mark.parametrize("client", [name for name in CLIENTS if family(name) in LISTS])
async def test_models_are_listed(node: Driver, client: str) -> None:
    async with ReplayServer() as upstream:
        tree = provider("openai", upstream.url, models=["a/b", "c:7b"])
        async with running(
            settings(providers={"lab": tree}, aliases={"fast": "lab/c:7b"})
        ) as gateway:
            names = await node.value(client, "models", gateway.url)
    assert [name.removeprefix("models/").removesuffix(":latest") for name in names] == [
        "auto",
        "fast",
        "lab/a/b",
        "lab/c:7b",
    ]
