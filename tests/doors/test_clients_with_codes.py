"""Copilot and Open WebUI, call by call in their order: without any key on an open machine, with
an app code as the key, and what they are told where a code is needed and they have none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doors.clients import read as read_as
from tests.doors.lab import lab
from tests.doors.test_copilot import body_for, discover, read
from tests.doors.test_open_webui import HI, chunks_of
from tests.doors.upstreams import HELLO, KINDS, play

CODE = "pm-desk"
CODES = {"desk": {"code": CODE}}
# Who has no key: nobody needs one; he needs none although there are codes; he has one.
MODES: dict[str, tuple[dict[str, Any], str]] = {
    "keyless": ({}, ""),
    "open beside codes": ({"codes": CODES, "access": {"open": True}}, ""),
    "a code on an open machine": ({"codes": CODES, "access": {"open": True}}, CODE),
    "a code where one is needed": ({"codes": CODES, "access": {"open": False}}, CODE),
}
NEEDED = MODES["a code where one is needed"][0]
modes = pytest.mark.parametrize(("tree", "key"), MODES.values(), ids=MODES)


def bearer(key: str) -> dict[str, str]:
    # Both send the header with nothing behind it where the user set no key.
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("mode", ["keyless", "open beside codes"])
@pytest.mark.parametrize("kind", KINDS)
async def test_copilots_ollama_provider_needs_no_key_on_an_open_machine(
    kind: str, mode: str
) -> None:
    """It sends none to find the models, and an empty one to talk."""
    tree, key = MODES[mode]
    async with lab(kind, play(kind, HELLO, True), **tree) as (gateway, _):
        models = await discover(gateway, gateway.url)
        assert models
        for name in models:
            async with gateway.session.post(
                gateway.url + "/v1/chat/completions", json=body_for(name), headers=bearer(key)
            ) as response:
                assert response.status == 200
                assert read(await response.read()) == (HELLO.text, [], "stop")


async def test_where_a_code_is_needed_copilots_ollama_provider_is_told_so() -> None:
    """It asks for the version first, which is open; its list needs a key that it cannot send."""
    async with lab("openai", play("openai", HELLO, True), **NEEDED) as (gateway, upstream):
        async with gateway.session.get(gateway.url + "/api/version") as response:
            assert response.status == 200
        for method, where in (("GET", "/api/tags"), ("POST", "/api/show")):
            async with gateway.session.request(
                method, gateway.url + where, json={"model": "lab/m"}
            ) as response:
                assert response.status == 401
                told = (await response.json())["error"]
                assert told.startswith("unauthorized: A key is needed here")
        async with gateway.session.post(
            gateway.url + "/v1/chat/completions", json=body_for("lab/m"), headers=bearer("")
        ) as response:
            assert response.status == 401
            assert (await response.json())["error"]["code"] == "invalid_api_key"
        assert upstream.received == []


async def test_with_open_lists_copilot_finds_models_and_talks_with_a_code() -> None:
    tree = {**NEEDED, "access": {"open": False, "open_lists": True}}
    async with lab("openai", play("openai", HELLO, True), **tree) as (gateway, upstream):
        assert "lab/m:latest" in await discover(gateway, gateway.url)
        for key, status in ((CODE, 200), ("", 401)):
            async with gateway.session.post(
                gateway.url + "/v1/chat/completions", json=body_for("lab/m"), headers=bearer(key)
            ) as response:
                assert response.status == status
        assert len(upstream.received) == 1


async def test_open_lists_open_nothing_but_lists() -> None:
    tree = {**NEEDED, "access": {"open": False, "open_lists": True}}
    async with lab("openai", **tree) as (gateway, upstream):
        for path in ("/v1/models", "/v1/models/lab/m", "/models", "/v1beta/models", "/api/ps"):
            async with gateway.session.get(gateway.url + path) as response:
                assert response.status == 200, path
        for method, path in (
            ("GET", "/codes"),
            ("GET", "/usage"),
            ("GET", "/jobs"),
            ("POST", "/api/chat"),
            ("POST", "/api/pull"),
            ("POST", "/v1/models/lab/m:generateContent"),
            ("POST", "/v1/messages/count_tokens"),
        ):
            async with gateway.session.request(method, gateway.url + path, json={}) as response:
                assert response.status == 401, path
        assert upstream.received == []


@modes
@pytest.mark.parametrize("kind", KINDS)
async def test_copilots_custom_endpoint_in_its_three_languages(
    kind: str, tree: dict[str, Any], key: str
) -> None:
    """With how hard to think where each of them says it."""
    turns = [{"role": "user", "content": "Hi"}]
    calls: tuple[tuple[str, str, dict[str, str], dict[str, Any]], ...] = (
        (
            "openai",
            "/v1/chat/completions",
            bearer(key),
            {
                "messages": turns,
                "reasoning_effort": "low",
                "stream_options": {"include_usage": True},
            },
        ),
        (
            "responses",
            "/v1/responses",
            bearer(key),
            {"input": turns, "reasoning": {"effort": "low"}, "store": False},
        ),
        (
            "anthropic",
            "/v1/messages",
            {"x-api-key": key, "anthropic-version": "2023-06-01"},
            {"messages": turns, "max_tokens": 4096, "output_config": {"effort": "low"}},
        ),
    )
    async with lab(kind, play(kind, HELLO, True), **tree) as (gateway, upstream):
        for language, where, headers, body in calls:
            async with gateway.session.post(
                gateway.url + where,
                json={"model": "lab/m", "stream": True, **body},
                headers=headers,
            ) as response:
                raw = await response.read()
                assert response.status == 200, raw
            found = read_as(language, raw, stream=True)
            assert (found.text, found.finish, found.usage) == (HELLO.text, "stop", HELLO.usage)
        assert len(upstream.received) == len(calls)


@modes
@pytest.mark.parametrize("kind", KINDS)
async def test_open_webuis_ollama_connection(kind: str, tree: dict[str, Any], key: str) -> None:
    """Tags, what is loaded, the version, then the chat; its key goes with each."""
    headers = bearer(key)
    async with lab(kind, play(kind, HELLO, True), **tree) as (gateway, _):
        for where, field in (("/api/tags", "models"), ("/api/ps", "models"), ("/api/version", "")):
            async with gateway.session.get(gateway.url + where, headers=headers) as response:
                assert response.status == 200
                told = await response.json()
            if where == "/api/tags":
                names = [one["model"] for one in told[field]]
        assert "lab/m:latest" in names
        body = {"model": "lab/m:latest", "messages": HI, "stream": True, "keep_alive": "5m"}
        async with gateway.session.post(
            gateway.url + "/api/chat", json=body, headers=headers
        ) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "application/x-ndjson"
            text, calls, usage = chunks_of(await response.read())
        assert (text, calls) == (HELLO.text, [])
        assert usage == {"input": HELLO.usage[0], "output": HELLO.usage[1]}


@modes
@pytest.mark.parametrize("kind", KINDS)
async def test_open_webuis_openai_connection(kind: str, tree: dict[str, Any], key: str) -> None:
    headers = bearer(key)
    async with lab(kind, play(kind, HELLO, True), **tree) as (gateway, _):
        async with gateway.session.get(gateway.url + "/v1/models", headers=headers) as response:
            assert response.status == 200
            names = [model["id"] for model in (await response.json())["data"]]
        assert "lab/m" in names
        body = {"model": "lab/m", "messages": HI, "stream": True}
        async with gateway.session.post(
            gateway.url + "/v1/chat/completions", json=body, headers=headers
        ) as response:
            assert response.status == 200
            assert "text/event-stream" in response.headers["Content-Type"]
            assert read(await response.read()) == (HELLO.text, [], "stop")


async def test_a_wrong_code_is_told_in_the_words_that_open_webui_shows() -> None:
    async with lab("openai", play("openai", HELLO, True), **NEEDED) as (gateway, upstream):
        headers = bearer("pm-somebody")
        for where in ("/api/tags", "/api/ps", "/v1/models"):
            async with gateway.session.get(gateway.url + where, headers=headers) as response:
                assert response.status == 401
                told = (await response.json())["error"]
                assert told if isinstance(told, str) else told["message"]
        body = {"model": "lab/m", "messages": HI, "stream": True}
        for where in ("/api/chat", "/v1/chat/completions"):
            async with gateway.session.post(
                gateway.url + where, json=body, headers=headers
            ) as response:
                assert response.status == 401
        assert upstream.received == []
