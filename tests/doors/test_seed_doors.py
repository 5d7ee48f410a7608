"""The doors of the frontends that were here before, with the shapes that they know."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.upstreams import BASES, HELLO, KEY, KINDS, Said, play, refusal
from tests.replay.gateway import Answer, Running, running, settings
from tests.replay.server import ReplayServer

MESSAGES = [{"role": "user", "content": "Hello!"}]
PROVIDERS = {"gpt": "openai", "claude": "anthropic", "gemini": "gemini"}


def environment(name: str, url: str) -> dict[str, str]:
    """Variables as seed 001 names them."""
    upper = PROVIDERS[name].upper()
    return {
        f"{upper}_API_KEY": KEY,
        f"{upper}_BASE_URL": url + BASES[PROVIDERS[name]],
        f"{upper}_MODEL_DEFAULT": "first",
        f"{upper}_MODEL_FALLBACK": "second, third",
    }


async def post(gateway: Running, path: str, body: Any) -> Answer:
    async with gateway.session.post(gateway.url + path, json=body) as response:
        return Answer(response.status, response.headers, await response.read())


def asked_models(upstream: ReplayServer) -> list[str]:
    return [
        one.body.get("model") or one.path.rpartition("/")[2].partition(":")[0]
        for one in upstream.received
    ]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_the_backend_chooses_the_model_and_names_it_in_the_stream(name: str) -> None:
    async with ReplayServer(play(PROVIDERS[name], HELLO, True, chunk=7)) as upstream:
        async with running(settings(), environment(name, upstream.url)) as gateway:
            body = {"messages": MESSAGES, "model": "what-the-frontend-likes"}
            answer = await post(gateway, f"/chat/{name}", body)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.text == HELLO.text
        assert {event["model"] for event in answer.events} >= {"first"}
        assert answer.closing["finish_reason"] == "stop"
        assert answer.route["target"] == f"{PROVIDERS[name]}/first"
        assert asked_models(upstream) == ["first"]


@pytest.mark.parametrize("status", [404, 429, 503])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_the_fallback_model_answers_when_the_default_fails(name: str, status: int) -> None:
    kind = PROVIDERS[name]
    async with ReplayServer(refusal(kind, status), play(kind, HELLO, True)) as upstream:
        given = settings(attempts={"per_target": 1})
        async with running(given, environment(name, upstream.url)) as gateway:
            answer = await post(gateway, f"/chat/{name}", {"messages": MESSAGES})
        assert answer.status == 200
        assert answer.text == HELLO.text
        assert answer.events[0]["model"] == "second"
        assert asked_models(upstream) == ["first", "second"]


@pytest.mark.parametrize("listed", ["", "mine/one, mine/two"])
async def test_togethers_primary_model_and_the_list_behind_it(listed: str) -> None:
    """Seed 002: its model, and fallback models of the catalog or of one's own."""
    primary = "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo"
    behind = listed.split(", ") if listed else ["meta-llama/Llama-3.3-70B-Instruct-Turbo"]
    plays = [*(refusal("openai", 503) for _ in behind), play("openai", HELLO, True)]
    variables = {"TOGETHER_AI_API_KEY": KEY, "TOGETHER_MODEL_FALLBACK": listed}
    async with ReplayServer(*plays) as upstream:
        variables["TOGETHER_BASE_URL"] = upstream.url + "/v1"
        async with running(settings(attempts={"per_target": 1}), variables) as gateway:
            answer = await post(gateway, "/chat/together", {"messages": MESSAGES})
        assert answer.text == HELLO.text
        assert answer.route["target"] == f"together/{behind[-1]}"
        assert asked_models(upstream) == [primary, *behind]
        assert upstream.received[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_wrong_question_is_not_tried_with_another_model() -> None:
    wrong: list[Any] = [{}, [], {"messages": []}, {"messages": [{"role": "x", "content": "y"}]}]
    async with (
        ReplayServer(refusal("openai", 400)) as upstream,
        running(settings(), environment("gpt", upstream.url)) as gateway,
    ):
        answer = await post(gateway, "/chat/gpt", {"messages": MESSAGES})
        assert answer.status == 400
        assert len(upstream.received) == 1
        for body in wrong:
            answer = await post(gateway, "/chat/gpt", body)
            assert answer.status == 400
            assert answer.json["error"]["message"]
        assert len(upstream.received) == 1


async def test_an_unknown_provider_is_404_and_names_those_there_are() -> None:
    async with running(settings(), environment("gpt", "http://127.0.0.1:9")) as gateway:
        answer = await post(gateway, "/chat/nobody", {"messages": MESSAGES})
        assert answer.status == 404
        assert "gpt" in answer.json["error"]["message"]
        answer = await post(gateway, "/chat/claude", {"messages": MESSAGES})
        assert answer.status == 404
        assert "ANTHROPIC_API_KEY" in answer.json["error"]["message"]


async def test_the_health_of_a_provider() -> None:
    async with (
        ReplayServer(play("openai", HELLO, True)) as upstream,
        running(
            settings(),
            {**environment("gpt", upstream.url), "OLLAMA_BASE_URL": "http://127.0.0.1:9"},
        ) as gateway,
    ):
        await gateway.services.looked.wait()
        for path, status, word in (
            ("/health/gpt", 200, "healthy"),
            ("/health/openai", 200, "healthy"),
            ("/health/claude", 503, "off"),
            ("/health/ollama", 503, "unhealthy"),
        ):
            async with gateway.session.get(gateway.url + path) as response:
                assert response.status == status, path
                assert (await response.json())["status"] == word
        async with gateway.session.get(gateway.url + "/health/nobody") as response:
            assert response.status == 404


FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "color_list",
        "schema": {
            "type": "object",
            "properties": {"colors": {"type": "array", "items": {"type": "string"}}},
            "required": ["colors"],
        },
    },
}


@pytest.mark.parametrize("path", ["/chat/completions", "/chat/completions/stream"])
@pytest.mark.parametrize("provider", ["openai", "ollama"])
async def test_the_body_names_the_provider(provider: str, path: str) -> None:
    """The payload of seed 003, word for word."""
    streams = path.endswith("stream")
    said = Said(pieces=('{"colors": ["red",', ' "green", "blue"]}'))
    async with ReplayServer(play(provider, said, streams)) as upstream:
        variables = {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": upstream.url + "/v1",
            "OLLAMA_BASE_URL": upstream.url,
        }
        async with running(settings(), variables) as gateway:
            body = {
                "provider": provider,
                "model": "gpt-4o-mini",
                "messages": [
                    {"role": "system", "content": "You are a helpful assistant."},
                    {"role": "user", "content": "List three colors."},
                ],
                "response_format": FORMAT,
            }
            answer = await post(gateway, path, body)
        assert answer.status == 200
        if streams:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert answer.raw.endswith(b"data: [DONE]\n\n")
        else:
            assert answer.json["choices"][0]["message"]["content"] == said.text
        [received] = upstream.received
        assert received.body["model"] == "gpt-4o-mini"
        assert "provider" not in received.body
        schema = FORMAT["json_schema"]["schema"]  # type: ignore[index]
        sent = received.body["response_format" if provider == "openai" else "format"]
        assert orjson.dumps(schema["required"]) in orjson.dumps(sent)


async def test_a_provider_alone_means_its_default_model() -> None:
    async with ReplayServer(play("ollama", HELLO, False)) as upstream:
        variables = {"OLLAMA_BASE_URL": upstream.url, "OLLAMA_MODEL_DEFAULT": "gpt-oss:20b"}
        async with running(settings(), variables) as gateway:
            body: dict[str, Any] = {"provider": "ollama", "messages": MESSAGES}
            assert (await post(gateway, "/chat/completions", body)).status == 200
            assert upstream.received[0].body["model"] == "gpt-oss:20b"
            answer = await post(gateway, "/chat/completions", {**body, "provider": "nobody"})
            assert answer.status == 400
            assert answer.json["error"]["param"] == "provider"
            answer = await post(gateway, "/chat/completions", {**body, "provider": "openai"})
            assert answer.status == 404
            assert "OPENAI_API_KEY" in answer.json["error"]["message"]


async def test_models_are_found_from_ollama_and_openai() -> None:
    async with ReplayServer() as upstream:
        upstream.answers["/v1/models"] = b'{"data": [{"id": "gpt-4o-mini"}]}'
        upstream.answers["/api/tags"] = b'{"models": [{"model": "gpt-oss:20b"}]}'
        variables = {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": upstream.url + "/v1",
            "OLLAMA_BASE_URL": upstream.url,
        }
        async with (
            running(settings(), variables) as gateway,
            gateway.session.get(gateway.url + "/models") as response,
        ):
            told = await response.json()
        assert "gpt-4o-mini" in told["openai"]
        assert "gpt-oss:20b" in told["ollama"]
        assert "openai/gpt-4o-mini" in [model["id"] for model in told["data"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_any_provider_has_such_a_door(kind: str) -> None:
    async with ReplayServer(play(kind, HELLO, True)) as upstream:
        tree = {
            "kind": kind,
            "base_url": upstream.url + BASES[kind],
            "api_key": KEY,
            "default_model": "d",
        }
        async with running(settings(providers={"lab": tree})) as gateway:
            answer = await post(gateway, "/chat/lab", {"messages": MESSAGES})
        assert answer.text == HELLO.text
        assert answer.events[0]["model"] == "d"
