"""Several names as one plan: aliases that are lists, `models` in a request, and tags."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.engine.ports import Settlement
from tests.doors.upstreams import HELLO, play, provider
from tests.replay.gateway import Answer, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream


@asynccontextmanager
async def three(
    *first: Play, **tree: Any
) -> AsyncGenerator[tuple[Running, list[ReplayServer], list[Settlement]], None]:
    async with (
        ReplayServer(*first) as a,
        ReplayServer(Play(openai_stream("b"))) as b,
        ReplayServer(Play(openai_stream("c"))) as c,
    ):
        given = settings(
            providers={
                name: openai_provider(one.url) for name, one in (("a", a), ("b", b), ("c", c))
            },
            attempts={"per_target": 1},
            **tree,
        )
        async with running(given) as gateway:
            settled: list[Settlement] = []
            gateway.services.recorder.listeners.append(settled.append)
            yield gateway, [a, b, c], settled


async def chat(gateway: Running, **body: Any) -> Answer:
    asked = {"stream": True, "messages": [{"role": "user", "content": "Hi"}], **body}
    url = gateway.url + "/v1/chat/completions"
    async with gateway.session.post(url, json=asked) as response:
        return Answer(response.status, response.headers, await response.read())


async def test_an_alias_of_several_is_asked_in_its_order() -> None:
    aliases = {"fast": ["a/m", "gone/x", "b/m", "a/m"]}
    async with three(openai_error(500), aliases=aliases) as (gateway, [a, b, c], settled):
        answer = await gateway.complete(message="Hi", model="fast")
        assert answer.text == "b"
        assert answer.route["target"] == "b/m"
        assert "fast, which is 2 models" in answer.route["reason"]
        assert [len(one.received) for one in (a, b, c)] == [1, 1, 0]
        assert [one.target.name for one in settled[0].attempts] == ["a/m", "b/m"]
        async with gateway.session.get(gateway.url + "/v1/models/fast") as response:
            assert response.status == 200


async def test_an_alias_of_several_may_stand_in_a_tier() -> None:
    route = {"local": [], "strong": ["fast"]}
    aliases = {"fast": ["a/m", "b/m"]}
    async with three(openai_error(500), aliases=aliases, routes={"auto": route}) as (gateway, _, _):
        assert (await gateway.complete(message="Hi")).text == "b"


async def test_a_request_may_name_whom_to_ask_next() -> None:
    async with three(openai_error(500)) as (gateway, [a, b, c], _):
        answer = await chat(gateway, model="a/m", models=["a/m", "b/m", "c/m"])
        assert b'"content":"b"' in answer.raw
        assert [len(one.received) for one in (a, b, c)] == [1, 1, 0]
        # No upstream is told of the others.
        assert "models" not in a.received[0].body
        assert "models" not in b.received[0].body


async def test_models_alone_are_enough() -> None:
    async with three(openai_error(500)) as (gateway, [a, b, _], _):
        answer = await chat(gateway, models=["a/m", "b/m"])
        assert b'"content":"b"' in answer.raw
        assert len(a.received) == len(b.received) == 1


async def test_a_route_may_have_named_models_behind_it() -> None:
    route = {"local": [], "strong": ["a/m"]}
    async with three(openai_error(500), routes={"auto": route}) as (gateway, _, _):
        assert b'"content":"c"' in (await chat(gateway, model="auto", models=["c/m"])).raw


@pytest.mark.parametrize(
    ("models", "status"),
    [(["b/m", "nobody"], 404), (["auto"], 400), (7, 400), ([7], 400), (["b/m"] * 9, 400)],
)
async def test_a_wrong_list_of_models_is_told(models: Any, status: int) -> None:
    async with three(Play(openai_stream("a"))) as (gateway, upstreams, _):
        answer = await chat(gateway, model="a/m", models=models)
        assert answer.status == status
        assert answer.json["error"]["message"]
        assert not any(one.received for one in upstreams)


async def test_a_key_that_is_refused_is_not_tried_for_the_next_model() -> None:
    async with three(openai_error(401)) as (gateway, [a, *_], settled):
        answer = await chat(gateway, model="a/m", models=["a/n", "b/m"])
        assert b'"content":"b"' in answer.raw
        assert len(a.received) == 1
        assert [one.target.name for one in settled[0].attempts] == ["a/m", "b/m"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_name_with_and_without_its_tag_is_one_target(*, stream: bool) -> None:
    async with ReplayServer(play("ollama", HELLO, stream)) as upstream:
        upstream.answers["/api/tags"] = b'{"models": [{"model": "m:latest", "digest": "d"}]}'
        tree = provider("ollama", upstream.url, models=[], check="/api/version")
        async with running(settings(providers={"lab": tree})) as gateway:
            settled: list[Settlement] = []
            gateway.services.recorder.listeners.append(settled.append)
            await gateway.services.looked.wait()
            for name in ("lab/m", "lab/m:latest", "m", "m:latest"):
                body = {
                    "model": name,
                    "stream": stream,
                    "messages": [{"role": "user", "content": "Hi"}],
                }
                async with gateway.session.post(gateway.url + "/api/chat", json=body) as response:
                    raw = await response.read()
                # Ollama gives back the name that was written.
                assert f'"model":"{name}"'.encode() in raw.replace(b": ", b":")
            assert {one.trace.target for one in settled} == {"lab/m"}
            assert {one.body["model"] for one in upstream.received} == {"m"}


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("stream", [True, False])
async def test_relayed_or_not_the_answer_names_who_answered(kind: str, *, stream: bool) -> None:
    """One language at both ends, or two: the caller reads the same name."""
    fields = {"openai": "model", "anthropic": "model", "gemini": "modelVersion"}
    paths = {
        "openai": "/v1/chat/completions",
        "anthropic": "/v1/messages",
        "gemini": "/v1beta/models/lab/m:"
        + ("streamGenerateContent?alt=sse" if stream else "generateContent"),
    }
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    if kind != "gemini":
        messages = [{"role": "user", "content": "Hi"}]
        body = {"model": "lab/m", "stream": stream, "max_tokens": 9, "messages": messages}
    for behind in (kind, "openai" if kind == "anthropic" else "anthropic"):
        async with ReplayServer(play(behind, HELLO, stream)) as upstream:
            given = settings(providers={"lab": provider(behind, upstream.url)})
            async with (
                running(given) as gateway,
                gateway.session.post(gateway.url + paths[kind], json=body) as response,
            ):
                raw = (await response.read()).replace(b'": "', b'":"')
            assert f'"{fields[kind]}":"m"'.encode() in raw, (behind, raw[:300])
