"""Who is known to lack what is asked for is not asked, and the reason says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from providers import facts
from providers.model_info import Abilities, ModelInfo
from tests.doors.upstreams import provider
from tests.replay.gateway import Answer, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SHAPE = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}},
}
ASKS: dict[str, dict[str, Any]] = {
    "tools": {"tools": [TOOL]},
    "vision": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": PIXEL}},
                ],
            }
        ]
    },
    "thinking": {"reasoning_effort": "high"},
}


@asynccontextmanager
async def lab(**models: dict[str, Any]) -> AsyncGenerator[tuple[Running, dict[str, Any]], None]:
    """Two targets that say their own names; the strong one, hard/m, is asked first."""
    async with (
        ReplayServer(Play(openai_stream("easy"))) as easy,
        ReplayServer(Play(openai_stream("hard"))) as hard,
    ):
        given = settings(
            providers={"easy": openai_provider(easy.url), "hard": openai_provider(hard.url)},
            models={name.replace("_", "/"): words for name, words in models.items()},
        )
        async with running(given) as gateway:
            yield gateway, {"easy": easy, "hard": hard}


async def chat(gateway: Running, path: str = "/v1/chat/completions", **body: Any) -> Answer:
    asked = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with gateway.session.post(gateway.url + path, json={**asked, **body}) as response:
        return Answer(response.status, response.headers, await response.read())


@pytest.mark.parametrize("need", ASKS)
async def test_a_target_that_cannot_do_what_is_asked_is_not_asked(need: str) -> None:
    async with lab(hard_m={need: False}) as (gateway, upstreams):
        settled: list[Any] = []
        gateway.services.recorder.listeners.append(settled.append)
        answer = await chat(gateway, **ASKS[need])
        assert answer.status == 200
        assert b"easy" in answer.raw
        assert not upstreams["hard"].received
        assert f"hard/m left out: no {need}." in settled[0].trace.reason
        # And it is asked what it can.
        assert b"hard" in (await chat(gateway)).raw


@pytest.mark.parametrize("need", ASKS)
async def test_a_named_target_that_cannot_is_a_400_that_names_the_field(need: str) -> None:
    async with lab(hard_m={need: False}) as (gateway, upstreams):
        answer = await chat(gateway, **ASKS[need], model="hard/m")
        assert answer.status == 400
        field = {"tools": "tools", "vision": "messages", "thinking": "reasoning_effort"}[need]
        error = answer.json["error"]
        assert error["param"] == field
        assert f"hard/m has no {need}" in error["message"]
        assert not upstreams["hard"].received


@pytest.mark.parametrize("need", ASKS)
async def test_what_nobody_speaks_of_is_tried(need: str) -> None:
    async with lab() as (gateway, upstreams):
        answer = await chat(gateway, **ASKS[need], model="hard/m")
        assert answer.status == 200
        assert len(upstreams["hard"].received) == 1


async def test_when_nobody_can_the_error_says_who_lacks_what() -> None:
    async with lab(hard_m={"vision": False}, easy_m={"vision": False}) as (gateway, _):
        answer = await chat(gateway, **ASKS["vision"])
        assert answer.status == 400
        assert "hard/m has no vision" in answer.json["error"]["message"]
        assert "easy/m has no vision" in answer.json["error"]["message"]


async def test_a_wish_that_nobody_can_fulfil_is_done_without() -> None:
    async with lab(hard_m={"thinking": False}, easy_m={"thinking": False}) as (gateway, _):
        assert b"hard" in (await chat(gateway, **ASKS["thinking"])).raw


async def test_a_prompt_that_does_not_fit_goes_where_it_does() -> None:
    async with lab(hard_m={"context": 100}, easy_m={"context": 100_000}) as (gateway, _):
        long = [{"role": "user", "content": "word " * 300}]
        assert b"easy" in (await chat(gateway, messages=long)).raw
        assert b"hard" in (await chat(gateway)).raw
        # The answer needs room, too; where nobody has it, whoever can read the question is asked.
        assert b"easy" in (await chat(gateway, max_tokens=1000)).raw
        assert b"hard" in (await chat(gateway, max_tokens=1_000_000)).raw
        refused = await chat(gateway, messages=long, model="hard/m")
        assert refused.status == 400
        assert refused.json["error"]["code"] == "context_length_exceeded"
        assert refused.json["error"]["param"] == "messages"
        assert b"hard" in (await chat(gateway, max_tokens=1000, model="hard/m")).raw


async def test_a_target_without_schemas_is_asked_last() -> None:
    async with lab(hard_m={"json": False}) as (gateway, upstreams):
        await chat(gateway, response_format=SHAPE)
        assert not upstreams["hard"].received
        assert upstreams["easy"].received


DOORS: dict[str, tuple[dict[str, Any], str]] = {
    "/v1/messages": (
        {"max_tokens": 9, "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
        "tools",
    ),
    "/api/chat": ({"tools": [TOOL]}, "tools"),
    "/v1/responses": ({"input": "Hi", "tools": [{"type": "function", "name": "f"}]}, "tools"),
}


@pytest.mark.parametrize("path", DOORS)
async def test_each_language_is_told_of_its_own_field(path: str) -> None:
    async with lab(hard_m={"tools": False}) as (gateway, _):
        body, field = DOORS[path]
        answer = await chat(gateway, path, **body, model="hard/m")
        assert answer.status == 400
        assert f"{field} asks for it".encode() in answer.raw


async def test_an_ollama_is_asked_what_its_models_can() -> None:
    async with ReplayServer(Play(b"")) as upstream:
        upstream.answers["/api/tags"] = b'{"models": [{"model": "m:latest", "digest": "d"}]}'
        upstream.answers["/api/show"] = (
            b'{"capabilities": ["completion", "tools"], "model_info": {"x.context_length": 2048}}'
        )
        tree = provider("ollama", upstream.url, models=[], check="/api/version")
        async with running(settings(providers={"lab": tree})) as gateway:
            await gateway.services.looked.wait()
            registry = gateway.services.registry
            for name in ("m", "m:latest"):
                found = registry.abilities("lab", name)
                assert (found.context, found.tools, found.vision) == (2048, True, False)
            await registry.look()
            assert upstream.shown == ["m"]
            answer = await chat(gateway, **ASKS["vision"], model="lab/m:latest")
            assert answer.status == 400
            # The route is listed with it.
            async with gateway.session.get(gateway.url + "/v1/models/lab/m") as response:
                told = await response.json()
            assert told["context_length"] == 2048
            assert told["capabilities"] == ["completion", "tools"]


@pytest.mark.parametrize(
    ("info", "given", "expected"),
    [
        (ModelInfo("gpt-4o"), {}, Abilities(128_000, True, True, None, False)),
        (ModelInfo("gpt-4"), {}, Abilities(8192, True, False, None, False)),
        (ModelInfo("openai/gpt-3.5-turbo"), {}, Abilities(16_385, True, False, None, False)),
        (ModelInfo("o1-mini"), {}, Abilities(128_000, False, False, None, True)),
        (ModelInfo("claude-sonnet-4-5"), {}, Abilities()),
        (ModelInfo("who-knows"), {}, Abilities()),
        (ModelInfo("who-knows"), {"vision": False, "context": 9}, Abilities(9, None, False)),
        (
            ModelInfo("gpt-4", capabilities=frozenset({"vision"})),
            {},
            Abilities(8192, False, True, None, False),
        ),
        (
            ModelInfo("gpt-4", capabilities=frozenset()),
            {"tools": True},
            Abilities(8192, True, False, None, False),
        ),
    ],
    ids=lambda one: one.id if isinstance(one, ModelInfo) else None,
)
def test_the_owners_word_wins_then_the_upstreams_then_the_table(
    info: ModelInfo, given: dict[str, Any], expected: Abilities
) -> None:
    assert facts.abilities(info, given) == expected
