"""Rows of the case table about what an upstream is asked, and what its refusals mean, by id."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.clients import DOORS, ask, question, read
from tests.doors.lab import PARAMETERS, SCHEMA, lab
from tests.doors.upstreams import CALLS, HELLO, JSON, KINDS, OBJECT, Said, play, provider, refusal
from tests.replay.gateway import running, settings
from tests.replay.server import Play, ReplayServer

TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": name,
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "x"}'},
            }
            for name in ("c1", "c2")
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "c2", "content": "rain"},
    {"role": "user", "content": "So?"},
]


async def sent(
    kind: str, model: str = "lab/m", door: str = "openai", said: Said = HELLO, **more: Any
) -> Any:
    """What the upstream gets of a question."""
    body = {**question(door, "Hi", stream=False, model=model), **more}
    async with lab(kind, play(kind, said, False)) as (gateway, upstream):
        status, raw = await ask(gateway, door, body, stream=False, model=model)
        assert status == 200, raw
        return upstream.received[0]


async def test_a06_the_version_is_pinned_and_new_models_get_no_sampling() -> None:
    received = await sent("anthropic", "lab/claude-sonnet-4-5", temperature=0.2)
    assert received.headers["anthropic-version"] == "2023-06-01"
    assert received.body["temperature"] == 0.2
    received = await sent("anthropic", "lab/claude-opus-4-8", temperature=0.2)
    assert "temperature" not in received.body


async def test_a07_results_are_one_turn_and_stand_before_the_text() -> None:
    body = (await sent("anthropic", messages=TURNS, tools=[TOOL])).body
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    blocks = body["messages"][-1]["content"]
    assert [block["type"] for block in blocks] == ["tool_result", "tool_result", "text"]
    assert [block["tool_use_id"] for block in blocks[:2]] == ["c1", "c2"]


@pytest.mark.parametrize("door", KINDS)
async def test_a08_a_limit_keeps_its_wait(door: str) -> None:
    limit = refusal("anthropic", 429, **{"Retry-After": "7"})
    async with lab("anthropic", limit) as (gateway, upstream):
        async with gateway.session.post(
            gateway.url + "/v1/messages", json=question("anthropic", "Hi", stream=False)
        ) as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "7"
        # It rests: the second caller is told so without asking again.
        status, _ = await ask(gateway, door, question(door, "Hi", stream=False), stream=False)
        assert status == 429
        assert len(upstream.received) == 1


@pytest.mark.parametrize(("status", "tries"), [(401, 1), (503, 2)])
async def test_a08_a_refused_key_is_not_tried_again(status: int, tries: int) -> None:
    async with (
        ReplayServer(refusal("anthropic", status)) as broken,
        ReplayServer(play("openai", HELLO, False)) as well,
    ):
        given = settings(
            providers={
                "lab": provider("anthropic", broken.url),
                "two": provider("openai", well.url),
            },
            routes={"auto": {"local": ["lab/m"], "strong": ["lab/m", "two/m"]}},
        )
        async with running(given) as gateway:
            body = question("openai", "Hi", stream=False, model="auto")
            told, raw = await ask(gateway, "openai", body, stream=False)
        assert told == 200
        assert read("openai", raw, stream=False).text == HELLO.text
        assert (len(broken.received), len(well.received)) == (tries, 1)


@pytest.mark.parametrize("door", DOORS)
async def test_a04_an_error_event_before_any_content_sends_the_question_on(door: str) -> None:
    """Under a status of 200, behind a message_start and a ping."""
    begun = b'event: ping\ndata: {"type":"ping"}\n\n'
    said = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    async with (
        ReplayServer(Play(begun + b"event: error\ndata: " + said + b"\n\n")) as broken,
        ReplayServer(play("openai", HELLO, True)) as well,
    ):
        given = settings(
            providers={
                "lab": provider("anthropic", broken.url),
                "two": provider("openai", well.url),
            },
            routes={"auto": {"local": ["lab/m"], "strong": ["lab/m", "two/m"]}},
            attempts={"per_target": 1},
        )
        async with running(given) as gateway:
            body = question(door, "Hi", stream=True, model="auto")
            status, raw = await ask(gateway, door, body, stream=True, model="auto")
        assert status == 200
        found = read(door, raw, stream=True)
        assert (found.text, found.finish) == (HELLO.text, "stop")
        assert (len(broken.received), len(well.received)) == (1, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_o08_a_prompt_that_ollama_cut_is_told(stream: bool) -> None:
    """It says nothing itself; the count that fills the context to the last token does. The word
    stands in the closing event and in a whole answer of our own door."""
    for counted, detail in ((4096, "prompt_truncated"), (7, None)):
        said = Said(usage=(counted, 5))
        async with lab("ollama", play("ollama", said, stream)) as (gateway, upstream):
            answer = await gateway.complete(message="Hi", model="lab/m", stream=stream)
            assert upstream.received[0].body["options"]["num_ctx"] == 4096
            told = answer.closing if stream else answer.json
        assert told.get("finish_detail") == detail
        assert told["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("door", "words"),
    [
        ("openai", b'"finish_reason":"content_filter"'),
        ("anthropic", b'"stop_reason":"refusal"'),
        ("ollama", b'"done_reason":"stop"'),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_g02_a_blocked_prompt_is_no_empty_success(
    door: str, words: bytes, stream: bool
) -> None:
    body = orjson.dumps(
        {
            "promptFeedback": {"blockReason": "SAFETY"},
            "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
        }
    )
    plays = Play(b"data: %b\r\n\r\n" % body) if stream else Play(body, content_type=JSON)
    async with lab("gemini", plays) as (gateway, _):
        status, raw = await ask(gateway, door, question(door, "Hi", stream=stream), stream=stream)
        assert status == 200
        assert words in raw


async def test_g03_a_signature_goes_back_on_its_own_call() -> None:
    """From Gemini to a Gemini caller and back."""
    answer = orjson.loads(play("gemini", CALLS, False).body)
    parts = answer["candidates"][0]["content"]["parts"]
    parts[1]["thoughtSignature"] = "c2lnbmVk"
    plays = (Play(orjson.dumps(answer), content_type=JSON), play("gemini", HELLO, False))
    async with lab("gemini", *plays) as (gateway, upstream):
        body = question("gemini", "Hi", stream=False)
        _, raw = await ask(gateway, "gemini", body, stream=False)
        content = orjson.loads(raw)["candidates"][0]["content"]
        results = [
            {"functionResponse": {"name": "weather", "response": {"result": words}}}
            for words in ("sunny", "rain")
        ]
        body["contents"] += [content, {"role": "user", "parts": results}]
        status, _ = await ask(gateway, "gemini", body, stream=False)
        assert status == 200
        back = upstream.received[1].body["contents"][1]["parts"]
        assert [part.get("thoughtSignature") for part in back] == [None, "c2lnbmVk", None]


@pytest.mark.parametrize("wrapped", [False, True])
async def test_g04_and_g05_an_error_may_be_a_list_and_its_wait_in_the_body(wrapped: bool) -> None:
    error: Any = {
        "error": {
            "code": 429,
            "message": "Slow down.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}],
        }
    }
    plays = Play(orjson.dumps([error] if wrapped else error), 429, JSON)
    async with (
        lab("gemini", plays) as (gateway, _),
        gateway.session.post(
            gateway.url + "/v1/chat/completions", json=question("openai", "Hi", stream=False)
        ) as response,
    ):
        assert response.status == 429
        assert response.headers["Retry-After"] == "7"
        assert "Slow down." in (await response.json())["error"]["message"]


HARD: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "who": {"$ref": "#/$defs/person"},
        "note": {"type": ["string", "null"]},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["who"],
    "additionalProperties": False,
    "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3-pro"])
async def test_g07_a_hard_schema_is_put_into_words_that_gemini_takes(model: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": HARD, "strict": True}}
    tool = {"type": "function", "function": {"name": "f", "parameters": HARD}}
    said = Said(pieces=('{"who": {"name": "Ann"}, "note": null}',))
    body = (
        await sent("gemini", f"lab/{model}", said=said, response_format=form, tools=[tool])
    ).body
    told = orjson.dumps(body)
    assert b"$schema" not in told
    config = body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert ("responseSchema" in config) is not ("responseJsonSchema" in config)
    if model == "gemini-2.0-flash":
        schema = config["responseSchema"]
        assert b"$ref" not in told
        assert b"additionalProperties" not in told
        assert schema["type"] == "OBJECT"
        assert schema["properties"]["note"]["nullable"] is True
        assert schema["properties"]["who"]["properties"]["name"]["type"] == "STRING"


async def test_g08_a_result_of_a_tool_is_an_object_with_its_name() -> None:
    body = (await sent("gemini", messages=TURNS, tools=[TOOL])).body
    parts = body["contents"][-1]["parts"]
    told = [part["functionResponse"] for part in parts if "functionResponse" in part]
    assert [(one["name"], one["response"]) for one in told] == [
        ("weather", {"result": "sunny"}),
        ("weather", {"result": "rain"}),
    ]


async def test_o05_options_have_the_types_that_ollama_wants() -> None:
    body = (await sent("ollama", stop="END", seed=7.0, max_tokens=33)).body
    assert body["options"]["stop"] == ["END"]
    assert body["options"]["seed"] == 7
    assert type(body["options"]["seed"]) is int
    assert body["options"]["num_predict"] == 33


async def test_o06_a_long_prompt_gets_a_context_that_holds_it() -> None:
    messages = [{"role": "user", "content": "word " * 20_000}]
    body = (await sent("ollama", messages=messages)).body
    assert 25_000 < body["options"]["num_ctx"] <= 131_072
    assert (await sent("ollama")).body["options"]["num_ctx"] == 4096


async def test_o07_the_choice_of_tools_that_ollama_does_not_have() -> None:
    assert "tools" not in (await sent("ollama", tools=[TOOL], tool_choice="none")).body
    body = (await sent("ollama", tools=[TOOL], tool_choice="required")).body
    assert "weather" in body["messages"][0]["content"]
    assert body["messages"][0]["role"] == "system"


@pytest.mark.parametrize("kind", KINDS)
async def test_i05_content_null_beside_calls_works_everywhere(kind: str) -> None:
    received = await sent(kind, messages=TURNS, tools=[TOOL])
    assert b"sunny" in orjson.dumps(received.body)


@pytest.mark.parametrize("kind", KINDS)
async def test_n06_a_format_reaches_every_upstream(kind: str) -> None:
    received = await sent(kind, door="ollama", said=OBJECT, format=SCHEMA)
    assert b'"age"' in orjson.dumps(received.body)


@pytest.mark.parametrize("door", KINDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_f_an_answer_of_nothing_is_still_an_answer(kind: str, door: str) -> None:
    said = Said(pieces=("",) if kind == "gemini" else ())
    async with lab(kind, play(kind, said, False)) as (gateway, _):
        status, raw = await ask(gateway, door, question(door, "Hi", stream=False), stream=False)
        assert status == 200
        assert read(door, raw, stream=False).text == ""
