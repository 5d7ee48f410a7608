"""Claude Code's calls in their order, with what it really sends (PROTOCOLS 7.3)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.clients import read
from tests.doors.lab import lab
from tests.doors.upstreams import CALLS, HELLO, KINDS, WEATHER, cut_short, play
from tests.replay.gateway import Running

BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,thinking-token-count-2026-05-13,"
    "context-management-2025-06-27,prompt-caching-scope-2026-01-05,"
    "mid-conversation-system-2026-04-07,effort-2025-11-24,context-1m-2025-08-07"
)
HEADERS = {
    "Authorization": "Bearer tok-test",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": BETAS,
    "anthropic-dangerous-direct-browser-access": "true",
    "x-app": "cli",
    "X-Claude-Code-Session-Id": "1ad2ee92-ef9c-457e-acc9-61959220be22",
    "User-Agent": "claude-cli/2.1.197 (external, sdk-cli)",
}


def question(model: str, *, stream: bool) -> dict[str, Any]:
    """Its own shape, with tools of some 60 kB."""
    tools = [
        {
            "name": f"Tool{n}",
            "description": "Does a thing. " * 150,
            "input_schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"path": {"type": "string", "description": "Where."}},
                "required": ["path"],
                "additionalProperties": False,
            },
        }
        for n in range(28)
    ]
    ephemeral = {"type": "ephemeral"}
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>\nNow.\n</system-reminder>\n\n"},
                    {"type": "text", "text": "say hi", "cache_control": ephemeral},
                ],
            },
            {"role": "system", "content": "Available agent types: none."},
        ],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197;"},
            {"type": "text", "text": "You are Claude Code.", "cache_control": ephemeral},
            {"type": "text", "text": "Be brief.", "cache_control": ephemeral},
        ],
        "tools": tools,
        "metadata": {"user_id": '{"device_id":"d","session_id":"s"}'},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
    }
    if stream:
        body["stream"] = True
    return body


async def ask(gateway: Running, body: dict[str, Any]) -> tuple[int, bytes]:
    async with gateway.session.post(
        gateway.url + "/v1/messages?beta=true", json=body, headers=HEADERS
    ) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("kind", KINDS)
async def test_head_models_and_a_stream(kind: str) -> None:
    async with lab(kind, play(kind, HELLO, True)) as (gateway, upstream):
        async with gateway.session.head(gateway.url + "/") as response:
            assert response.status == 200
            assert await response.read() == b""
        headers = {"x-api-key": "sk-ant-xx", "anthropic-version": "2023-06-01"}
        async with gateway.session.get(
            gateway.url + "/v1/models?limit=1000", headers=headers
        ) as response:
            listed = await response.json()
        assert {"data", "has_more", "first_id", "last_id"} <= listed.keys()
        assert listed["has_more"] is False
        for model in listed["data"]:
            assert model["type"] == "model"
            assert model["display_name"]
            assert model["created_at"]
        status, raw = await ask(gateway, question("auto", stream=True))
        assert status == 200
        found = read("anthropic", raw, stream=True)
        assert (found.text, found.finish, found.usage) == (HELLO.text, "stop", HELLO.usage)
        [received] = upstream.received
        sent = orjson.dumps(received.body)
        assert b"Be brief." in sent
        assert b"Tool27" in sent


@pytest.mark.parametrize("kind", KINDS)
async def test_the_meter_has_a_number_before_the_first_word(kind: str) -> None:
    async with lab(kind, play(kind, HELLO, True)) as (gateway, _):
        _, raw = await ask(gateway, question("lab/m", stream=True))
    first = orjson.loads(raw.split(b"\n")[1][6:])
    assert first["message"]["usage"]["input_tokens"] > 0


@pytest.mark.parametrize("kind", KINDS)
async def test_after_a_cut_stream_it_asks_for_the_whole(kind: str) -> None:
    cut = cut_short(kind)
    async with lab(kind, cut, play(kind, HELLO, False)) as (gateway, upstream):
        status, raw = await ask(gateway, question("lab/m", stream=True))
        assert status == 200
        last = raw.strip().split(b"\n\n")[-1]
        assert last.startswith(b"event: error\ndata: ")
        assert orjson.loads(last.split(b"data: ")[1])["error"]["type"] == "api_error"
        assert b"message_stop" not in raw
        status, raw = await ask(gateway, question("lab/m", stream=False))
        assert status == 200
        assert read("anthropic", raw, stream=False).text == HELLO.text
        assert len(upstream.received) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tool_is_called_and_its_result_comes_back(kind: str) -> None:
    async with lab(kind, play(kind, CALLS, True), play(kind, HELLO, True)) as (gateway, upstream):
        body = question("lab/m", stream=True)
        body["tools"].append(
            {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
        )
        _, raw = await ask(gateway, body)
        assert read("anthropic", raw, stream=True).calls[0] == (WEATHER.name, WEATHER.arguments)
        starts = [
            orjson.loads(one[6:])
            for one in raw.split(b"\n")
            if b"content_block_start" in one and one[:1] == b"d"
        ]
        calls = [
            one["content_block"] for one in starts if one["content_block"]["type"] == "tool_use"
        ]
        turn = [{"type": "tool_use", "id": c["id"], "name": c["name"], "input": {}} for c in calls]
        results = [
            {"type": "tool_result", "tool_use_id": calls[0]["id"], "content": "sunny"},
            {
                "type": "tool_result",
                "tool_use_id": calls[1]["id"],
                "content": [{"type": "text", "text": "no such city"}],
                "is_error": True,
                "cache_control": {"type": "ephemeral"},
            },
        ]
        body["messages"] += [
            {"role": "assistant", "content": turn},
            {"role": "user", "content": results},
        ]
        status, raw = await ask(gateway, body)
        assert status == 200
        assert read("anthropic", raw, stream=True).text == HELLO.text
        sent = orjson.dumps(upstream.received[1].body)
        assert b"sunny" in sent
        assert b"no such city" in sent


async def test_an_unknown_model_is_told_in_the_words_that_it_reads() -> None:
    async with lab("openai") as (gateway, _):
        status, raw = await ask(gateway, question("claude-none", stream=True))
    assert status == 404
    body = orjson.loads(raw)
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("version", [None, "2023-06-01", "2026-10-21", "2199-01-01", "soon"])
@pytest.mark.parametrize("header", ["x-api-key", "Authorization"])
async def test_either_header_has_the_key_and_any_version_and_beta_will_do(
    header: str, version: str | None
) -> None:
    """Where a code is asked for: the right one comes in and a wrong one does not."""
    codes = {"mine": {"code": "pm-mine"}}
    async with lab("openai", play("openai", HELLO, False), codes=codes) as (gateway, upstream):
        for code, status in (("pm-mine", 200), ("pm-other", 401)):
            headers = {header: code if header == "x-api-key" else f"Bearer {code}"}
            headers["anthropic-beta"] = "unheard-of-2199-01-01,another"
            if version is not None:
                headers["anthropic-version"] = version
            for path in ("/v1/messages", "/v1/messages/count_tokens"):
                async with gateway.session.post(
                    gateway.url + path, json=question("lab/m", stream=False), headers=headers
                ) as response:
                    told = await response.json()
                    assert response.status == status, told
            if status == 401:
                assert told["error"]["type"] == "authentication_error"
        assert len(upstream.received) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_what_needs_a_beta_at_anthropic_comes_with_it(stream: bool) -> None:
    """By what the body has; what the caller wrote into the header reaches nobody."""
    asked = question("lab/m", stream=stream)
    plain: dict[str, Any] = {
        "model": "lab/m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
    }
    assert "context_management" in asked
    async with lab("anthropic", play("anthropic", HELLO, stream)) as (gateway, upstream):
        for body in (asked, plain):
            async with gateway.session.post(
                gateway.url + "/v1/messages", json=body, headers=HEADERS
            ) as response:
                assert response.status == 200, await response.text()
                await response.read()
        managed, bare = upstream.received
        assert managed.body["context_management"] == asked["context_management"]
        assert managed.headers["anthropic-beta"] == (
            "context-management-2025-06-27,mid-conversation-system-2026-04-07"
        )
        assert "anthropic-beta" not in bare.headers
        assert managed.headers["anthropic-version"] == "2023-06-01"
