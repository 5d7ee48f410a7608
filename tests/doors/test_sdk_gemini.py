"""Google's own client at the gateway, with each kind of upstream behind it."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from tests.doors import vectors
from tests.doors.lab import (
    PARAMETERS,
    PIXEL,
    SCHEMA,
    Person,
    image_in,
    lab,
    results_in,
    schema_in,
    sdk,
)
from tests.doors.upstreams import (
    CALLS,
    HELLO,
    KINDS,
    LENGTH,
    OBJECT,
    THOUGHT,
    cut_short,
    play,
    refusal,
    stalled,
)
from tests.replay.gateway import Running

genai = sdk("google.genai")
types = sdk("google.genai.types")
errors = sdk("google.genai.errors")

# google-genai makes a class of aiohttp's ClientSession its own, which aiohttp warns of.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)

MODEL = "lab/m"
TOOLS = [
    {
        "function_declarations": [
            {"name": "weather", "description": "d", "parameters_json_schema": PARAMETERS}
        ]
    }
]


def client(gateway: Running, version: str = "v1") -> Any:
    options = {"base_url": gateway.url, "api_version": version}
    return genai.Client(api_key="x", http_options=options).aio


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("kind", KINDS)
async def test_one_shot(kind: str, version: str) -> None:
    async with lab(kind, play(kind, LENGTH, False)) as (gateway, _):
        async with client(gateway, version) as asking:
            answer = await asking.models.generate_content(
                model=MODEL,
                contents="Hi",
                config={"system_instruction": "Be brief.", "temperature": 0.1, "seed": 1},
            )
        assert answer.text == LENGTH.text
        assert answer.candidates[0].finish_reason == "MAX_TOKENS"
        usage = answer.usage_metadata
        assert (usage.prompt_token_count, usage.candidates_token_count) == LENGTH.usage


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream(kind: str) -> None:
    plays = play(kind, HELLO, True, chunk=5)
    async with lab(kind, plays) as (gateway, _), client(gateway) as asking:
        stream = await asking.models.generate_content_stream(model=MODEL, contents="Hi")
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text or "" for chunk in chunks) == HELLO.text
    ends = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    assert [str(end.value) for end in ends if end] == ["STOP"]
    usage = chunks[-1].usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == HELLO.usage


@pytest.mark.parametrize("kind", KINDS)
async def test_tools_there_and_back(kind: str) -> None:
    plays = (play(kind, CALLS, False), play(kind, HELLO, False))
    config = {"tools": TOOLS, "automatic_function_calling": {"disable": True}}
    async with lab(kind, *plays) as (gateway, upstream), client(gateway) as asking:
        answer = await asking.models.generate_content(model=MODEL, contents="Hi", config=config)
        calls = answer.function_calls
        assert [(call.name, call.args) for call in calls] == [
            (call.name, call.arguments) for call in CALLS.calls
        ]
        results = types.Content(
            role="user",
            parts=[
                types.Part(
                    function_response=types.FunctionResponse(
                        id=call.id, name=call.name, response={"result": words}
                    )
                )
                for call, words in zip(calls, ("sunny", "rain"), strict=True)
            ],
        )
        hi = types.Content(role="user", parts=[types.Part(text="Hi")])
        last = await asking.models.generate_content(
            model=MODEL, contents=[hi, answer.candidates[0].content, results], config=config
        )
        assert last.text == HELLO.text
        told = results_in(kind, upstream.received[1].body)
        assert len(told) == 2
        for words, result in zip(("sunny", "rain"), told, strict=True):
            assert words in result


@pytest.mark.parametrize("how", ["pydantic", "json_schema"])
@pytest.mark.parametrize("kind", KINDS)
async def test_structured_output(kind: str, how: str) -> None:
    schema = {"response_schema": Person} if how == "pydantic" else {"response_json_schema": SCHEMA}
    async with lab(kind, play(kind, OBJECT, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            answer = await asking.models.generate_content(
                model=MODEL,
                contents="Hi",
                config={"response_mime_type": "application/json", **schema},
            )
        wanted = Person(name="Ann", age=7)
        assert answer.parsed == (wanted if how == "pydantic" else wanted.model_dump())
        assert set(schema_in(kind, upstream.received[0].body)["properties"]) == {"name", "age"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture(kind: str) -> None:
    picture = types.Part.from_bytes(data=b64decode(PIXEL), mime_type="image/png")
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            await asking.models.generate_content(model=MODEL, contents=["What?", picture])
        sent = image_in(kind, upstream.received[0].body)
        if kind == "gemini":
            # This client writes base64 for URLs, which Gemini takes and nobody else.
            sent = sent.replace("-", "+").replace("_", "/")
        assert sent == PIXEL


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (400, "ClientError", 400),
        (404, "ClientError", 404),
        (429, "ClientError", 429),
        (401, "ServerError", 502),
        (500, "ServerError", 502),
        (503, "ServerError", 502),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_class_of_an_error(kind: str, status: int, name: str, code: int) -> None:
    plays = refusal(kind, status)
    once = {"per_target": 1}
    async with lab(kind, plays, attempts=once) as (gateway, _), client(gateway) as asking:
        with pytest.raises(getattr(errors, name)) as caught:
            await asking.models.generate_content(model=MODEL, contents="Hi")
        assert caught.value.code == code
        assert caught.value.message
        assert caught.value.status
        stream = await asking.models.generate_content_stream(model=MODEL, contents="Hi")
        with pytest.raises(getattr(errors, name)):
            await anext(stream)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upstream_that_dies_in_mid_stream_is_a_server_error(kind: str) -> None:
    whole = cut_short(kind)
    text = ""
    async with lab(kind, whole) as (gateway, _), client(gateway) as asking:
        stream = await asking.models.generate_content_stream(model=MODEL, contents="Hi")

        async def heard() -> None:
            nonlocal text
            async for chunk in stream:
                text += chunk.text or ""

        with pytest.raises(errors.ServerError) as caught:
            await heard()
        assert caught.value.message
        assert HELLO.text.startswith(text)
        assert text


# Google's client leaves its connection to the garbage collector, which may come here or later.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_closed_frees_the_upstream(kind: str) -> None:
    whole = stalled(kind)
    async with lab(kind, whole) as (gateway, upstream):
        async with client(gateway) as asking:
            stream = await asking.models.generate_content_stream(model=MODEL, contents="Hi")
            async for _ in stream:
                break
            await stream.aclose()
        await upstream.until_left(limit_s=1.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_thoughts_are_parts_of_their_own(kind: str) -> None:
    async with lab(kind, play(kind, THOUGHT, False)) as (gateway, _), client(gateway) as asking:
        answer = await asking.models.generate_content(
            model=MODEL,
            contents="Hi",
            config={"thinking_config": {"include_thoughts": True, "thinking_budget": 1024}},
        )
        parts = answer.candidates[0].content.parts
        assert "".join(p.text for p in parts if p.thought) == "".join(THOUGHT.thoughts)
        assert answer.text == THOUGHT.text


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_tokens_are_counted_and_models_listed(version: str) -> None:
    async with lab("openai") as (gateway, upstream), client(gateway, version) as asking:
        counted = await asking.models.count_tokens(model=MODEL, contents="Hi there")
        assert 0 < counted.total_tokens < 20
        names = [model.name async for model in await asking.models.list()]
        assert names == ["models/auto", "models/lab/m"]
        found = await asking.models.get(model=MODEL)
        assert found.name == "models/lab/m"
        assert found.input_token_limit > 0
        with pytest.raises(errors.ClientError) as caught:
            await asking.models.get(model="lab/none")
        assert caught.value.code == 404
        assert upstream.received == []


@pytest.mark.parametrize("kind", KINDS)
async def test_keep_alives_of_a_silent_upstream_mean_nothing(kind: str) -> None:
    plays = play(kind, HELLO, True, before_s=0.3)
    early = {"commit_after_s": 0.1}
    async with lab(kind, plays, attempts=early) as (gateway, _), client(gateway) as asking:
        stream = await asking.models.generate_content_stream(model=MODEL, contents="Hi")
        assert "".join([chunk.text or "" async for chunk in stream]) == HELLO.text


@pytest.mark.parametrize("kind", vectors.KINDS)
async def test_embeddings(kind: str) -> None:
    plays = vectors.answer(kind, vectors.VECTORS)
    async with lab(kind, plays) as (gateway, _), client(gateway) as asking:
        answer = await asking.models.embed_content(model=MODEL, contents=["one", "two"])
    assert [one.values for one in answer.embeddings] == vectors.VECTORS
