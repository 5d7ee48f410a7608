"""Anthropic's own client at the gateway, with each kind of upstream behind it."""

from __future__ import annotations

from typing import Any

import pytest

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

anthropic = sdk("anthropic")

TOOL = {"name": "weather", "description": "d", "input_schema": PARAMETERS}
ASK: dict[str, Any] = {"model": "lab/m", "max_tokens": 2048, "messages": HI}


def client(gateway: Running, **more: Any) -> Any:
    options: dict[str, Any] = {"base_url": gateway.url, "api_key": "x", **more}
    return anthropic.AsyncAnthropic(**options)


@pytest.mark.parametrize("auth", [{"api_key": "x"}, {"api_key": None, "auth_token": "x"}])
@pytest.mark.parametrize("kind", KINDS)
async def test_one_shot(kind: str, auth: dict[str, Any]) -> None:
    async with lab(kind, play(kind, LENGTH, False)) as (gateway, _):
        async with client(gateway, **auth) as asking:
            answer = await asking.messages.create(**ASK)
        assert [block.text for block in answer.content] == [LENGTH.text]
        assert answer.stop_reason == "max_tokens"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == LENGTH.usage
        assert answer._request_id


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream(kind: str) -> None:
    async with lab(kind, play(kind, HELLO, True, chunk=5)) as (gateway, _):
        async with client(gateway) as asking, asking.messages.stream(**ASK) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            answer = await stream.get_final_message()
        assert text == HELLO.text
        assert [block.text for block in answer.content] == [HELLO.text]
        assert answer.stop_reason == "end_turn"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == HELLO.usage


@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_event_has_a_number_of_input_tokens(kind: str) -> None:
    """Claude Code's meter reads it; where the upstream tells only at the end it is estimated."""
    async with lab(kind, play(kind, HELLO, True)) as (gateway, _), client(gateway) as asking:
        events = [event async for event in await asking.messages.create(**ASK, stream=True)]
    assert events[0].message.usage.input_tokens > 0
    assert events[-1].type == "message_stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_tools_there_and_back(kind: str, stream: bool) -> None:
    plays = (play(kind, CALLS, stream), play(kind, HELLO, False))
    async with lab(kind, *plays) as (gateway, upstream), client(gateway) as asking:
        if stream:
            async with asking.messages.stream(**ASK, tools=[TOOL]) as events:
                answer = await events.get_final_message()
        else:
            answer = await asking.messages.create(**ASK, tools=[TOOL], tool_choice={"type": "auto"})
        assert answer.stop_reason == "tool_use"
        text, *calls = answer.content
        assert text.text == CALLS.text
        assert [(call.name, call.input) for call in calls] == [
            (call.name, call.arguments) for call in CALLS.calls
        ]
        assert len({call.id for call in calls}) == 2
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": words}
            for call, words in zip(calls, ("sunny", "rain"), strict=True)
        ]
        turns = [
            *HI,
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": results},
        ]
        last = await asking.messages.create(**{**ASK, "messages": turns}, tools=[TOOL])
        assert last.content[0].text == HELLO.text
        assert results_in(kind, upstream.received[1].body) == ["sunny", "rain"]


@pytest.mark.parametrize("kind", KINDS)
async def test_structured_output(kind: str) -> None:
    async with lab(kind, play(kind, OBJECT, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            answer = await asking.messages.parse(**ASK, output_format=Person)
        assert answer.parsed_output == Person(name="Ann", age=7)
        assert set(schema_in(kind, upstream.received[0].body)["properties"]) == {"name", "age"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture(kind: str) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "text", "text": "What?"}, {"type": "image", "source": source}]
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            turns = [{"role": "user", "content": content}]
            await asking.messages.create(**{**ASK, "messages": turns})
        assert image_in(kind, upstream.received[0].body) == PIXEL


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
            with pytest.raises(getattr(anthropic, name)) as caught:
                await asking.messages.create(**ASK, stream=stream)
            assert caught.value.body["error"]["message"]
            assert caught.value.body["type"] == "error"
            assert caught.value.request_id


async def test_an_hour_of_waiting_is_told_as_a_minute() -> None:
    """This SDK sleeps for as long as it is told, without a limit of its own."""
    plays = refusal("anthropic", 429, **{"Retry-After": "3600"})
    async with lab("anthropic", plays) as (gateway, _), client(gateway, max_retries=0) as asking:
        with pytest.raises(anthropic.RateLimitError) as caught:
            await asking.messages.create(**ASK)
        assert float(caught.value.response.headers["retry-after"]) <= 60


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upstream_that_dies_in_mid_stream_is_an_error_event(kind: str) -> None:
    whole = cut_short(kind)
    text = ""
    async with lab(kind, whole) as (gateway, _), client(gateway, max_retries=0) as asking:

        async def heard() -> None:
            nonlocal text
            async with asking.messages.stream(**ASK) as stream:
                async for piece in stream.text_stream:
                    text += piece

        with pytest.raises(anthropic.APIStatusError) as caught:
            await heard()
        assert caught.value.body["error"]["type"] == "api_error"
        assert HELLO.text.startswith(text)
        assert text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_closed_frees_the_upstream(kind: str) -> None:
    whole = stalled(kind)
    async with lab(kind, whole) as (gateway, upstream), client(gateway) as asking:
        async with asking.messages.stream(**ASK) as stream:
            async for _ in stream.text_stream:
                break
        await upstream.until_left(limit_s=1.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_thoughts_and_text_are_blocks_in_their_order(kind: str) -> None:
    async with lab(kind, play(kind, THOUGHT, True)) as (gateway, _), client(gateway) as asking:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        async with asking.messages.stream(**ASK, thinking=thinking) as stream:
            answer = await stream.get_final_message()
        assert [block.type for block in answer.content] == ["thinking", "text"]
        assert answer.content[0].thinking == "".join(THOUGHT.thoughts)
        assert answer.content[1].text == THOUGHT.text


async def test_tokens_are_counted_and_models_listed() -> None:
    async with lab("openai") as (gateway, upstream), client(gateway) as asking:
        short = await asking.messages.count_tokens(model="lab/m", messages=HI)
        long = await asking.messages.count_tokens(
            model="auto", messages=HI, system="Be brief. " * 100, tools=[TOOL]
        )
        assert 0 < short.input_tokens < 20
        assert 200 < long.input_tokens < 400
        with pytest.raises(anthropic.NotFoundError):
            await asking.messages.count_tokens(model="nobody", messages=HI)
        names = [model.id async for model in asking.models.list(limit=1000)]
        assert names == ["auto", "lab/m"]
        assert (await asking.models.retrieve("lab/m")).display_name == "lab/m"
        with pytest.raises(anthropic.NotFoundError):
            await asking.models.retrieve("lab/none")
        assert upstream.received == []


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_that_must_be_called(kind: str, choice: dict[str, Any]) -> None:
    """How frameworks ask for structured output: one tool, forced."""
    async with lab(kind, play(kind, CALLS, False)) as (gateway, upstream):
        async with client(gateway) as asking:
            answer = await asking.messages.create(**ASK, tools=[TOOL], tool_choice=choice)
        assert answer.content[-1].name == "weather"
        body = upstream.received[0].body
        if kind == "openai":
            named = {"type": "function", "function": {"name": "weather"}}
            assert body["tool_choice"] == ("required" if choice["type"] == "any" else named)
        elif kind == "anthropic":
            assert body["tool_choice"] == choice
        elif kind == "gemini":
            assert body["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"
        else:
            # Ollama has no such choice: the instruction says it.
            assert "weather" in body["messages"][0]["content"] or "tool" in str(body["messages"])


@pytest.mark.parametrize("kind", KINDS)
async def test_pings_of_a_silent_upstream_mean_nothing(kind: str) -> None:
    plays = play(kind, HELLO, True, before_s=0.3)
    early = {"commit_after_s": 0.1}
    async with (
        lab(kind, plays, attempts=early) as (gateway, _),
        client(gateway) as asking,
        asking.messages.stream(**ASK) as stream,
    ):
        assert (await stream.get_final_message()).content[0].text == HELLO.text
