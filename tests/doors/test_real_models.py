"""All doors in front of a real llama.cpp and a real Ollama: few tokens of a small model.

What it says is its own affair; that it says the same streamed and whole, stops where it is told,
keeps to a schema and is let go when the caller leaves is ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import ClientTimeout

from local.weights import MODEL_ID
from tests.doors.clients import DOORS, HEADERS, ask, path, question, read
from tests.doors.real_models import ANSWERS_WITHIN_S, llama_cpp, ollama, ollama_binary
from tests.replay.gateway import Running, running, settings

MODEL = f"lab/{MODEL_ID}"
SERVERS = {"llama.cpp": llama_cpp, "ollama": ollama}
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
TOKENS = 12
NO_OLLAMA = (
    "there is no `ollama` on the PATH and none in var/ollama: `make ollama` tries to have one"
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        "llama.cpp",
        pytest.param("ollama", marks=pytest.mark.skipif(ollama_binary() is None, reason=NO_OLLAMA)),
    ],
)
async def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Running, None]:
    home: Path = tmp_path_factory.mktemp("models")
    async with SERVERS[request.param](home) as server:
        given = settings(
            providers={"lab": server},
            routes={"auto": {"local": [MODEL], "strong": [MODEL]}},
            attempts={"first_event_s": ANSWERS_WITHIN_S, "idle_s": ANSWERS_WITHIN_S},
        )
        async with running(given) as one:
            await one.services.looked.wait()
            yield one


def limited(door: str, text: str, *, stream: bool, tokens: int = TOKENS) -> dict[str, Any]:
    """A question whose answer is the same each time, and short."""
    body = question(door, text, stream=stream, model=MODEL)
    if door == "gemini":
        body["generationConfig"] = {"maxOutputTokens": tokens, "temperature": 0}
    elif door == "ollama":
        body["options"] = {"num_predict": tokens, "temperature": 0, "seed": 1}
    elif door == "responses":
        body |= {"max_output_tokens": tokens, "temperature": 0}
    else:
        body |= {"max_tokens": tokens, "temperature": 0}
    return body


def with_schema(door: str, body: dict[str, Any]) -> dict[str, Any]:
    named = {"type": "json_schema", "name": "answer", "strict": True, "schema": SCHEMA}
    if door == "openai":
        inner = {name: named[name] for name in ("name", "strict", "schema")}
        body["response_format"] = {"type": "json_schema", "json_schema": inner}
    elif door == "responses":
        body["text"] = {"format": named}
    elif door == "anthropic":
        body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
    elif door == "gemini":
        body["generationConfig"] |= {
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
        }
    else:
        body["format"] = SCHEMA
    return body


@pytest.mark.parametrize("door", DOORS)
async def test_whole_and_streamed_it_says_the_same_and_is_counted(
    gateway: Running, door: str
) -> None:
    told = []
    for stream in (False, True):
        body = limited(door, "Count from one to fifty in words.", stream=stream)
        status, raw = await ask(gateway, door, body, stream=stream, model=MODEL)
        assert status == 200, raw
        found = read(door, raw, stream=stream)
        assert found.text
        assert found.finish == "length"
        assert found.usage is not None
        assert found.usage[0] > 0
        assert found.usage[1] in (TOKENS - 1, TOKENS)
        told.append(found.text)
    assert told[0] == told[1]


@pytest.mark.parametrize("door", DOORS)
async def test_an_answer_keeps_to_its_schema(gateway: Running, door: str) -> None:
    body = with_schema(door, limited(door, "Name a colour.", stream=False, tokens=40))
    status, raw = await ask(gateway, door, body, stream=False, model=MODEL)
    assert status == 200, raw
    answer = orjson.loads(read(door, raw, stream=False).text)
    assert answer.keys() == {"colour"}
    assert answer["colour"] in ("red", "blue")


@pytest.mark.parametrize("door", DOORS)
async def test_whoever_leaves_is_forgotten_and_the_next_one_is_served(
    gateway: Running, door: str
) -> None:
    before = gateway.summed("pointsman_requests_total", outcome="cancelled")
    response = await gateway.session.post(
        gateway.url + path(door, stream=True, model=MODEL),
        json=limited(door, "Tell a long story.", stream=True, tokens=900),
        headers=HEADERS[door],
        timeout=ClientTimeout(total=ANSWERS_WITHIN_S),
    )
    assert response.status == 200
    await response.content.readany()
    response.close()
    async with asyncio.timeout(5):
        while gateway.summed("pointsman_requests_total", outcome="cancelled") == before:
            await asyncio.sleep(0.02)
    status, raw = await ask(
        gateway, door, limited(door, "Hi", stream=False, tokens=2), stream=False, model=MODEL
    )
    assert status == 200, raw


async def test_its_model_stands_in_every_list(gateway: Running) -> None:
    for where, name in (("/v1/models", MODEL), ("/v1beta/models", MODEL), ("/api/tags", MODEL)):
        async with gateway.session.get(gateway.url + where) as response:
            assert name in await response.text(), where
    async with gateway.session.post(gateway.url + "/api/show", json={"model": MODEL}) as response:
        shown = await response.json()
        assert "completion" in shown["capabilities"]
        info = shown["model_info"]
        assert info[f"{info['general.architecture']}.context_length"] > 0


@pytest.mark.parametrize("door", DOORS)
async def test_a_model_that_it_has_not_is_a_404(gateway: Running, door: str) -> None:
    body = question(door, "Hi", stream=False, model="nobody-has-this")
    status, raw = await ask(gateway, door, body, stream=False, model="nobody-has-this")
    assert status == 404
    assert b"nobody-has-this" in raw
