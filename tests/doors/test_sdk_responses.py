"""POST /v1/responses, asked by OpenAI's own client, with each kind of upstream behind it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.lab import PARAMETERS, PIXEL, Person, image_in, lab, results_in, schema_in, sdk
from tests.doors.lab import openai_client as client
from tests.doors.upstreams import (
    CALLS,
    EVERYTHING,
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

openai = sdk("openai")

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "parameters": PARAMETERS,
    "strict": True,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_one_shot(kind: str) -> None:
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream), client(gateway) as ask:
        answer = await ask.responses.create(model="lab/m", input="Hi", instructions="Be brief")
        assert answer.output_text == HELLO.text
        assert answer.status == "completed"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == HELLO.usage
        assert answer.instructions == "Be brief"
        assert answer.store is False
        assert "Be brief" in orjson.dumps(upstream.received[0].body).decode()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_has_its_events_in_order(kind: str) -> None:
    plays = play(kind, HELLO, True, chunk=5)
    async with lab(kind, plays) as (gateway, _), client(gateway) as ask:
        stream = await ask.responses.create(model="lab/m", input="Hi", stream=True)
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(e.delta for e in events if e.type.endswith("text.delta")) == HELLO.text
    last = events[-1].response
    assert last.output_text == HELLO.text
    assert last.id == events[0].response.id
    assert (last.usage.input_tokens, last.usage.output_tokens) == HELLO.usage


@pytest.mark.parametrize("kind", KINDS)
async def test_thought_words_and_calls_stand_in_their_order(kind: str) -> None:
    for stream in (True, False):
        plays = play(kind, EVERYTHING, stream)
        async with lab(kind, plays) as (gateway, _), client(gateway) as ask:
            if stream:
                async with ask.responses.stream(model="lab/m", input="Hi", tools=[TOOL]) as seen:
                    answer = await seen.get_final_response()
            else:
                answer = await ask.responses.create(model="lab/m", input="Hi", tools=[TOOL])
        kinds = [item.type for item in answer.output]
        assert kinds == ["reasoning", "message", "function_call", "function_call"]
        assert answer.output[0].summary[0].text == "Hm."
        assert answer.output_text == EVERYTHING.text
        assert len({item.id for item in answer.output}) == 4
        for item, call in zip(answer.output[2:], EVERYTHING.calls, strict=True):
            assert orjson.loads(item.arguments) == call.arguments
            assert item.status == "completed"


@pytest.mark.parametrize("kind", KINDS)
async def test_tools_there_and_back(kind: str) -> None:
    """The items of an answer are sent back as they came, thoughts with them."""
    plays = (play(kind, CALLS, True), play(kind, HELLO, False))
    async with lab(kind, *plays) as (gateway, upstream), client(gateway) as ask:
        async with ask.responses.stream(model="lab/m", input="Hi", tools=[TOOL]) as events:
            answer = await events.get_final_response()
        calls = [item for item in answer.output if item.type == "function_call"]
        assert [call.name for call in calls] == ["weather", "weather"]
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": words}
            for call, words in zip(calls, ("sunny", "rain"), strict=True)
        ]
        turn = [item.model_dump(exclude_none=True) for item in answer.output]
        last = await ask.responses.create(
            model="lab/m",
            input=[{"role": "user", "content": "Hi"}, *turn, *results],
            tools=[TOOL],
            tool_choice={"type": "function", "name": "weather"},
        )
        assert last.output_text == HELLO.text
        assert results_in(kind, upstream.received[1].body) == ["sunny", "rain"]


@pytest.mark.parametrize("kind", KINDS)
async def test_structured_output(kind: str) -> None:
    plays = (play(kind, OBJECT, False), play(kind, OBJECT, True))
    async with lab(kind, *plays) as (gateway, upstream), client(gateway) as ask:
        answer = await ask.responses.parse(model="lab/m", input="Hi", text_format=Person)
        assert answer.output_parsed == Person(name="Ann", age=7)
        async with ask.responses.stream(model="lab/m", input="Hi", text_format=Person) as events:
            final = await events.get_final_response()
        assert final.output_parsed == Person(name="Ann", age=7)
        for received in upstream.received:
            assert set(schema_in(kind, received.body)["properties"]) == {"name", "age"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture(kind: str) -> None:
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
    content = [{"type": "input_text", "text": "What is it?"}, picture]
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream), client(gateway) as ask:
        await ask.responses.create(model="lab/m", input=[{"role": "user", "content": content}])
        assert image_in(kind, upstream.received[0].body) == PIXEL


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_was_too_long_is_incomplete(kind: str) -> None:
    for stream in (True, False):
        async with lab(kind, play(kind, LENGTH, stream)) as (gateway, _), client(gateway) as ask:
            if stream:
                events = [
                    event
                    async for event in await ask.responses.create(
                        model="lab/m", input="Hi", stream=True, max_output_tokens=5
                    )
                ]
                assert events[-1].type == "response.incomplete"
                answer = events[-1].response
            else:
                answer = await ask.responses.create(model="lab/m", input="Hi", max_output_tokens=5)
            assert answer.status == "incomplete"
            assert answer.incomplete_details.reason == "max_output_tokens"
            assert answer.output_text == LENGTH.text


@pytest.mark.parametrize("kind", KINDS)
async def test_thoughts_come_as_a_summary(kind: str) -> None:
    async with lab(kind, play(kind, THOUGHT, False)) as (gateway, _), client(gateway) as ask:
        answer = await ask.responses.create(
            model="lab/m", input="Hi", reasoning={"effort": "low", "summary": "auto"}
        )
        assert answer.output[0].summary[0].text == "".join(THOUGHT.thoughts)
        assert answer.reasoning.effort == "low"


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "BadRequestError"), (429, "RateLimitError"), (503, "InternalServerError")],
)
async def test_the_class_of_an_error(status: int, name: str) -> None:
    plays = refusal("openai", status)
    async with (
        lab("openai", plays, attempts={"per_target": 1}) as (gateway, _),
        client(gateway, max_retries=0) as ask,
    ):
        for stream in (False, True):
            with pytest.raises(getattr(openai, name)):
                await ask.responses.create(model="lab/m", input="Hi", stream=stream)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upstream_that_dies_in_mid_stream_has_failed(kind: str) -> None:
    whole = cut_short(kind)
    async with lab(kind, whole) as (gateway, _), client(gateway, max_retries=0) as ask:
        stream = await ask.responses.create(model="lab/m", input="Hi", stream=True)
        events = [event async for event in stream]
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1].response.error.message
    assert not any(event.type == "response.completed" for event in events)
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_the_streams_final_response_of_a_cut_answer_raises() -> None:
    whole = cut_short("openai")
    async with (
        lab("openai", whole) as (gateway, _),
        client(gateway, max_retries=0) as ask,
        ask.responses.stream(model="lab/m", input="Hi") as events,
    ):
        with pytest.raises((RuntimeError, openai.OpenAIError)):
            await events.get_final_response()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_closed_frees_the_upstream(kind: str) -> None:
    whole = stalled(kind)
    async with lab(kind, whole) as (gateway, upstream), client(gateway) as ask:
        stream = await ask.responses.create(model="lab/m", input="Hi", stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await upstream.until_left(limit_s=1.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_keep_alives_of_a_silent_upstream_mean_nothing(kind: str) -> None:
    """Not even to the numbers of the events."""
    limits = {"commit_after_s": 0.1}
    slow = play(kind, HELLO, True, before_s=0.4)
    async with lab(kind, slow, attempts=limits) as (gateway, _), client(gateway) as ask:
        raw = await ask.responses.with_raw_response.create(model="lab/m", input="Hi", stream=True)
        assert raw.status_code == 200
        events = [event async for event in raw.parse()]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == HELLO.text


async def test_a_failure_behind_keep_alives_is_told_in_the_stream() -> None:
    """The status went out long ago."""
    limits = {"commit_after_s": 0.1, "per_target": 1}
    late = refusal("openai", 503)
    late.before_s = 0.4
    async with lab("openai", late, attempts=limits) as (gateway, _), client(gateway) as ask:
        stream = await ask.responses.create(model="lab/m", input="Hi", stream=True)
        events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message


async def test_a_model_that_is_not_there_is_not_found() -> None:
    async with lab("openai") as (gateway, _), client(gateway) as ask:
        for stream in (False, True):
            with pytest.raises(openai.NotFoundError, match="nobody"):
                await ask.responses.create(model="nobody", input="Hi", stream=stream)


async def test_what_an_agent_sends_is_understood() -> None:
    """As coding agents write it: instructions, typed messages, functions, nothing stored."""
    body = {
        "model": "lab/m",
        "instructions": "You are a coding agent.",
        "input": [
            {
                "type": "message",
                "role": "developer",
                "content": [{"type": "input_text", "text": "<permissions/>"}],
            },
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "List files"}],
            },
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "shell",
                "arguments": '{"command":["ls"]}',
            },
            {"type": "function_call_output", "call_id": "call_1", "output": "README.md"},
        ],
        "tools": [{"type": "function", "name": "shell", "strict": False, "parameters": PARAMETERS}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0198",
        "text": {"verbosity": "low"},
    }
    async with lab("openai", play("openai", HELLO, True)) as (gateway, upstream):
        async with gateway.session.post(gateway.url + "/v1/responses", json=body) as response:
            assert response.status == 200
            raw = await response.read()
        assert b"event: response.completed\n" in raw
        assert b"[DONE]" not in raw
        sent = upstream.received[0].body
        roles = [message["role"] for message in sent["messages"]]
        assert roles == ["system", "system", "user", "assistant", "tool"]
        assert sent["messages"][3]["tool_calls"][0]["id"] == "call_1"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"model": ""}, "model"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": {"type": "function", "name": "none"}}, "tool_choice.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].id"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            "input[0].call_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {
                "input": [
                    {
                        "role": "user",
                        "content": [{"type": "input_image", "image_url": "data:image/png;base64,"}],
                    }
                ]
            },
            "input[0].content[0].image_url",
        ),
    ],
)
async def test_what_cannot_be_is_refused_by_name(change: dict[str, Any], param: str) -> None:
    async with lab("openai") as (gateway, upstream):
        body = {"model": "lab/m", "input": "Hi", **change}
        async with gateway.session.post(gateway.url + "/v1/responses", json=body) as response:
            assert response.status == 400
            told = (await response.json())["error"]
        assert told["param"] == param
        assert told["type"] == "invalid_request_error"
        assert param in told["message"]
        assert upstream.received == []
