"""Open WebUI's calls in their order: an Ollama connection, then an OpenAI connection."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.lab import lab
from tests.doors.upstreams import CALLS, HELLO, KINDS, Said, play, refusal
from tests.replay.gateway import Running

HI = [{"role": "user", "content": "Hi"}]


def chunks_of(raw: bytes) -> tuple[str, list[dict[str, Any]], dict[str, int]]:
    """What its converter of NDJSON makes of a stream: text, calls, usage."""
    text, usage = "", {}
    calls: list[dict[str, Any]] = []
    for line in raw.split(b"\n"):
        if not line:
            continue
        data = orjson.loads(line)
        assert "message" in data, "it renders a line without a message as the end"
        text += data["message"].get("content", "")
        calls += data["message"].get("tool_calls") or []
        if data.get("done", False):
            usage = {"input": data["prompt_eval_count"], "output": data["eval_count"]}
    return text, calls, usage


async def get(gateway: Running, path: str) -> Any:
    async with gateway.session.get(gateway.url + path) as response:
        assert response.status == 200
        return await response.json()


@pytest.mark.parametrize("said", [HELLO, CALLS], ids=["text", "calls"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_ollama_connection(kind: str, said: Said) -> None:
    async with lab(kind, play(kind, said, True)) as (gateway, upstream):
        models = {one["model"]: one for one in (await get(gateway, "/api/tags"))["models"]}
        loaded = (await get(gateway, "/api/ps"))["models"]
        assert not {one["model"] for one in loaded} - models.keys()
        assert (await get(gateway, "/api/version"))["version"]
        # It finds no model without a tag, and adds one where there is none.
        assert all(":" in name for name in models)
        assert all({"name", "size", "digest", "details"} <= one.keys() for one in models.values())
        body = {
            "model": "lab/m:latest",
            "messages": HI,
            "stream": True,
            "options": {"temperature": 0.2, "num_ctx": 4096, "stop": ["END"]},
            "keep_alive": "5m",
        }
        async with gateway.session.post(
            gateway.url + "/api/chat",
            data=orjson.dumps(body),
            headers={"Content-Type": "application/json", "X-OpenWebUI-User-Name": "Ann"},
        ) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "application/x-ndjson"
            text, calls, usage = chunks_of(await response.read())
        assert text == said.text
        assert [call["function"]["arguments"] for call in calls] == [
            call.arguments for call in said.calls
        ]
        assert usage == {"input": said.usage[0], "output": said.usage[1]}
        assert len(upstream.received) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_the_openai_connection(kind: str) -> None:
    async with lab(kind, play(kind, HELLO, True)) as (gateway, _):
        names = [model["id"] for model in (await get(gateway, "/v1/models"))["data"]]
        assert names == ["auto", "lab/m"]
        body = {"model": names[1], "messages": HI, "stream": True}
        async with gateway.session.post(
            gateway.url + "/v1/chat/completions", json=body, headers={"Authorization": "Bearer "}
        ) as response:
            # By this it knows that a stream follows.
            assert "text/event-stream" in response.headers["Content-Type"]
            assert (await response.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(("path", "where"), [("/api/chat", "error"), ("/v1/chat/completions", "")])
async def test_errors_and_the_wait_of_a_limit_reach_it(path: str, where: str) -> None:
    plays = refusal("openai", 429, **{"Retry-After": "9"})
    async with lab("openai", plays) as (gateway, _):
        body = {"model": "lab/m", "messages": HI, "stream": True}
        async with gateway.session.post(gateway.url + path, json=body) as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "9"
            error = (await response.json())["error"]
            assert isinstance(error, str) if where else error["message"]
