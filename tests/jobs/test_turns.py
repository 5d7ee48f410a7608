"""A route with so many answers at once: others wait, and are told, or are turned away."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from tests.jobs.lab import MINE, THEIRS, lab, stalled
from tests.replay.gateway import Running
from tests.replay.server import Play, openai_body, openai_stream

ROUTE = {"local": ["easy/m"], "strong": [], "threshold": 0.0}
HELD = {"desk": {**ROUTE, "queue": True, "max_in_flight": 1}}
CLOSED = {"desk": {**ROUTE, "max_in_flight": 1}}
HI = [{"role": "user", "content": "Hi"}]
DOORS: dict[str, tuple[dict[str, Any], bytes]] = {
    "/complete": ({"message": "Hi"}, b'"queued":{"position":1,"wait_s":'),
    "/v1/chat/completions": ({"messages": HI, "stream": True}, b": queued, 1st, about "),
    "/v1/messages": ({"messages": HI, "stream": True, "max_tokens": 9}, b"event: ping\n"),
    "/v1/responses": ({"input": "Hi", "stream": True}, b": queued, 1st, about "),
    "/v1beta/models/desk:streamGenerateContent?alt=sse": (
        {"contents": [{"parts": [{"text": "Hi"}]}]},
        b"\r\n",
    ),
    "/api/chat": ({"messages": HI}, b'"content":""'),
}


async def held(gateway: Running) -> asyncio.Task[None]:
    """Somebody who has the only place, until he is cancelled."""

    async def ask() -> None:
        body = {"message": "Hi", "model": "desk"}
        async with gateway.session.post(
            gateway.url + "/complete", json=body, headers=THEIRS
        ) as answer:
            await answer.read()

    return asyncio.create_task(ask())


async def left(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def waiting(gateway: Running, count: int) -> None:
    turns = gateway.services.pipeline._turns
    async with asyncio.timeout(5):
        while turns.waiting("desk") != count:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("door", DOORS)
async def test_who_waits_is_told_in_his_own_language_and_answered_in_turn(door: str) -> None:
    body, said = DOORS[door]
    plays = (stalled(), Play(openai_stream("Hello")))
    async with lab(*plays, routes=HELD) as (gateway, upstream):
        first = await held(gateway)
        await upstream.until_received(1)
        async with gateway.session.post(
            gateway.url + door, json={**body, "model": "desk"}, headers=MINE
        ) as answer:
            assert answer.status == 200
            seen = await answer.content.readany()
            assert said in seen
            assert (b"queued" in seen) == (b"queued" in said)
            await left(first)
            whole = seen + await answer.read()
        assert b"Hello" in whole
        assert len(upstream.received) == 2


async def test_the_wait_stands_in_the_trace() -> None:
    plays = (stalled(), Play(openai_body("Hello"), content_type="application/json"))
    async with lab(*plays, routes=HELD) as (gateway, upstream):
        first = await held(gateway)
        await upstream.until_received(1)
        second = asyncio.create_task(
            _complete(gateway, {"message": "Hi", "model": "desk", "stream": False})
        )
        await waiting(gateway, 1)
        await asyncio.sleep(0.1)
        await left(first)
        _, told = await second
        times = orjson.loads(told)["route"]["milliseconds"]
        assert times["queue"] >= 100
        assert times["first_token"] >= times["queue"]


async def test_without_a_queue_a_busy_route_is_a_503_with_a_time() -> None:
    async with lab(stalled(), routes=CLOSED) as (gateway, upstream):
        first = await held(gateway)
        await upstream.until_received(1)
        async with gateway.session.post(
            gateway.url + "/v1/chat/completions",
            json={"model": "desk", "messages": HI},
            headers=MINE,
        ) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
        await left(first)


async def test_whoever_leaves_while_he_waits_frees_his_place_at_once() -> None:
    plays = (stalled(), Play(openai_stream("Hello")))
    async with lab(*plays, routes=HELD) as (gateway, upstream):
        first = await held(gateway)
        await upstream.until_received(1)
        impatient = await held(gateway)
        await waiting(gateway, 1)
        last = asyncio.create_task(_complete(gateway, {"message": "Hi", "model": "desk"}))
        await waiting(gateway, 2)
        await left(impatient)
        await waiting(gateway, 1)
        assert len(upstream.received) == 1
        await left(first)
        status, told = await last
        assert (status, b"Hello" in told) == (200, True)
        assert gateway.summed("pointsman_requests_total", outcome="cancelled") == 2


async def test_a_higher_priority_goes_first() -> None:
    plays = (stalled(), Play(openai_body("Hello"), content_type="application/json"))
    codes = {"vip": {"code": "vip-code", "priority": 5}}
    async with lab(*plays, routes=HELD, codes=codes) as (gateway, upstream):
        first = await held(gateway)
        await upstream.until_received(1)
        order: list[str] = []

        async def ask(name: str, code: str) -> None:
            body = {"message": name, "model": "desk", "stream": False}
            await _complete(gateway, body, {"Authorization": f"Bearer {code}"})
            order.append(name)

        plain = asyncio.create_task(ask("plain", "abc123hash"))
        await waiting(gateway, 1)
        vip = asyncio.create_task(ask("vip", "vip-code"))
        await waiting(gateway, 2)
        await left(first)
        await asyncio.gather(plain, vip)
        assert order == ["vip", "plain"]


async def test_a_full_line_is_a_503() -> None:
    async with lab(stalled(), routes=HELD, jobs={"capacity": 1}) as (gateway, upstream):
        first = await held(gateway)
        await upstream.until_received(1)
        second = await held(gateway)
        await waiting(gateway, 1)
        status, _ = await _complete(gateway, {"message": "Hi", "model": "desk"})
        assert status == 503
        await left(second, first)


async def _complete(
    gateway: Running, body: dict[str, Any], headers: dict[str, str] = MINE
) -> tuple[int, bytes]:
    timeout = aiohttp.ClientTimeout(total=15)
    async with gateway.session.post(
        gateway.url + "/complete", json=body, headers=headers, timeout=timeout
    ) as answer:
        return answer.status, await answer.read()
