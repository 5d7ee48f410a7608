"""Pages of other sites: who may ask, who may read, and what a browser is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.doors.upstreams import HELLO, play, provider
from tests.replay.gateway import ADMIN, Running, running, settings
from tests.replay.server import ReplayServer

FOREIGN = "https://evil.example"
FRIEND = "https://chat.example.org"


@asynccontextmanager
async def guarded(*plays: Any, **access: Any) -> AsyncGenerator[tuple[Running, ReplayServer]]:
    async with ReplayServer(*plays) as upstream:
        given = settings(
            providers={"easy": provider("openai", upstream.url)},
            access={"cors": [FRIEND, "http://localhost:*"], **access},
        )
        async with running(given) as gateway:
            yield gateway, upstream


ASK = {"message": "Hi", "model": "easy/m"}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_foreign_page_spends_nothing(stream: bool) -> None:
    """Also by the simple request for which no browser asks first."""
    async with guarded() as (gateway, upstream):
        async with gateway.session.post(
            gateway.url + "/complete",
            data='{"message": "Hi", "model": "easy/m"}',
            headers={"Origin": FOREIGN, "Content-Type": "text/plain"},
        ) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
            assert FOREIGN in await response.text()
        assert upstream.received == []


@pytest.mark.parametrize("origin", [FRIEND, "http://localhost:3000"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_page_of_the_list_reads_answers_and_errors(origin: str, stream: bool) -> None:
    async with guarded(play("openai", HELLO, stream)) as (gateway, _):
        for body, status in (({**ASK, "stream": stream}, 200), ({}, 400)):
            async with gateway.session.post(
                gateway.url + "/complete", json=body, headers={"Origin": origin}
            ) as response:
                await response.read()
                assert response.status == status
                assert response.headers["Access-Control-Allow-Origin"] == origin
                assert "X-Request-Id" in response.headers["Access-Control-Expose-Headers"]
                assert "Origin" in response.headers["Vary"]


async def test_a_preflight_is_answered_with_what_it_asked_for() -> None:
    async with guarded() as (gateway, _):
        for path in ("/complete", "/v1/messages", "/v1beta/models/x:generateContent", "/codes"):
            async with gateway.session.options(
                gateway.url + path,
                headers={
                    "Origin": FRIEND,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization,x-stainless-lang",
                },
            ) as response:
                assert response.status == 204
                assert response.headers["Access-Control-Allow-Origin"] == FRIEND
                wanted = response.headers["Access-Control-Allow-Headers"]
                assert wanted == "authorization,x-stainless-lang"
                assert "POST" in response.headers["Access-Control-Allow-Methods"]


async def test_a_foreign_preflight_is_refused() -> None:
    async with (
        guarded() as (gateway, _),
        gateway.session.options(
            gateway.url + "/complete",
            headers={"Origin": FOREIGN, "Access-Control-Request-Method": "POST"},
        ) as response,
    ):
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_our_own_page_and_programs_need_no_list() -> None:
    plays = [play("openai", HELLO, False) for _ in range(2)]
    async with guarded(*plays) as (gateway, _):
        for headers in ({"Origin": gateway.url}, {}):
            async with gateway.session.post(
                gateway.url + "/complete", json={**ASK, "stream": False}, headers=headers
            ) as response:
                assert response.status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example:8080", 403),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("pointsman.localhost", 200),
    ],
)
async def test_a_rebound_name_is_refused_where_no_key_is_asked_for(host: str, status: int) -> None:
    async with (
        guarded(play("openai", HELLO, False)) as (gateway, upstream),
        gateway.session.post(
            gateway.url + "/complete",
            json={**ASK, "stream": False},
            headers={"Host": host, "Origin": f"http://{host}"},
        ) as response,
    ):
        assert response.status == status
        assert len(upstream.received) == (status == 200)


async def test_any_name_serves_where_a_key_is_asked_for_or_all_are_welcome() -> None:
    for access in ({"open": False}, {"open": True}):
        async with (
            guarded(play("openai", HELLO, False), **access) as (gateway, _),
            gateway.session.post(
                gateway.url + "/complete",
                json={**ASK, "stream": False},
                headers={"Host": "llm.example.org", **ADMIN},
            ) as response,
        ):
            assert response.status == 200


async def test_no_answer_lets_a_browser_guess_its_type() -> None:
    async with guarded() as (gateway, _):
        for path in ("/healthz", "/nowhere", "/metrics"):
            async with gateway.session.get(gateway.url + path) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
