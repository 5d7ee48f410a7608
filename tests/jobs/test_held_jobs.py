"""Jobs of an application that is over a limit of its own wait until it may ask again."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.lab import CODE, MINE, THEIRS, ended, events, lab, put, shown, stalled, until
from tests.replay.gateway import Running
from tests.replay.server import Play, openai_stream
from tests.store import servers

HELLO = Play(openai_stream("Hello"))


def limited(**terms: Any) -> dict[str, Any]:
    return {"mine": {"name": "FlashCards App", "code": CODE, **terms}, "theirs": {"code": "other"}}


async def request(gateway: Running) -> str:
    """By the seed's door; its id."""
    body = {"app_code": CODE, "request_type": "everyone", "request": "Hi"}
    async with gateway.session.post(gateway.url + "/ai_request", json=body) as answer:
        told = await answer.json()
    assert answer.status == 200, told
    name: str = told["request_id"]
    return name


async def requested(gateway: Running, name: str) -> dict[str, Any]:
    async with gateway.session.get(f"{gateway.url}/get_request/{name}") as answer:
        found: dict[str, Any] = await answer.json()
    return found


async def test_a_job_over_the_rate_waits_and_is_answered_in_the_next_window() -> None:
    codes = limited(rate_limit="2/second")
    async with lab(HELLO, codes=codes) as (gateway, upstream):
        names = [await put(gateway) for _ in range(7)]
        for name in names:
            found = await until(gateway, name, "completed", "error", "expired", limit_s=30)
            assert found["status"] == "completed", found
            # It was asked for once, and nobody heard of the times that it was not let in.
            assert found["attempts"] == 1
            kinds = [kind for kind, _, _ in await events(gateway, name) if kind != "queued"]
            assert kinds == ["processing", "token", "done"]
        assert len(upstream.received) == 7


async def test_its_wait_is_that_of_the_window_and_others_pass() -> None:
    codes = {**limited(rate_limit="1/hour"), "theirs": {"code": "def456hash"}}
    async with lab(HELLO, codes=codes) as (gateway, _):
        assert (await ended(gateway, await put(gateway)))["status"] == "completed"
        first, second = await put(gateway), await put(gateway)
        async with asyncio.timeout(10):
            while (await shown(gateway, first)).get("estimated_wait_s", {}).get("low", 0) < 3000:
                await asyncio.sleep(0.02)
        told = await shown(gateway, first)
        assert (told["status"], told["position"]) == ("queued", 1)
        assert 3400 < told["estimated_wait_s"]["low"] <= 3800
        assert told["estimated_wait_s"]["low"] < told["estimated_wait_s"]["high"] < 4500
        told = await shown(gateway, second)
        assert (told["status"], told["position"]) == ("queued", 2)
        # The window lets one through: the second waits for another one.
        assert 7000 <= told["estimated_wait_s"]["low"] < 7500
        assert told["estimated_wait_time"].endswith("hours")
        theirs = await put(gateway, THEIRS)
        async with asyncio.timeout(10):
            while (await shown(gateway, theirs, THEIRS))["status"] != "completed":
                await asyncio.sleep(0.02)
        seen = await requested(gateway, await request(gateway))
        assert (seen["status"], seen["position"]) == ("queued", 3)
        assert seen["estimated_wait_time"].endswith("hours")


async def test_it_expires_by_its_timeout() -> None:
    codes = limited(rate_limit="1/hour")
    async with lab(HELLO, codes=codes, jobs={"timeout_s": 1.0}) as (gateway, upstream):
        await ended(gateway, await put(gateway))
        name, seeds = await put(gateway), await request(gateway)
        found = await ended(gateway, name)
        assert found["status"] == "expired"
        assert found["error"]["code"] == "expired"
        assert len(upstream.received) == 1
        async with asyncio.timeout(10):
            while (told := await requested(gateway, seeds))["status"] == "queued":
                await asyncio.sleep(0.02)
        assert (told["status"], told["error_code"]) == ("error", "TIMEOUT")


async def test_a_job_beyond_the_concurrency_waits_for_a_place() -> None:
    codes = limited(concurrency=1)
    plays = (stalled(), HELLO)
    async with lab(*plays, codes=codes, jobs={"workers": 2}) as (gateway, upstream):
        first = await put(gateway)
        await upstream.until_received(1)
        second = await put(gateway)
        await asyncio.sleep(0.5)
        assert (await shown(gateway, second))["status"] == "queued"
        async with gateway.session.delete(gateway.url + f"/jobs/{first}", headers=MINE) as answer:
            assert answer.status == 200
        assert (await ended(gateway, second))["status"] == "completed"


async def test_a_job_for_a_route_without_room_waits() -> None:
    """A caller is turned away from it with a 503; an accepted job is not lost for that."""
    route = {"local": ["easy/m"], "strong": [], "threshold": 0.0, "max_in_flight": 1}
    async with lab(stalled(), HELLO, routes={"desk": route}) as (gateway, upstream):
        first = await put(gateway, model="desk")
        await upstream.until_received(1)
        second = await put(gateway, THEIRS, model="desk")
        await asyncio.sleep(0.3)
        assert (await shown(gateway, second, THEIRS))["status"] == "queued"
        async with gateway.session.delete(gateway.url + f"/jobs/{first}", headers=MINE):
            pass
        async with asyncio.timeout(30):
            while (found := await shown(gateway, second, THEIRS))["status"] != "completed":
                assert found["status"] in ("queued", "processing"), found
                await asyncio.sleep(0.05)


async def test_what_no_window_ever_lets_in_is_an_error_at_once() -> None:
    codes = limited(token_limit="10/minute")
    async with lab(HELLO, codes=codes) as (gateway, upstream):
        found = await ended(gateway, await put(gateway, max_tokens=500))
        assert found["status"] == "error"
        assert found["error"]["code"] == "rate_limit_exceeded"
        assert upstream.received == []


@pytest.mark.parametrize("stored", ["memory", "redis"])
async def test_a_spent_budget_is_told_at_once(stored: str, tmp_path: Path) -> None:
    codes = limited(budget_month="0.00002")
    prices = {"easy/m": {"input": 1, "output": 1}}
    with ExitStack() as stack:
        url = stack.enter_context(servers.redis(tmp_path)) if stored == "redis" else ""
        async with lab(HELLO, codes=codes, prices=prices, store={"redis": url}) as (gateway, _):
            found = await ended(gateway, await put(gateway, max_tokens=500))
            assert found["status"] == "error"
            assert found["error"]["code"] == "insufficient_quota"
