"""How long and how often a failure is tried to be mended before the caller hears of it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream

GOOD = Play(openai_stream("good"))


def alone(url: str, failures: int = 3, **attempts: Any) -> Any:
    limits = {"backoff_ms": 1, **attempts}
    return settings(
        providers={"hard": openai_provider(url)}, attempts=limits, cooldown={"failures": failures}
    )


async def asked(gateway: Running) -> Any:
    return await gateway.complete(message="Hi", model="hard/m")


async def test_a_short_wait_that_an_upstream_asks_for_is_waited() -> None:
    for headers in ({"retry-after-ms": "300"}, {"Retry-After": "0.3"}):
        async with (
            ReplayServer(openai_error(503, **headers), GOOD) as upstream,
            running(alone(upstream.url)) as gateway,
        ):
            answer = await asked(gateway)
            assert answer.text == "good"
            assert answer.route["milliseconds"]["first_token"] >= 300


async def test_a_long_wait_is_not_waited_where_another_can_answer() -> None:
    async with (
        ReplayServer(openai_error(503, **{"Retry-After": "60"})) as one,
        ReplayServer(GOOD) as two,
        running(
            settings(providers={"hard": openai_provider(one.url), "easy": openai_provider(two.url)})
        ) as gateway,
    ):
        answer = await gateway.complete(message="Hi")
        assert answer.route["target"] == "easy/m"
        assert len(one.received) == 1


async def test_one_deadline_holds_over_all_attempts_and_targets() -> None:
    async with (
        ReplayServer(Play(before_s=30)) as one,
        ReplayServer(GOOD) as two,
        running(
            settings(
                providers={"hard": openai_provider(one.url), "easy": openai_provider(two.url)},
                attempts={"total_s": 0.3, "backoff_ms": 1},
            )
        ) as gateway,
    ):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 504
        assert not two.received
        await one.until_left()


async def test_retries_are_a_share_of_the_requests() -> None:
    async with (
        ReplayServer(openai_error(500)) as upstream,
        running(alone(upstream.url, failures=1000, retry_share=0.0)) as gateway,
    ):
        for _ in range(15):
            assert (await asked(gateway)).status == 502
        # Ten retries are always allowed; none was earned.
        assert len(upstream.received) == 15 + 10


async def test_while_a_probe_finds_out_nobody_else_asks_the_target() -> None:
    async with (
        ReplayServer(openai_error(500)) as upstream,
        running(alone(upstream.url, per_target=1)) as gateway,
    ):
        for _ in range(3):
            await asked(gateway)
        upstream.play(Play(openai_stream("good"), before_s=0.5))
        answers = await asyncio.gather(*(asked(gateway) for _ in range(8)))
        assert len(upstream.received) == 3 + 1
        assert sorted(answer.status for answer in answers) == [200] + [503] * 7
        refused = next(answer for answer in answers if answer.status == 503)
        assert refused.headers["Retry-After"]
        # The probe answered: the breaker is closed for all.
        upstream.play(GOOD)
        again = await asyncio.gather(*(asked(gateway) for _ in range(8)))
        assert [answer.status for answer in again] == [200] * 8


async def test_a_role_is_no_first_event() -> None:
    silent = openai_stream("never")
    only_a_role = Play(silent, stall=silent.index(b"never") - 150)
    path = "/v1/chat/completions"
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        ReplayServer(only_a_role) as one,
        ReplayServer(GOOD) as two,
        running(
            settings(
                providers={"hard": openai_provider(one.url), "easy": openai_provider(two.url)},
                attempts={"first_event_s": 0.2},
            )
        ) as gateway,
    ):
        async with gateway.session.post(gateway.url + path, json=body) as response:
            raw = await response.read()
        assert raw.count(b'"role"') == 1
        assert b"good" in raw
        assert raw.endswith(b"data: [DONE]\n\n")
