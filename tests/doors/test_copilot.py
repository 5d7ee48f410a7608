"""VS Code Copilot with its Ollama provider: its calls in its order, read by its rules.

The rules are those of the extension's source (PROTOCOLS 7.1): discovery over Ollama's API without
a key, chat over OpenAI's with an empty one, and a reader of its own.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.lab import PARAMETERS, lab
from tests.doors.upstreams import CALLS, HELLO, KINDS, Said, cut_short, play, provider
from tests.replay.gateway import Running, running, settings
from tests.replay.server import ReplayServer

TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
HEADERS = {
    # The key is empty unless the user sets one.
    "Authorization": "Bearer ",
    "X-Request-Id": "4e0c6b1e-7d4c-4a39-9f9e-0d1c7a1f6a52",
    "OpenAI-Intent": "conversation-agent",
    "X-GitHub-Api-Version": "2025-05-01",
    "X-Interaction-Type": "conversation-agent",
}


async def discover(gateway: Running, base: str) -> dict[str, dict[str, Any]]:
    """Version, tags, then one show after the other. Names and what Copilot makes of them."""
    async with gateway.session.get(f"{base}/api/version") as response:
        version = (await response.json())["version"]
    assert tuple(int(part) for part in version.split(".")) >= (0, 6, 4)
    async with gateway.session.get(f"{base}/api/tags") as response:
        names = [model["model"] for model in (await response.json())["models"]]
    found = {}
    for name in names:
        async with gateway.session.post(f"{base}/api/show", json={"model": name}) as response:
            shown = await response.json()
        info = shown["model_info"]
        context = info.get(f"{info['general.architecture']}.context_length", 32768)
        output = context // 2 if context < 4096 else 4096
        found[name] = {
            "name": info.get("general.basename") or shown.get("remote_model") or name,
            "tools": "tools" in shown["capabilities"],
            "vision": "vision" in shown["capabilities"],
            "input": context - output,
            "output": output,
        }
    return found


def body_for(model: str, **more: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "You are an AI programming assistant."},
            {"role": "user", "content": "Hi"},
        ],
        "model": model,
        "temperature": 0.1,
        "top_p": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "n": 1,
        **more,
    }


def read(raw: bytes) -> tuple[str, list[dict[str, str]], str | None]:
    """Text, calls and finish, as the extension's reader finds them; raises where it does."""
    text, finish = "", None
    calls: list[dict[str, str]] = []
    for line in raw.decode().split("\n"):
        line = line.strip()
        if not line or line.startswith(":"):
            continue
        data = line[len("data:") :].strip()
        if data == "[DONE]":
            break
        chunk = orjson.loads(data)
        if not chunk.get("choices") and chunk.get("error"):
            raise ValueError(chunk["error"]["message"])
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            text += delta.get("content") or ""
            for call in delta.get("tool_calls") or ():
                # By id; without one, to the last call, whatever its index says.
                if call.get("id") and call["id"] not in [one["id"] for one in calls]:
                    calls.append({"id": call["id"], "name": "", "arguments": ""})
                calls[-1]["name"] += call["function"].get("name") or ""
                calls[-1]["arguments"] += call["function"].get("arguments") or ""
            finish = choice.get("finish_reason") or finish
    return text, calls, finish


async def chat(gateway: Running, url: str, body: dict[str, Any]) -> bytes:
    async with gateway.session.post(url, json=body, headers=HEADERS) as response:
        assert response.status == 200, await response.read()
        return await response.read()


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("kind", KINDS)
async def test_it_finds_the_models_and_talks_with_each(kind: str, slash: str) -> None:
    """Also where the user wrote the base URL with a slash behind it."""
    async with lab(kind, play(kind, HELLO, True)) as (gateway, upstream):
        base = gateway.url + slash
        models = await discover(gateway, base)
        assert len({model["name"] for model in models.values()}) == len(models) == 2
        for name, model in models.items():
            assert model["tools"]
            assert model["input"] > 0
            for path in ("/v1/chat/completions", "/chat/completions"):
                raw = await chat(gateway, base + path, body_for(name))
                assert read(raw) == (HELLO.text, [], "stop")
                assert b"\r" not in raw
        # An Ollama is asked what its model can do, too.
        chats = [one for one in upstream.received if one.path != "/api/show"]
        assert len(chats) == 4


@pytest.mark.parametrize("kind", KINDS)
async def test_its_reader_gets_whole_calls_with_ids_of_their_own(kind: str) -> None:
    async with lab(kind, play(kind, CALLS, True)) as (gateway, _):
        body = body_for("auto:latest", tools=[TOOL], tool_choice="auto")
        text, calls, finish = read(await chat(gateway, gateway.url + "/v1/chat/completions", body))
    assert text == CALLS.text
    assert finish == "tool_calls"
    assert len({call["id"] for call in calls}) == 2
    assert [(call["name"], orjson.loads(call["arguments"])) for call in calls] == [
        (call.name, call.arguments) for call in CALLS.calls
    ]


async def test_its_reader_sees_an_error_in_mid_stream() -> None:
    broken = cut_short("openai")
    async with lab("openai", broken) as (gateway, _):
        raw = await chat(gateway, gateway.url + "/v1/chat/completions", body_for("auto:latest"))
        with pytest.raises(ValueError, match="cut"):
            read(raw)


async def test_over_a4f_with_its_list_of_models_kept() -> None:
    """Seed 000: the middleware between Copilot and A4F, whose names have a slash in them."""
    async with ReplayServer(play("openai", HELLO, True)) as upstream:
        upstream.answers["/v1/models"] = (
            b'{"data": [{"id": "provider-1/gpt-4o"}, {"id": "provider-3/qwen:7b"}]}'
        )
        variables = {"A4F_API_KEY": "ddc-x", "A4F_BASE_URL": upstream.url + "/v1"}
        async with running(settings(), variables) as gateway:
            models = await discover(gateway, gateway.url)
            assert "a4f/provider-1/gpt-4o:latest" in models
            assert "a4f/provider-3/qwen:7b" in models
            assert models["a4f/provider-1/gpt-4o:latest"]["vision"]
            # The list was asked for once, by the gateway, and is kept when A4F fails.
            upstream.answers["/v1/models"] = b"no JSON"
            await gateway.services.registry.look()
            gateway.services.directory.refresh()
            assert await discover(gateway, gateway.url) == models
            for name in ("a4f/provider-1/gpt-4o:latest", "provider-1/gpt-4o"):
                raw = await chat(gateway, gateway.url + "/v1/chat/completions", body_for(name))
                assert read(raw) == (HELLO.text, [], "stop")
            assert {one.body["model"] for one in upstream.received} == {"provider-1/gpt-4o"}
            assert upstream.received[0].headers["authorization"] == "Bearer ddc-x"


async def test_a_model_that_cannot_see_or_call_tools_says_so() -> None:
    listed = {
        "data": [
            {
                "id": "blind",
                "context_length": 4000,
                "architecture": {"input_modalities": ["text"]},
                "supported_parameters": ["temperature"],
            },
            {
                "id": "sees",
                "context_length": 64000,
                "architecture": {"input_modalities": ["text", "image"]},
                "supported_parameters": ["tools", "reasoning"],
            },
        ]
    }
    async with ReplayServer(play("openai", Said(), True)) as upstream:
        upstream.answers["/v1/models"] = orjson.dumps(listed)
        tree = provider("openai", upstream.url, models=[], check="/models")
        async with running(settings(providers={"lab": tree})) as gateway:
            models = await discover(gateway, gateway.url)
    blind, sees = models["lab/blind:latest"], models["lab/sees:latest"]
    assert (blind["tools"], blind["vision"], blind["input"], blind["output"]) == (
        False,
        False,
        2000,
        2000,
    )
    assert (sees["tools"], sees["vision"], sees["input"]) == (True, True, 64000 - 4096)
