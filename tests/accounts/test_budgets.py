"""Money: never more is spent than a budget has, whoever asks at once and wherever it is counted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.accounts.processes import gateway, gateways
from tests.replay.server import Play, ReplayServer
from tests.store import servers

JSON = "application/json"
ADMIN = {"Authorization": "Bearer the-operator"}
OUT = 1000
"""Tokens of each answer, at 30 for a million: 0.03."""
PRICE = Decimal("0.030003")


def answer() -> bytes:
    counts = {"prompt_tokens": 3, "completion_tokens": OUT, "total_tokens": 3 + OUT}
    return orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello"},
                    "finish_reason": "stop",
                }
            ],
            "usage": counts,
        }
    )


def toml(upstream: str, redis: str = "") -> str:
    return f"""
[classifier]
url = "http://127.0.0.1:1"
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[routes.auto]
local = ["lab/m"]
[access]
admin_token = "the-operator"
[prices."lab/m"]
input = 1
output = 30
[codes.app]
code = "the-app"
budget_day = 1.00
[codes.other]
code = "the-other"
[store]
redis = "{redis}"
"""


async def ask(url: str, **body: Any) -> tuple[int, dict[str, Any]]:
    question = {"model": "lab/m", "messages": [{"role": "user", "content": "Hi"}], **body}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url + "/v1/chat/completions",
            json=question,
            headers={"Authorization": "Bearer the-app"},
        ) as told,
    ):
        return told.status, await told.json()


async def spent(url: str) -> Decimal:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url + "/codes", headers=ADMIN) as told,
    ):
        codes = (await told.json())["codes"]
    [used] = [code["used"] for code in codes if code["name"] == "app"]
    assert used["running"] == 0
    return Decimal(used["day"]["cost"])


async def standing(url: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url + "/codes", headers=ADMIN) as told,
    ):
        [used] = [code["used"] for code in (await told.json())["codes"] if code["name"] == "app"]
    return dict(used)


async def fifty(urls: list[str]) -> list[int]:
    told = await asyncio.gather(*(ask(urls[n % len(urls)], max_tokens=OUT) for n in range(50)))
    return [status for status, _ in told]


async def bought(folder: Path, *arguments: str, redis: str = "", processes: int = 1) -> None:
    play = Play(answer(), content_type=JSON, before_s=0.3)
    async with (
        ReplayServer(play) as upstream,
        gateways(folder, toml(upstream.url, redis), processes, *arguments) as started,
    ):
        urls = [one.url for one in started]
        assert set(await fifty(urls)) == {200, 429}
        # What was held is free again, so that the rest of the budget can be spent, too.
        status = 200
        for _ in range(40):
            status, _told = await ask(urls[0], max_tokens=OUT)
            if status == 429:
                break
        assert status == 429
        cost = await spent(urls[-1])
        assert cost == len(upstream.received) * PRICE
        assert Decimal("0.93") < cost <= 1


async def test_fifty_at_once_never_spend_more_than_the_budget(tmp_path: Path) -> None:
    await bought(tmp_path)


async def test_nor_with_three_workers_and_nothing_else(tmp_path: Path) -> None:
    await bought(tmp_path, "--workers", "3")


async def test_nor_with_two_gateways_and_a_redis(tmp_path: Path) -> None:
    with servers.redis(tmp_path / "redis") as redis:
        await bought(tmp_path, redis=redis, processes=2)


def failing_toml(upstream: str, redis: str) -> str:
    """Two targets that hedge, and retries."""
    given = toml(upstream, redis).replace(
        'local = ["lab/m"]', 'local = ["lab/m", "lab/n"]\nhedge_after_ms = 60'
    )
    return given.replace(
        "[access]", "[attempts]\nhedge_share = 1\nretry_share = 10\nbackoff_ms = 1\n[access]"
    ).replace('[prices."lab/m"]', '[prices."lab/*"]')


@pytest.mark.parametrize("shared", [False, True])
async def test_nor_with_retries_hedges_and_answers_that_are_mended(
    tmp_path: Path, shared: bool
) -> None:
    """Every attempt that is answered costs; the second one of a hedge, and one whose JSON is
    none, asked twice and then for another target's."""
    slow = Play(answer(), content_type=JSON, before_s=0.15)
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(servers.redis(tmp_path / "redis")) if shared else ""
        upstream = await stack.enter_async_context(ReplayServer(slow))
        one = await stack.enter_async_context(gateway(tmp_path, failing_toml(upstream.url, redis)))
        wish = {"response_format": {"type": "json_object"}, "model": "auto"}
        told = await asyncio.gather(*(ask(one.url, max_tokens=OUT, **wish) for _ in range(50)))
        # "Hello" is no JSON: nobody gets an answer, and each attempt was paid for.
        assert {status for status, _ in told} <= {429, 502}
        assert any(status == 502 for status, _ in told)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if (await standing(one.url))["running"] == 0:
                break
        assert len(upstream.received) > 10
        assert len(upstream.received) * PRICE <= 1
        assert await spent(one.url) <= 1


async def test_a_restart_does_not_forget_what_was_spent(tmp_path: Path) -> None:
    async with ReplayServer(Play(answer(), content_type=JSON)) as upstream:
        async with gateways(tmp_path, toml(upstream.url), 1) as [one]:
            for _ in range(3):
                assert (await ask(one.url, max_tokens=OUT))[0] == 200
            before = await spent(one.url)
            assert before == 3 * PRICE
        async with gateways(tmp_path, toml(upstream.url), 1) as [one]:
            assert await spent(one.url) == before


async def test_a_refusal_says_what_is_left_and_is_not_asked_again(tmp_path: Path) -> None:
    question = {
        "model": "lab/m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 100_000,
    }
    headers = {"Authorization": "Bearer the-app"}
    async with (
        ReplayServer(Play(answer(), content_type=JSON)) as upstream,
        gateways(tmp_path, toml(upstream.url), 1) as [one],
        aiohttp.ClientSession() as session,
    ):
        async with session.post(
            one.url + "/v1/chat/completions", json=question, headers=headers
        ) as told:
            body = await told.json()
        assert told.status == 429
        assert body["error"]["code"] == "insufficient_quota"
        assert "has 1 of its budget of this day left" in body["error"]["message"]
        assert told.headers["X-Should-Retry"] == "false"
        assert int(told.headers["Retry-After"]) <= 60
        assert upstream.received == []
