"""Retry, fallback, rest: before the first event unseen, after it told in-band."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_error, openai_stream

GOOD = Play(openai_stream("good"))


@asynccontextmanager
async def two_tiers(
    *first: Play, **tree: Any
) -> AsyncGenerator[tuple[Running, ReplayServer, ReplayServer], None]:
    """A route whose first target plays `first`, and whose second is healthy. There is no
    classifier, so the strong tier is asked first."""
    async with ReplayServer(*first) as one, ReplayServer(GOOD) as two:
        given = settings(
            providers={"hard": openai_provider(one.url), "easy": openai_provider(two.url)},
            **tree,
        )
        async with running(given) as gateway:
            yield gateway, one, two


@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_a_server_error_is_retried_on_the_same_target_unseen(status: int) -> None:
    async with two_tiers(openai_error(status), GOOD) as (gateway, one, two):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 200
        assert answer.text == "good"
        assert answer.route["target"] == "hard/m"
        assert [step["target"] for step in answer.route["fallbacks"]] == ["hard/m"]
        assert (len(one.received), len(two.received)) == (2, 0)


async def test_a_target_that_goes_on_failing_is_followed_by_the_next() -> None:
    async with two_tiers(openai_error(500)) as (gateway, one, _):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "good"
        assert answer.route["target"] == "easy/m"
        assert len(answer.route["fallbacks"]) == 2
        assert len(one.received) == 2
        left = {"provider": "hard", "model": "other", "route": "auto"}
        assert gateway.counted("pointsman_fallbacks_total", **left) == 2


BROKEN_BEFORE_THE_FIRST_EVENT = {
    "cut before any byte": Play(openai_stream("x"), cut=0),
    "empty and clean": Play(b""),
    "html": Play(b"<html>oops</html>", content_type="text/html"),
    "garbage": Play(b"data: {not json}\n\n"),
    "an error object with 200": Play(
        b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
    ),
    "a json error with 200": Play(
        b'{"error": {"message": "overloaded"}}', content_type="application/json"
    ),
    "a redirect": Play(b"", 302, headers={"Location": "http://127.0.0.1:9/"}),
    "only a role, then cut": Play(openai_stream("x"), cut=150),
}


@pytest.mark.parametrize("name", BROKEN_BEFORE_THE_FIRST_EVENT)
async def test_an_answer_that_breaks_before_its_first_event_is_replaced_unseen(name: str) -> None:
    async with two_tiers(BROKEN_BEFORE_THE_FIRST_EVENT[name]) as (gateway, _, two):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 200
        assert answer.text == "good"
        assert answer.closing["finish_reason"] == "stop"
        assert answer.route["target"] == "easy/m"
        assert len(two.received) == 1


async def test_a_refused_connection_is_followed_by_the_next_target() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with ReplayServer(GOOD) as two:
            given = settings(
                providers={
                    "hard": openai_provider(f"http://127.0.0.1:{port}"),
                    "easy": openai_provider(two.url),
                }
            )
            async with running(given) as gateway:
                answer = await gateway.complete(message="Hi")
                assert answer.text == "good"
                assert answer.route["target"] == "easy/m"


async def test_a_host_without_a_name_is_followed_by_the_next_target() -> None:
    async with ReplayServer(GOOD) as two:
        given = settings(
            providers={
                "hard": openai_provider("http://no-such-host.invalid"),
                "easy": openai_provider(two.url),
            }
        )
        async with running(given) as gateway:
            answer = await gateway.complete(message="Hi")
            assert answer.text == "good"
            assert answer.route["target"] == "easy/m"


async def test_a_slow_first_event_fails_over() -> None:
    slow = Play(openai_stream("late"), before_s=5)
    async with two_tiers(slow, attempts={"first_event_s": 0.1, "backoff_ms": 1}) as parts:
        gateway, one, _ = parts
        answer = await gateway.complete(message="Hi")
        assert answer.text == "good"
        assert "no first event" in answer.route["fallbacks"][0]["reason"]
        # Slow once is enough: the same target is not asked again.
        assert len(one.received) == 1
        await one.until_left()


CUT_AFTER = len(openai_stream("one", "two", finish=None))


@pytest.mark.parametrize(
    "play",
    [
        Play(openai_stream("one", "two", "three"), cut=CUT_AFTER),
        Play(openai_stream("one", "two", "three"), cut=CUT_AFTER, clean=True),
        Play(openai_stream("one", "two", "three"), cut=CUT_AFTER + 20),
        Play(openai_stream("one", "two", finish=None) + b"data: {nonsense\n\n"),
        Play(
            openai_stream("one", "two", finish=None)
            + b'data: {"error": {"message": "the GPU is on fire", "type": "server_error"}}\n\n'
        ),
    ],
    ids=["reset", "clean end", "inside a frame", "garbage", "an error frame"],
)
async def test_a_cut_stream_is_not_a_success(play: Play) -> None:
    async with two_tiers(play) as (gateway, _, two):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 200
        assert answer.text == "onetwo"
        closing = answer.closing
        assert "finish_reason" not in closing
        assert closing["error"]["type"] == "upstream_error"
        assert not two.received
        labels = {"provider": "hard", "model": "other", "route": "auto", "outcome": "failed"}
        assert gateway.counted("pointsman_requests_total", **labels) == 1
        where = {"provider": "hard", "model": "other", "route": "auto"}
        kind = {"door": "complete", "kind": "upstream_error"}
        assert gateway.counted("pointsman_errors_total", **where, **kind) == 1


async def test_a_stream_that_stalls_is_told_after_the_idle_limit() -> None:
    play = Play(openai_stream("one", "two"), stall=len(openai_stream("one", finish=None)))
    async with two_tiers(play, attempts={"idle_s": 0.2, "backoff_ms": 1}) as (gateway, one, _):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "one"
        assert answer.closing["error"]["type"] == "timeout"
        await one.until_left()


async def test_a_request_that_the_upstream_calls_wrong_is_not_asked_again() -> None:
    async with two_tiers(openai_error(400, "max_tokens is too large")) as (gateway, one, two):
        answer = await gateway.complete(message="Hi")
        assert answer.status == 400
        assert "max_tokens is too large" in answer.json["error"]["message"]
        assert (len(one.received), len(two.received)) == (1, 0)
        # A caller's mistake says nothing about the target.
        one.play(GOOD)
        assert (await gateway.complete(message="Hi")).route["target"] == "hard/m"


async def test_our_own_refused_key_is_never_shown_as_the_callers_401() -> None:
    async with (
        ReplayServer(openai_error(401, "Incorrect API key: sk-abcdef1234567890")) as one,
        running(settings(providers={"hard": openai_provider(one.url)})) as gateway,
    ):
        answer = await gateway.complete(message="Hi", model="hard/m")
        assert answer.status == 502
        assert b"sk-abcdef1234567890" not in answer.raw
        # And it rests long: the second caller does not pay for finding out again.
        again = await gateway.complete(message="Hi", model="hard/m")
        assert again.status == 502
        assert "rests" in again.json["error"]["message"]
        assert len(one.received) == 1


async def test_a_limit_rests_for_what_the_upstream_said() -> None:
    limited = openai_error(429, "slow down", **{"Retry-After": "7"})
    async with two_tiers(limited) as (gateway, one, two):
        first = await gateway.complete(message="Hi")
        assert first.route["target"] == "easy/m"
        second = await gateway.complete(message="Hi")
        assert second.route["target"] == "easy/m"
        assert "rests for" in second.route["fallbacks"][0]["reason"]
        assert (len(one.received), len(two.received)) == (1, 2)
        named = await gateway.complete(message="Hi", model="hard/m")
        assert named.status == 429
        assert named.headers["Retry-After"] in ("6", "7")


async def test_when_every_target_fails_the_last_failure_is_told_with_its_status() -> None:
    async with ReplayServer(openai_error(500, "boom")) as one:
        given = settings(
            providers={"hard": openai_provider(one.url), "easy": openai_provider(one.url)}
        )
        async with running(given) as gateway:
            answer = await gateway.complete(message="Hi")
            assert answer.status == 502
            assert answer.json["error"]["code"] == "no_target_left"
            assert "boom" in answer.json["error"]["message"]
            assert len(one.received) == 4


async def test_one_shot_answers_fall_back_too() -> None:
    async with (
        ReplayServer(openai_error(503)) as one,
        ReplayServer(Play(openai_body("whole"), content_type="application/json")) as two,
    ):
        given = settings(
            providers={"hard": openai_provider(one.url), "easy": openai_provider(two.url)}
        )
        async with running(given) as gateway:
            answer = await gateway.complete(message="Hi", stream=False)
            assert answer.json["message"] == "whole"
            assert len(answer.json["route"]["fallbacks"]) == 2


async def test_a_one_shot_answer_that_was_cut_is_an_error_with_a_status() -> None:
    body = openai_body("whole")
    cut = Play(body, content_type="application/json", headers={"Content-Length": "999"})
    async with ReplayServer(Play(cut.body, content_type="application/json", cut=40)) as one:
        given = settings(providers={"hard": openai_provider(one.url)})
        async with running(given) as gateway:
            answer = await gateway.complete(message="Hi", model="hard/m", stream=False)
            assert answer.status == 502
