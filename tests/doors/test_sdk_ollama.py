"""Ollama's own client at the gateway, with each kind of upstream behind it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors import vectors
from tests.doors.lab import HI, PARAMETERS, PIXEL, SCHEMA, image_in, lab, results_in, schema_in, sdk
from tests.doors.upstreams import (
    CALLS,
    HELLO,
    KINDS,
    LENGTH,
    OBJECT,
    THOUGHT,
    cut_short,
    play,
    provider,
    refusal,
    stalled,
)
from tests.replay.gateway import Running, running, settings
from tests.replay.server import ReplayServer

ollama = sdk("ollama")

TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}


def client(gateway: Running) -> Any:
    return ollama.AsyncClient(gateway.url)


@pytest.mark.parametrize("kind", KINDS)
async def test_one_shot(kind: str) -> None:
    async with lab(kind, play(kind, LENGTH, False)) as (gateway, _), client(gateway) as asking:
        answer = await asking.chat("lab/m", HI, options={"temperature": 0.1, "seed": 1})
        assert answer.message.content == LENGTH.text
        assert answer.done
        assert answer.done_reason == "length"
        assert (answer.prompt_eval_count, answer.eval_count) == LENGTH.usage


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream(kind: str) -> None:
    plays = play(kind, HELLO, True, chunk=5)
    async with lab(kind, plays) as (gateway, _), client(gateway) as asking:
        lines = [line async for line in await asking.chat("lab/m", HI, stream=True)]
    assert "".join(line.message.content for line in lines) == HELLO.text
    assert [line.done for line in lines].count(True) == 1
    assert lines[-1].done_reason == "stop"
    assert (lines[-1].prompt_eval_count, lines[-1].eval_count) == HELLO.usage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_generate(kind: str, stream: bool) -> None:
    async with lab(kind, play(kind, HELLO, stream)) as (gateway, _), client(gateway) as asking:
        if stream:
            lines = [line async for line in await asking.generate("lab/m", "Hi", stream=True)]
            assert "".join(line.response for line in lines) == HELLO.text
        else:
            answer = await asking.generate("lab/m", "Hi")
            assert answer.response == HELLO.text
            assert answer.done


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_tools_there_and_back_without_ids(kind: str, stream: bool) -> None:
    """This client keeps no ids: they are made again from the order."""
    plays = (play(kind, CALLS, stream), play(kind, HELLO, False))
    async with lab(kind, *plays) as (gateway, upstream), client(gateway) as asking:
        if stream:
            calls: list[Any] = []
            async for line in await asking.chat("lab/m", HI, tools=[TOOL], stream=True):
                calls += line.message.tool_calls or ()
        else:
            answer = await asking.chat("lab/m", HI, tools=[TOOL])
            calls = answer.message.tool_calls
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            (call.name, call.arguments) for call in CALLS.calls
        ]
        turns = [
            *HI,
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_name": "weather", "content": "sunny"},
            {"role": "tool", "tool_name": "weather", "content": "rain"},
        ]
        last = await asking.chat("lab/m", turns, tools=[TOOL])
        assert last.message.content == HELLO.text
        assert results_in(kind, upstream.received[1].body) == ["sunny", "rain"]


@pytest.mark.parametrize("kind", KINDS)
async def test_structured_output(kind: str) -> None:
    async with lab(kind, play(kind, OBJECT, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            answer = await asking.chat("lab/m", HI, format=SCHEMA)
        assert orjson.loads(answer.message.content) == {"name": "Ann", "age": 7}
        assert set(schema_in(kind, upstream.received[0].body)["properties"]) == {"name", "age"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture(kind: str) -> None:
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            await asking.chat("lab/m", [{"role": "user", "content": "What?", "images": [PIXEL]}])
        assert image_in(kind, upstream.received[0].body) == PIXEL


@pytest.mark.parametrize(
    ("status", "shown"), [(400, 400), (404, 404), (429, 429), (401, 502), (500, 502), (503, 502)]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_status_and_words_of_an_error(kind: str, status: int, shown: int) -> None:
    plays = refusal(kind, status)
    once = {"per_target": 1}
    async with lab(kind, plays, attempts=once) as (gateway, _), client(gateway) as asking:
        with pytest.raises(ollama.ResponseError) as caught:
            await asking.chat("lab/m", HI)
        assert caught.value.status_code == shown
        assert caught.value.error
        stream = await asking.chat("lab/m", HI, stream=True)
        with pytest.raises(ollama.ResponseError):
            await anext(stream)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upstream_that_dies_in_mid_stream_is_an_error_line(kind: str) -> None:
    whole = cut_short(kind)
    text = ""
    async with lab(kind, whole) as (gateway, _), client(gateway) as asking:
        stream = await asking.chat("lab/m", HI, stream=True)

        async def heard() -> None:
            nonlocal text
            async for line in stream:
                text += line.message.content

        with pytest.raises(ollama.ResponseError) as caught:
            await heard()
        assert caught.value.error
        assert HELLO.text.startswith(text)
        assert text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_closed_frees_the_upstream(kind: str) -> None:
    whole = stalled(kind)
    async with lab(kind, whole) as (gateway, upstream), client(gateway) as asking:
        stream = await asking.chat("lab/m", HI, stream=True)
        async for _ in stream:
            break
        await stream.aclose()
        await upstream.until_left(limit_s=1.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_thoughts_stand_beside_the_text(kind: str) -> None:
    async with lab(kind, play(kind, THOUGHT, False)) as (gateway, _), client(gateway) as asking:
        answer = await asking.chat("lab/m", HI, think=True)
        assert answer.message.thinking == "".join(THOUGHT.thoughts)
        assert answer.message.content == THOUGHT.text


async def test_models_are_listed_shown_and_found_with_and_without_a_tag() -> None:
    plays = play("openai", HELLO, False)
    async with lab("openai", plays) as (gateway, upstream), client(gateway) as asking:
        names = [model.model for model in (await asking.list()).models]
        assert names == ["auto:latest", "lab/m:latest"]
        assert (await asking.ps()).models == []
        for name in ("auto", "auto:latest", "m", "m:latest", "lab/m", "lab/m:latest"):
            shown = await asking.show(name)
            assert "completion" in shown.capabilities
            assert shown.modelinfo
            answer = await asking.chat(name, HI)
            assert answer.message.content == HELLO.text
        assert {received.body["model"] for received in upstream.received} == {"m"}
        with pytest.raises(ollama.ResponseError) as caught:
            await asking.show("nobody")
        assert caught.value.status_code == 404
        assert "not found" in caught.value.error
        assert (await asking.pull("lab/m")).status == "success"


async def test_an_empty_question_loads_and_asks_nobody() -> None:
    async with lab("openai") as (gateway, upstream), client(gateway) as asking:
        assert (await asking.chat("lab/m", [])).done_reason == "load"
        assert (await asking.chat("lab/m", [], keep_alive=0)).done_reason == "unload"
        assert (await asking.generate("lab/m")).done_reason == "load"
        assert upstream.received == []


async def test_an_ollama_behind_the_gateway_tells_of_its_models_itself() -> None:
    own = {
        "capabilities": ["completion", "vision"],
        "details": {"family": "llama"},
        "model_info": {
            "general.architecture": "llama",
            "general.basename": "Llama",
            "llama.context_length": 131072,
        },
    }
    tags = {"models": [{"name": "l:latest", "model": "l:latest", "size": 5, "digest": "abc"}]}
    async with ReplayServer() as upstream:
        upstream.answers["/api/tags"] = orjson.dumps(tags)
        upstream.answers["/api/show"] = orjson.dumps(own)
        tree = provider("ollama", upstream.url, models=[], check="/api/version")
        async with running(settings(providers={"lab": tree})) as gateway, client(gateway) as ask:
            listed = {model.model: model for model in (await ask.list()).models}
            assert listed["lab/l:latest"].size == 5
            shown = await ask.show("lab/l:latest")
            assert shown.capabilities == ["completion", "vision"]
            assert shown.modelinfo == {
                "general.architecture": "llama",
                "llama.context_length": 131072,
            }


@pytest.mark.parametrize("kind", KINDS)
async def test_keep_alives_of_a_silent_upstream_are_empty_talk(kind: str) -> None:
    plays = play(kind, HELLO, True, before_s=0.3)
    early = {"commit_after_s": 0.1}
    async with lab(kind, plays, attempts=early) as (gateway, _), client(gateway) as asking:
        stream = await asking.chat("lab/m", HI, stream=True)
        assert "".join([line.message.content async for line in stream]) == HELLO.text


@pytest.mark.parametrize("kind", vectors.KINDS)
async def test_embeddings_at_both_doors(kind: str) -> None:
    plays = (vectors.answer(kind, vectors.VECTORS), vectors.answer(kind, vectors.VECTORS[:1]))
    async with lab(kind, *plays) as (gateway, _), client(gateway) as asking:
        answer = await asking.embed("lab/m", ["one", "two"])
        assert [list(vector) for vector in answer.embeddings] == vectors.VECTORS
        old = await asking.embeddings("lab/m", "one")
        assert list(old.embedding) == vectors.VECTORS[0]
