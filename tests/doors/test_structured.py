"""Answers in a format that was asked for: checked, mended once, and told as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.doors.lab import SCHEMA
from tests.doors.upstreams import CALLS, OBJECT, Said, play, provider, stalled
from tests.replay.gateway import Running, running, settings
from tests.replay.server import ReplayServer

BAD = Said(pieces=('{"name": "Ann", ', '"age": "seven"}'))
FENCED = Said(pieces=("```json\n", '{"name": "Ann', '", "age": 7}\n```'))
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
ANN = {"name": "Ann", "age": 7}


def words_only(url: str, **more: Any) -> dict[str, Any]:
    """A host that enforces nothing."""
    return provider("openai", url, default_model="m", quirks={"structured": "words"}, **more)


def given(lab: dict[str, Any], **tree: Any) -> Any:
    routes = {"auto": {"local": ["lab/m"], "strong": ["lab/m"]}}
    return settings(providers={"lab": lab}, routes=routes, **tree)


async def asked(gateway: Running, *, stream: bool, **more: Any) -> tuple[int, Any, Any]:
    """Status, headers, and the text of the answer or the error's object."""
    body = {
        "model": "lab/m",
        "messages": [{"role": "user", "content": "Who?"}],
        "response_format": FORMAT,
        "stream": stream,
        **more,
    }
    async with gateway.session.post(gateway.url + "/v1/chat/completions", json=body) as response:
        raw = await response.read()
        if not stream or response.status != 200:
            told = orjson.loads(raw)
            if "error" in told:
                return response.status, response.headers, told["error"]
            return response.status, response.headers, told["choices"][0]["message"]["content"]
    frames = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: {")]
    chunks = [orjson.loads(frame) for frame in frames]
    if "error" in chunks[-1]:
        return 200, response.headers, chunks[-1]["error"]
    pieces = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    return 200, response.headers, "".join(pieces)


@pytest.mark.parametrize("stream", [False, True])
async def test_words_ask_for_the_format_where_the_host_has_no_field(stream: bool) -> None:
    async with ReplayServer(play("openai", FENCED, stream)) as upstream:
        async with running(given(words_only(upstream.url))) as gateway:
            status, headers, text = await asked(gateway, stream=stream)
        assert status == 200
        assert orjson.loads(text) == ANN, "a fence around the JSON is taken off"
        sent = upstream.received[0].body
        assert "response_format" not in sent
        assert '"required":["name","age"]' in sent["messages"][0]["content"]
        if not stream:
            assert headers["X-Pointsman-Structured"] == "valid"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_not_valid_is_asked_for_once_more(stream: bool) -> None:
    plays = (play("openai", BAD, stream), play("openai", OBJECT, stream))
    async with ReplayServer(*plays) as upstream:
        async with running(given(words_only(upstream.url))) as gateway:
            status, headers, text = await asked(gateway, stream=stream)
        assert status == 200
        assert orjson.loads(text) == ANN, "of the first answer nothing is passed on"
        assert len(upstream.received) == 2
        history = upstream.received[1].body["messages"]
        assert history[-2] == {"role": "assistant", "content": BAD.text}
        assert "age" in history[-1]["content"]
        if not stream:
            assert headers["X-Pointsman-Structured"] == "repaired"


async def test_the_closing_event_declares_the_repair_and_counts_both_answers() -> None:
    plays = (play("openai", BAD, True), play("openai", OBJECT, True))
    async with ReplayServer(*plays) as upstream:
        route = {"auto": {"local": ["lab/m"], "strong": ["lab/m"]}}
        lab = words_only(upstream.url)
        async with running(settings(providers={"lab": lab}, routes=route)) as gateway:
            body = {
                "input": "Who?",
                "model": "lab/m",
                "text": {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA}},
            }
            async with gateway.session.post(
                gateway.url + "/v1/responses", json={**body, "stream": True}
            ) as response:
                raw = await response.read()
        last = orjson.loads(raw.rstrip().rsplit(b"data: ", 1)[1])["response"]
        assert last["usage"]["input_tokens"] == BAD.usage[0] + OBJECT.usage[0]
        assert last["usage"]["output_tokens"] == BAD.usage[1] + OBJECT.usage[1]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_never_valid_is_a_failure(stream: bool) -> None:
    plays = (play("openai", BAD, stream), play("openai", BAD, stream))
    async with ReplayServer(*plays) as upstream:
        async with running(given(words_only(upstream.url))) as gateway:
            status, _, told = await asked(gateway, stream=stream)
        assert status == (200 if stream else 502)
        assert told["code"] == "structured_output_invalid"
        assert "age" in told["message"]
        assert len(upstream.received) == 2


async def test_the_next_target_is_asked_when_one_cannot_keep_to_the_format() -> None:
    async with (
        ReplayServer(play("openai", BAD, False), play("openai", BAD, False)) as weak,
        ReplayServer(play("openai", OBJECT, False)) as good,
    ):
        tree = {"lab": words_only(weak.url), "other": words_only(good.url)}
        route = {"auto": {"local": ["lab/m", "other/m"], "strong": []}}
        async with running(settings(providers=tree, routes=route)) as gateway:
            status, _, text = await asked(gateway, stream=False, model="auto")
        assert (status, orjson.loads(text)) == (200, ANN)


async def test_a_relayed_answer_that_is_not_valid_is_asked_for_again() -> None:
    """By a host that should have enforced it."""
    plays = (play("openai", BAD, False), play("openai", OBJECT, False))
    async with ReplayServer(*plays) as upstream:
        async with running(given(provider("openai", upstream.url))) as gateway:
            status, headers, text = await asked(gateway, stream=False)
        assert (status, orjson.loads(text)) == (200, ANN)
        assert headers["X-Pointsman-Structured"] == "valid"
        assert len(upstream.received) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", [CALLS, replace(BAD, finish="length")])
async def test_calls_and_answers_that_were_too_long_are_told_as_they_are(
    said: Said, stream: bool
) -> None:
    async with ReplayServer(play("openai", said, stream)) as upstream:
        async with running(given(words_only(upstream.url))) as gateway:
            status, headers, text = await asked(gateway, stream=stream)
        assert (status, text) == (200, said.text)
        assert "X-Pointsman-Structured" not in headers
        assert len(upstream.received) == 1


async def test_a_caller_who_leaves_while_the_text_is_held_back_frees_the_upstream() -> None:
    slow = stalled("openai")
    async with (
        ReplayServer(slow) as upstream,
        running(given(words_only(upstream.url))) as gateway,
    ):
        body = {
            "model": "lab/m",
            "messages": [{"role": "user", "content": "Who?"}],
            "response_format": FORMAT,
            "stream": True,
        }
        async with gateway.session.post(
            gateway.url + "/v1/chat/completions", json=body
        ) as response:
            first = await response.content.readline()
            assert b'"role":"assistant"' in first, "he is committed as soon as the model speaks"
        await upstream.until_left(limit_s=1.0)


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "strin"}, "response_format.json_schema.schema.type"),
        ({"$ref": "http://127.0.0.1:9/x"}, "response_format.json_schema.schema"),
        ({"$ref": "file:///etc/passwd"}, "response_format.json_schema.schema"),
        ({"$ref": "#/$defs/none"}, "response_format.json_schema.schema"),
        ({"type": "string", "pattern": "(("}, "response_format.json_schema.schema.pattern"),
        ({"properties": {"a": 7}}, "response_format.json_schema.schema.properties.a"),
    ],
)
async def test_a_schema_that_is_none_is_refused_by_name(schema: dict[str, Any], param: str) -> None:
    async with ReplayServer() as upstream, running(given(words_only(upstream.url))) as gateway:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        for stream in (False, True):
            status, _, told = await asked(gateway, stream=stream, response_format=form)
            assert (status, told["param"]) == (400, param)
        assert upstream.received == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (
            "/v1/messages",
            {
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "Who?"}],
                "output_config": {"format": {"type": "json_schema", "schema": {"type": "x"}}},
            },
            "output_config.format.schema.type",
        ),
        (
            "/api/chat",
            {"messages": [{"role": "user", "content": "Who?"}], "format": {"type": "x"}},
            "format.type",
        ),
        (
            "/v1/responses",
            {
                "input": "Who?",
                "text": {"format": {"type": "json_schema", "name": "p", "schema": {"type": "x"}}},
            },
            "text.format.schema.type",
        ),
    ],
)
async def test_every_door_names_the_schemas_place(
    path: str, body: dict[str, Any], param: str
) -> None:
    async with ReplayServer() as upstream, running(given(words_only(upstream.url))) as gateway:
        body = {"model": "lab/m", **body}
        async with gateway.session.post(gateway.url + path, json=body) as response:
            assert response.status == 400
            assert param in (await response.text())
