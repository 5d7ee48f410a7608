"""`hedge_after_ms`: when the first target is silent that long, the next is asked beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chat.errors import Broken
from gateway.engine.ports import Settlement
from tests.replay.gateway import Answer, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_error, openai_stream

FREED_S = 0.2


def said(text: str, *, stream: bool, **more: Any) -> Play:
    if stream:
        return Play(openai_stream(text), **more)
    return Play(openai_body(text), content_type="application/json", **more)


@asynccontextmanager
async def two(
    first: Play, *then: Play, hedge_ms: float | None = 100, **tree: Any
) -> AsyncGenerator[tuple[Running, ReplayServer, ReplayServer, list[Settlement]], None]:
    """A route of two targets that hedges."""
    async with ReplayServer(first) as one, ReplayServer(*then) as other:
        route: dict[str, Any] = {"local": ["easy/m"], "strong": ["hard/m"]}
        if hedge_ms is not None:
            route["hedge_after_ms"] = hedge_ms
        given = {"attempts": {"hedge_share": 1.0}, **tree}
        async with running(
            settings(
                providers={"hard": openai_provider(one.url), "easy": openai_provider(other.url)},
                routes={"auto": route},
                **given,
            )
        ) as gateway:
            settled: list[Settlement] = []
            gateway.services.recorder.listeners.append(settled.append)
            yield gateway, one, other, settled


async def ask(gateway: Running, *, stream: bool) -> Answer:
    return await gateway.complete(message="Hi", stream=stream)


def text_of(answer: Answer, *, stream: bool) -> str:
    text: str = answer.text if stream else answer.json["message"]
    return text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_silent_target_is_hedged_by_the_next(*, stream: bool) -> None:
    slow = said("slow", stream=stream, before_s=30)
    async with two(slow, said("quick", stream=stream)) as (gateway, one, other, settled):
        answer = await ask(gateway, stream=stream)
        assert answer.status == 200
        assert text_of(answer, stream=stream) == "quick"
        await one.until_left()
        assert (len(one.received), len(other.received)) == (1, 1)
        [settlement] = settled
        assert [(one.target.name, one.hedge, one.outcome) for one in settlement.attempts] == [
            ("hard/m", False, "cancelled"),
            ("easy/m", True, "finished"),
        ]
        assert settlement.trace.target == "easy/m"
        # Nobody failed: nobody rests.
        assert gateway.services.rests.calm()


@pytest.mark.parametrize("stream", [True, False])
async def test_the_first_to_commit_wins_and_the_other_is_freed(*, stream: bool) -> None:
    """Also when it is the first one, slow as it was."""
    slow = said("slow", stream=stream, before_s=0.4)
    async with two(slow, said("never", stream=stream, before_s=30)) as (gateway, _, other, settled):
        answer = await ask(gateway, stream=stream)
        answered = time.monotonic()
        assert text_of(answer, stream=stream) == "slow"
        await other.until_left()
        left = other.received[0].left_at
        assert left is not None
        assert left - answered < FREED_S
        assert [(one.hedge, one.outcome) for one in settled[0].attempts] == [
            (False, "finished"),
            (True, "cancelled"),
        ]


async def test_a_quick_target_is_not_hedged() -> None:
    async with two(said("quick", stream=True), said("never", stream=True)) as (
        gateway,
        _,
        other,
        _,
    ):
        for _ in range(5):
            assert (await ask(gateway, stream=True)).text == "quick"
        assert not other.received


async def test_without_the_setting_nobody_is_hedged() -> None:
    slow = said("slow", stream=True, before_s=0.4)
    async with two(slow, said("never", stream=True), hedge_ms=None) as (gateway, _, other, _):
        assert (await ask(gateway, stream=True)).text == "slow"
        assert not other.received


async def test_a_budget_caps_the_share_of_hedged_requests() -> None:
    slow = said("slow", stream=True, before_s=0.15)
    never = said("never", stream=True, before_s=5)
    limits = {"attempts": {"hedge_share": 0.1}}
    async with two(slow, never, hedge_ms=20, **limits) as (gateway, _, other, settled):
        for _ in range(21):
            assert (await ask(gateway, stream=True)).text == "slow"
        # One is allowed at first, and a tenth of the others.
        assert len(other.received) == 3
        assert sum(one.hedge for settlement in settled for one in settlement.attempts) == 3


async def test_a_first_target_that_fails_leaves_the_hedge_alone() -> None:
    async with two(
        openai_error(500), said("good", stream=True, before_s=0.3), attempts={"per_target": 1}
    ) as (gateway, one, other, _):
        assert (await ask(gateway, stream=True)).text == "good"
        assert (len(one.received), len(other.received)) == (1, 1)


async def test_when_both_fail_the_failure_is_told() -> None:
    failing = openai_error(500)
    failing.before_s = 0.2
    async with two(failing, openai_error(503), attempts={"per_target": 1, "hedge_share": 1.0}) as (
        gateway,
        _,
        _,
        settled,
    ):
        answer = await ask(gateway, stream=True)
        assert answer.status == 502
        assert len(settled[0].attempts) == 2
        assert all(one.outcome == "upstream_error" for one in settled[0].attempts)


async def test_a_hedge_is_the_one_probe_of_a_resting_target() -> None:
    slow = said("slow", stream=True, before_s=30)
    never = said("never", stream=True, before_s=30)
    async with two(slow, never, cooldown={"failures": 1, "rest_s": 0.05}) as (gateway, _, other, _):
        rests = gateway.services.rests
        rests.failed("easy/m", Broken("no"))
        await asyncio.sleep(0.1)
        asking = [asyncio.create_task(ask(gateway, stream=True)) for _ in range(3)]
        await other.until_received()
        await asyncio.sleep(0.3)
        assert len(other.received) == 1
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await other.until_left()
        # The probe was given up: its place is free.
        assert rests.enter("easy/m")


async def test_a_caller_who_leaves_frees_both() -> None:
    slow, never = (said(text, stream=True, before_s=30) for text in ("slow", "never"))
    async with two(slow, never) as (gateway, one, other, settled):
        asking = asyncio.create_task(ask(gateway, stream=True))
        await other.until_received()
        left = time.monotonic()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        for upstream in (one, other):
            await upstream.until_left()
            freed = upstream.received[0].left_at
            assert freed is not None
            assert freed - left < FREED_S
        await asyncio.sleep(0.05)
        assert [one.outcome for one in settled[0].attempts] == ["cancelled", "cancelled"]
        assert settled[0].outcome == "cancelled"
