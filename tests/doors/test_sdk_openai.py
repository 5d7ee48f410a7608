"""OpenAI's own client at the gateway, with each kind of upstream behind it."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode

import orjson
import pytest

from tests.doors import vectors
from tests.doors.lab import (
    ERROR_CLASSES,
    HI,
    PARAMETERS,
    PIXEL,
    Person,
    image_in,
    lab,
    results_in,
    schema_in,
    sdk,
)
from tests.doors.lab import openai_client as client
from tests.doors.upstreams import (
    CALLS,
    HELLO,
    KINDS,
    OBJECT,
    THOUGHT,
    Said,
    cut_short,
    play,
    provider,
    refusal,
    stalled,
)
from tests.replay.gateway import running, settings
from tests.replay.server import ReplayServer

openai = sdk("openai")

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": PARAMETERS, "strict": True},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_one_shot(kind: str) -> None:
    async with lab(kind, play(kind, HELLO, False)) as (gateway, _), client(gateway) as asking:
        answer = await asking.chat.completions.create(model="lab/m", messages=HI)
        assert answer.choices[0].message.content == HELLO.text
        assert answer.choices[0].finish_reason == "stop"
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == HELLO.usage
        assert answer._request_id


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_with_usage_only_when_it_is_asked(kind: str, usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    plays = play(kind, HELLO, True, chunk=5)
    async with lab(kind, plays) as (gateway, _), client(gateway) as asking:
        stream = await asking.chat.completions.create(
            model="lab/m", messages=HI, stream=True, **options
        )
        chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(one.delta.content or "" for one in deltas) == HELLO.text
    assert [one.finish_reason for one in deltas if one.finish_reason] == ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    told = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(told) == usage
    if usage:
        assert (told[0].prompt_tokens, told[0].completion_tokens) == HELLO.usage
        assert chunks[-1].choices == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_tools_there_and_back(kind: str, stream: bool) -> None:
    """Two calls at once, their results, and content null between them."""
    plays = (play(kind, CALLS, stream), play(kind, HELLO, False))
    async with lab(kind, *plays) as (gateway, upstream), client(gateway) as asking:
        if stream:
            async with asking.chat.completions.stream(
                model="lab/m", messages=HI, tools=[TOOL]
            ) as events:
                answer = await events.get_final_completion()
        else:
            answer = await asking.chat.completions.create(
                model="lab/m", messages=HI, tools=[TOOL], tool_choice="auto"
            )
        choice = answer.choices[0]
        assert choice.finish_reason == "tool_calls"
        calls = choice.message.tool_calls
        assert [orjson.loads(call.function.arguments) for call in calls] == [
            call.arguments for call in CALLS.calls
        ]
        assert len({call.id for call in calls}) == 2
        turn = {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.function.name,
                        "arguments": call.function.arguments,
                    },
                }
                for call in calls
            ],
        }
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": words}
            for call, words in zip(calls, ("sunny", "rain"), strict=True)
        ]
        last = await asking.chat.completions.create(
            model="lab/m", messages=[*HI, turn, *results], tools=[TOOL]
        )
        assert last.choices[0].message.content == HELLO.text
        assert results_in(kind, upstream.received[1].body) == ["sunny", "rain"]


@pytest.mark.parametrize("kind", KINDS)
async def test_structured_output(kind: str) -> None:
    plays = (play(kind, OBJECT, False), play(kind, OBJECT, True))
    async with lab(kind, *plays) as (gateway, upstream), client(gateway) as asking:
        answer = await asking.chat.completions.parse(
            model="lab/m", messages=HI, response_format=Person
        )
        assert answer.choices[0].message.parsed == Person(name="Ann", age=7)
        async with asking.chat.completions.stream(
            model="lab/m", messages=HI, response_format=Person
        ) as events:
            final = await events.get_final_completion()
        assert final.choices[0].message.parsed == Person(name="Ann", age=7)
        for received in upstream.received:
            assert set(schema_in(kind, received.body)["properties"]) == {"name", "age"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture(kind: str) -> None:
    url = f"data:image/png;base64,{PIXEL}"
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            await asking.chat.completions.create(
                model="lab/m", messages=[{"role": "user", "content": content}]
            )
        assert image_in(kind, upstream.received[0].body) == PIXEL


@pytest.mark.parametrize("kind", KINDS)
async def test_five_mebibytes_of_picture_pass(kind: str) -> None:
    data = b64encode(b64decode(PIXEL) + bytes(5 * 2**20)).decode()
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            await asking.chat.completions.create(
                model="lab/m", messages=[{"role": "user", "content": content}]
            )
        assert len(image_in(kind, upstream.received[0].body)) == len(data)


@pytest.mark.parametrize(("status", "name"), ERROR_CLASSES)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_class_of_an_error(kind: str, status: int, name: str) -> None:
    plays = refusal(kind, status)
    once = {"per_target": 1}
    async with (
        lab(kind, plays, attempts=once) as (gateway, _),
        client(gateway, max_retries=0) as asking,
    ):
        for stream in (False, True):
            with pytest.raises(getattr(openai, name)) as caught:
                await asking.chat.completions.create(model="lab/m", messages=HI, stream=stream)
            assert caught.value.body["message"]
            assert caught.value.request_id


async def test_the_sdk_does_not_ask_again_what_the_gateway_asked_again_already() -> None:
    async with (
        lab("openai", refusal("openai", 503), attempts={"per_target": 2}) as (gateway, upstream),
        client(gateway, max_retries=2) as asking,
    ):
        with pytest.raises(openai.InternalServerError):
            await asking.chat.completions.create(model="lab/m", messages=HI)
        assert len(upstream.received) == 2


async def test_the_wait_of_a_limit_reaches_the_sdk() -> None:
    plays = refusal("openai", 429, **{"Retry-After": "7"})
    async with lab("openai", plays) as (gateway, upstream), client(gateway, max_retries=0) as ask:
        with pytest.raises(openai.RateLimitError) as caught:
            await ask.chat.completions.create(model="lab/m", messages=HI)
        assert caught.value.response.headers["retry-after"] == "7"
        assert len(upstream.received) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upstream_that_dies_in_mid_stream_is_an_error_with_its_text_kept(
    kind: str,
) -> None:
    whole = cut_short(kind)
    text = ""
    async with lab(kind, whole) as (gateway, upstream), client(gateway, max_retries=0) as asking:
        stream = await asking.chat.completions.create(model="lab/m", messages=HI, stream=True)

        async def heard() -> None:
            nonlocal text
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""

        with pytest.raises(openai.APIError) as caught:
            await heard()
        assert caught.value.message
        assert HELLO.text.startswith(text)
        assert text
        assert len(upstream.received) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_closed_frees_the_upstream(kind: str) -> None:
    whole = stalled(kind)
    async with lab(kind, whole) as (gateway, upstream), client(gateway) as asking:
        stream = await asking.chat.completions.create(model="lab/m", messages=HI, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await upstream.until_left(limit_s=1.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_thoughts_come_as_reasoning_content(kind: str) -> None:
    async with lab(kind, play(kind, THOUGHT, False)) as (gateway, _), client(gateway) as asking:
        answer = await asking.chat.completions.create(
            model="lab/m", messages=HI, reasoning_effort="low"
        )
        assert answer.choices[0].message.reasoning_content == "".join(THOUGHT.thoughts)
        assert answer.choices[0].message.content == THOUGHT.text


async def test_models_are_listed_and_found_by_names_with_slashes_and_colons() -> None:
    async with ReplayServer() as upstream:
        tree = provider("openai", upstream.url, models=["a/b", "c:7b"])
        given = settings(providers={"lab": tree}, aliases={"fast": "lab/c:7b"})
        async with running(given) as gateway, client(gateway) as asking:
            names = [model.id async for model in await asking.models.list()]
            assert names == ["auto", "fast", "lab/a/b", "lab/c:7b"]
            for name in names:
                assert (await asking.models.retrieve(name)).id == name
            with pytest.raises(openai.NotFoundError):
                await asking.models.retrieve("lab/none")


async def test_fifty_streams_at_once_do_not_mix() -> None:
    """Each answer is told apart by its text and its id."""
    async with lab("openai") as (gateway, upstream), client(gateway) as asking:
        said = [Said(pieces=(f"{n} ", "and ", f"{n}.")) for n in range(50)]
        upstream.play(*(play("openai", one, True, chunk=40, delay_s=0.001) for one in said))

        async def one() -> tuple[str, int]:
            stream = await asking.chat.completions.create(model="lab/m", messages=HI, stream=True)
            chunks = [chunk async for chunk in stream]
            return (
                "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
                len({chunk.id for chunk in chunks}),
            )

        answers = await asyncio.gather(*(one() for _ in said))
        assert sorted(text for text, _ in answers) == sorted(one.text for one in said)
        assert {ids for _, ids in answers} == {1}


@pytest.mark.parametrize("kind", KINDS)
async def test_keep_alives_of_a_silent_upstream_mean_nothing(kind: str) -> None:
    plays = play(kind, HELLO, True, before_s=0.3)
    early = {"commit_after_s": 0.1}
    async with lab(kind, plays, attempts=early) as (gateway, _), client(gateway) as asking:
        stream = await asking.chat.completions.create(model="lab/m", messages=HI, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == HELLO.text


@pytest.mark.parametrize("kind", vectors.KINDS)
async def test_embeddings_are_asked_for_in_base64_and_read_as_floats(kind: str) -> None:
    plays = vectors.answer(kind, vectors.VECTORS)
    async with lab(kind, plays) as (gateway, _), client(gateway) as asking:
        answer = await asking.embeddings.create(model="lab/m", input=["one", "two"])
    assert [row.embedding for row in answer.data] == vectors.VECTORS
