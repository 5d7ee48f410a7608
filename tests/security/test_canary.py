"""Secrets are planted everywhere, then everything that leaves the gateway is searched for them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.monitor import logs
from gateway.settings import Log
from tests.doors.clients import path, question
from tests.replay.gateway import ADMIN, running, settings
from tests.replay.server import Play, ReplayServer

KEY = "sk-canary-provider-key-0001"
PROMPT = "canary-prompt-0002"
ANSWER = "canary-answer-0003"
TOKEN = ADMIN["Authorization"].removeprefix("Bearer ")
DOORS = ("openai", "anthropic", "gemini", "ollama")


def echo(status: int) -> Play:
    """An upstream that repeats the key that it was sent, as some do."""
    said = {"error": {"message": f"Incorrect API key provided: {KEY}.", "type": "t", "code": KEY}}
    return Play(orjson.dumps(said), status, "application/json")


def in_stream() -> Play:
    chunk = {"choices": [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": None}]}
    fault = {"error": {"message": f"key {KEY} is gone", "type": "server_error"}}
    body = b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in (chunk, fault))
    return Play(body, 200, "text/event-stream")


def contents(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.iterdir()]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_no_secret_leaves_by_an_error(status: int, stream: bool, tmp_path: Path) -> None:
    seen: list[bytes] = []
    given = Log(debug=True, format="json", folder=str(tmp_path))
    out = (tmp_path / "out").open("w")
    lines = logs.start(given, out)
    async with ReplayServer(*[echo(status) for _ in range(20)]) as upstream:
        tree = settings(
            providers={
                "easy": {"kind": "openai", "base_url": upstream.url + "/v1", "api_key": KEY},
                "hard": {"kind": "anthropic", "base_url": upstream.url, "api_key": KEY},
            },
            attempts={"per_target": 1},
            log={"debug": True},
        )
        async with running(tree) as gateway:
            gateway.services.recorder.books.append(lines.access.add)
            for door in DOORS:
                for model in ("easy/m", "auto"):
                    body = question(door, PROMPT, stream=stream, model=model)
                    async with gateway.session.post(
                        gateway.url + path(door, stream=stream, model=model), json=body
                    ) as response:
                        seen.append(await response.read())
                        seen.append(repr(dict(response.headers)).encode())
                        assert response.status >= 400
            for place in ("/health", "/readyz", "/metrics", "/v1/models", "/monitoring"):
                async with gateway.session.get(gateway.url + place, headers=ADMIN) as response:
                    seen.append(await response.read())
            assert upstream.received, "somebody was asked"
            assert any(KEY in repr(one.headers) for one in upstream.received), "with the key"
    lines.stop()
    out.close()
    written = contents(tmp_path)
    assert any(written), "something was logged"
    for secret in (KEY, TOKEN):
        for found in (*seen, *written):
            assert secret.encode() not in found, found[:500]
    for found in written:
        assert PROMPT.encode() not in found, "prompts are not logged"


async def test_no_secret_leaves_in_mid_stream() -> None:
    async with ReplayServer(*[in_stream() for _ in DOORS]) as upstream:
        lab: dict[str, Any] = {"kind": "openai", "base_url": upstream.url + "/v1", "api_key": KEY}
        async with running(settings(providers={"lab": lab})) as gateway:
            for door in DOORS:
                body = question(door, PROMPT, stream=True, model="lab/m")
                async with gateway.session.post(
                    gateway.url + path(door, stream=True, model="lab/m"), json=body
                ) as response:
                    raw = await response.read()
                assert ANSWER.encode() in raw
                assert KEY.encode() not in raw
                assert b"[hidden]" in raw


async def test_no_secret_stands_in_the_words_of_an_object(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a traceback or a debugger would show."""
    async with ReplayServer() as upstream:
        lab: dict[str, Any] = {"kind": "openai", "base_url": upstream.url + "/v1", "api_key": KEY}
        with caplog.at_level(logging.DEBUG):
            async with running(settings(providers={"lab": lab})) as gateway:
                for part in (
                    gateway.services.registry.providers["lab"].row,
                    gateway.services.accounts,
                    gateway.services.identity,
                ):
                    assert KEY not in repr(part)
                    assert TOKEN not in repr(part)
                await asyncio.sleep(0)
        assert KEY not in caplog.text
