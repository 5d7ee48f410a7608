"""A long wait for the first event: headers and keep-alives go out, so that no proxy cuts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream

LATE = Play(openai_stream("late"), before_s=0.6)
EARLY = {"commit_after_s": 0.2, "backoff_ms": 1, "per_target": 1}
MODEL = {"model": "hard/m", "stream": True}
TURNS = [{"role": "user", "content": "Hi"}]
ASKED: dict[str, tuple[dict[str, Any], bytes]] = {
    "/complete": ({"message": "Hi", **MODEL}, b": keepalive\n"),
    "/v1/chat/completions": ({"messages": TURNS, **MODEL}, b": keepalive\n"),
    "/v1/messages": (
        {"messages": TURNS, "max_tokens": 9, **MODEL},
        b'event: ping\ndata: {"type": "ping"}\n\n',
    ),
    "/api/chat": ({"messages": TURNS, **MODEL}, b'"done":false}\n'),
}


async def ask(gateway: Running, path: str) -> tuple[int, bytes]:
    async with gateway.session.post(gateway.url + path, json=ASKED[path][0]) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("path", ASKED)
async def test_a_long_wait_for_the_first_event_is_kept_alive(path: str) -> None:
    async with (
        ReplayServer(LATE) as upstream,
        running(
            settings(providers={"hard": openai_provider(upstream.url)}, attempts=EARLY)
        ) as gateway,
    ):
        status, raw = await ask(gateway, path)
        assert status == 200
        keepalive = ASKED[path][1]
        before, _, after = raw.partition(b"late")
        assert before.count(keepalive) >= 2
        assert keepalive not in after or path == "/api/chat"


async def test_the_headers_go_out_before_the_first_event() -> None:
    stalls = Play(openai_stream("never"), stall=0)
    limits = {**EARLY, "first_event_s": 5}
    async with (
        ReplayServer(stalls) as upstream,
        running(
            settings(providers={"hard": openai_provider(upstream.url)}, attempts=limits)
        ) as gateway,
    ):
        body = ASKED["/complete"][0]
        async with gateway.session.post(gateway.url + "/complete", json=body) as response:
            assert response.status == 200
            assert await response.content.readany() == b": keepalive\n"
            assert upstream.open == 1
        await upstream.until_left()


@pytest.mark.parametrize("path", ASKED)
async def test_a_failure_after_the_commit_deadline_is_told_in_band(path: str) -> None:
    late = openai_error(500, "boom")
    late.before_s = 0.5
    async with (
        ReplayServer(late) as upstream,
        running(
            settings(providers={"hard": openai_provider(upstream.url)}, attempts=EARLY)
        ) as gateway,
    ):
        status, raw = await ask(gateway, path)
        assert status == 200
        assert b"boom" in raw.strip().splitlines()[-1]
        assert b"finish_reason" not in raw
        assert b"[DONE]" not in raw
        labels = {"provider": "hard", "model": "other", "route": "named", "outcome": "failed"}
        assert gateway.counted("pointsman_requests_total", **labels) == 1


async def test_after_the_commit_deadline_the_next_target_may_still_answer() -> None:
    silent = Play(openai_stream("never"), stall=0)
    async with (
        ReplayServer(silent) as one,
        ReplayServer(Play(openai_stream("good"))) as two,
        running(
            settings(
                providers={"hard": openai_provider(one.url), "easy": openai_provider(two.url)},
                attempts={**EARLY, "first_event_s": 0.5},
            )
        ) as gateway,
    ):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 200
        assert b": keepalive\n" in answer.raw
        assert answer.text == "good"
        assert answer.route["target"] == "easy/m"


async def test_a_silence_in_mid_stream_is_kept_alive() -> None:
    words = openai_stream("one", "two")
    play = Play(words, chunk=len(openai_stream("one", finish=None)), delay_s=0.7)
    async with (
        ReplayServer(play) as upstream,
        running(
            settings(providers={"hard": openai_provider(upstream.url)}, attempts=EARLY)
        ) as gateway,
    ):
        answer = await gateway.complete(message="Hi", model="hard/m")
        assert answer.text == "onetwo"
        assert answer.closing["finish_reason"] == "stop"
        assert b"\n\n: keepalive\n" in answer.raw


async def test_a_stopping_gateway_tells_those_that_it_kept_alive() -> None:
    async with (
        ReplayServer(Play(openai_stream("never"), stall=0)) as upstream,
        running(
            settings(providers={"hard": openai_provider(upstream.url)}, attempts=EARLY)
        ) as gateway,
    ):
        body = ASKED["/complete"][0]
        async with gateway.session.post(gateway.url + "/complete", json=body) as response:
            assert await response.content.readany() == b": keepalive\n"
            gateway.services.pipeline.interrupt()
            last = (await response.read()).strip().splitlines()[-1]
        assert b'"overloaded"' in last
        await upstream.until_left()
