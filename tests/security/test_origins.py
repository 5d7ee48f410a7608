"""Pages of other sites: who may ask, who may read, and what a browser is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.doors.upstreams import HELLO, Said, play, provider
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


LONG = Said(pieces=tuple(f"word{n} " for n in range(50)))
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


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("PUT", "/complete", "{}", 405),
        ("POST", "/complete", "{", 400),
        ("POST", "/v1/messages", "{}", 400),
        ("POST", "/complete", "x" * 5000, 413),
        ("POST", "/v1/chat/completions", '{"model": "no/such", "messages": []}', 400),
        ("GET", "/settings", None, 401),
        ("GET", "/ws/chat", None, 400),
        ("GET", "/complete?message=Hi&model=easy/m", None, 200),
        ("GET", "/healthz", None, 200),
        ("GET", "/metrics", None, 200),
        ("GET", "/v1/models", None, 200),
    ],
)
async def test_every_answer_says_who_may_read_it(
    method: str, path: str, body: str | None, status: int
) -> None:
    async with ReplayServer(play("openai", HELLO, True)) as upstream:
        given = settings(
            providers={"easy": provider("openai", upstream.url)},
            access={"cors": [FRIEND]},
            server={"body_limit": 4096},
        )
        async with running(given) as gateway:
            for origin, allowed in ((FRIEND, FRIEND), (FOREIGN, None)):
                async with gateway.session.request(
                    method,
                    gateway.url + path,
                    data=body,
                    headers={"Origin": origin, "Accept": "*/*, text/event-stream"},
                ) as response:
                    await response.read()
                    assert response.status == (status if allowed else 403), await response.text()
                    assert response.headers.get("Access-Control-Allow-Origin") == allowed
                    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        ({"before_s": 30}, 504),
        ({"stall": 0}, 504),
        ({"stall": 2000}, 200),
        ({"cut": 2000}, 200),
        ({"status": 500}, 502),
    ],
    ids=["no headers", "no first event", "stalled in mid-stream", "cut in mid-stream", "status"],
)
async def test_what_an_upstream_breaks_off_is_readable_too(
    failing: dict[str, Any], status: int
) -> None:
    async with ReplayServer(play("openai", LONG, True, **failing)) as upstream:
        given = settings(
            providers={"easy": provider("openai", upstream.url)},
            access={"cors": [FRIEND]},
            attempts={"per_target": 1, "first_event_s": 0.5, "idle_s": 0.5},
        )
        async with (
            running(given) as gateway,
            gateway.session.post(
                gateway.url + "/complete", json=ASK, headers={"Origin": FRIEND}
            ) as response,
        ):
            told = await response.text()
            assert response.status == status
            assert "error" in told
            assert response.headers["Access-Control-Allow-Origin"] == FRIEND


async def test_a_page_that_is_turned_away_reads_when_to_come_back() -> None:
    async with ReplayServer(play("openai", HELLO, True, before_s=20)) as upstream:
        given = settings(
            providers={"easy": provider("openai", upstream.url)},
            access={"cors": [FRIEND]},
            server={"max_in_flight": 1},
        )
        async with running(given) as gateway:
            first = asyncio.create_task(gateway.complete(**ASK))
            await upstream.until_received()
            async with gateway.session.post(
                gateway.url + "/complete", json=ASK, headers={"Origin": FRIEND}
            ) as response:
                assert response.status == 503
                assert "Retry-After" in response.headers
                assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
                assert response.headers["Access-Control-Allow-Origin"] == FRIEND
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)


@pytest.mark.parametrize("path", ["/ws/chat", "/ws/monitoring"])
@pytest.mark.parametrize("key", [True, False])
async def test_a_socket_looks_at_the_origin_before_it_opens(path: str, key: bool) -> None:
    headers = ADMIN if key else {}
    async with guarded() as (gateway, _):
        for origin in (FOREIGN, "null", "https://chat.example.org.evil.example", ""):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await gateway.session.ws_connect(
                    gateway.url + path, headers={**headers, "Origin": origin}
                )
            assert refused.value.status == 403
        for origin in (FRIEND, gateway.url):
            async with gateway.session.ws_connect(
                gateway.url + path, headers={**headers, "Origin": origin}
            ) as socket:
                assert not socket.closed


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


async def test_a_path_that_nobody_serves_is_preflighted_like_any_other() -> None:
    async with guarded() as (gateway, _):
        for origin, status in ((FRIEND, 204), (FOREIGN, 403)):
            async with gateway.session.options(
                gateway.url + "/nowhere",
                headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
            ) as response:
                assert response.status == status


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
