"""A route's line that several processes share: by memory among workers, by a Redis among nodes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.jobs.line import LINE_FULL, NOW, ROUTE_FULL, Line, LineGoneError, Room, Ticket
from gateway.jobs.line_board import BoardLine, BoardLines
from gateway.jobs.line_redis import RedisLine
from tests.accounts.processes import gateway, gateways
from tests.deploy.kept import children
from tests.ports import free_port
from tests.replay.server import Play, ReplayServer, openai_stream
from tests.store import servers

ROOM = Room(limit=1, capacity=9, spread=0.0)


@dataclass
class Hands:
    """Two processes' hands on one line."""

    one: Line
    other: Line


@pytest.fixture(params=["board", "redis"])
async def hands(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Hands]:
    if request.param == "board":
        lines = BoardLines()
        yield Hands(lines.of(0), lines.of(1))
        return
    with servers.redis(tmp_path) as url:
        clients = [Redis.from_url(url) for _ in range(2)]
        one, other = (RedisLine(client) for client in clients)
        yield Hands(one, other)
        for line, client in zip((one, other), clients, strict=True):
            await line.close()
            await client.aclose()


def ticket(id_: int, app: str = "", ahead: float = 0.0) -> Ticket:
    return Ticket("desk", id_, app or f"app {id_}", ahead)


async def left(line: Line, one: Ticket, took_s: float | None = None) -> None:
    line.leave(one, took_s)
    if isinstance(line, RedisLine):
        while line._leaving:
            await asyncio.sleep(0.005)


async def test_a_place_is_had_once_whoever_asks(hands: Hands) -> None:
    first, second, third, other = ticket(1), ticket(2), ticket(3), Ticket("shop", 4, "a", 0.0)
    assert await hands.one.enter(first, ROOM) == NOW
    assert await hands.other.enter(second, ROOM) == 1
    assert await hands.one.enter(third, ROOM) == 2
    assert await hands.other.enter(other, ROOM) == NOW
    assert await hands.other.look("desk", [second], 1) == [1]
    await left(hands.one, first, 1.5)
    # Only the next one may go on, wherever he stands.
    assert await hands.one.look("desk", [third], 1) == [2]
    assert await hands.other.look("desk", [second], 1) == [NOW]
    assert await hands.one.look("desk", [third], 1) == [1]
    assert await hands.one.look("desk", [third], 2) == [NOW]
    assert await hands.other.took("desk") == [1.5]
    assert await hands.other.took("shop") == []


async def test_many_take_no_more_places_than_there_are(hands: Hands) -> None:
    room = Room(limit=3, capacity=100, spread=0.0)
    tickets = [ticket(n) for n in range(1, 21)]
    lines = [hands.one if one.id % 2 else hands.other for one in tickets]
    places = await asyncio.gather(
        *(line.enter(one, room) for line, one in zip(lines, tickets, strict=True))
    )
    assert places.count(NOW) == 3
    assert sorted(places)[3:] == list(range(1, 18))


async def test_priority_and_fairness_order_the_line_as_they_do_jobs(hands: Hands) -> None:
    room = Room(limit=1, capacity=99, spread=5.0)
    await hands.one.enter(ticket(1), room)
    flood = [ticket(n, "flood") for n in (2, 3, 4)]
    for one in flood:
        await hands.one.enter(one, room)
    late, vip = ticket(5, "late"), ticket(6, "vip", ahead=60.0)
    assert await hands.other.enter(late, room) == 2
    assert await hands.other.enter(vip, room) == 1
    assert await hands.one.look("desk", flood, 1) == [2, 4, 5]


async def test_a_full_line_and_a_route_without_one_are_told(hands: Hands) -> None:
    assert await hands.one.enter(ticket(1), ROOM) == NOW
    assert await hands.other.enter(ticket(2), Room(1, 0, 0.0)) == ROUTE_FULL
    assert await hands.other.enter(ticket(3), Room(1, 1, 0.0)) == 1
    assert await hands.one.enter(ticket(4), Room(1, 1, 0.0)) == LINE_FULL


async def test_whoever_leaves_and_whoever_is_not_looked_for_is_in_nobodys_way(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("line_board", "line_redis"):
        monkeypatch.setattr(f"gateway.jobs.{place}.SEEN_S", 0.1)
    first, gone, dead, last = (ticket(n) for n in (1, 2, 3, 4))
    await hands.one.enter(first, ROOM)
    for one, line in ((gone, hands.one), (dead, hands.one), (last, hands.other)):
        await line.enter(one, ROOM)
    await left(hands.one, gone)
    assert await hands.other.look("desk", [last], 1) == [2]
    await left(hands.one, first, 1.0)
    async with asyncio.timeout(10):
        while await hands.other.look("desk", [last], 1) != [NOW]:
            await asyncio.sleep(0.02)


async def test_a_workers_successor_frees_what_it_held() -> None:
    lines = BoardLines()
    one, other = lines.of(0), lines.of(1)
    assert await one.enter(ticket(1), ROOM) == NOW
    assert await other.enter(ticket(2), ROOM) == 1
    lines.of(0)
    assert await other.look("desk", [ticket(2)], 1) == [NOW]


async def test_a_dead_nodes_answer_frees_its_place_when_its_lease_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.jobs.line_redis.LEASE_S", 0.6)
    monkeypatch.setattr("gateway.jobs.line_redis.RENEW_S", 0.1)
    with servers.redis(tmp_path) as url:
        clients = [Redis.from_url(url) for _ in range(2)]
        dead, alive = (RedisLine(client) for client in clients)
        first, second, third = ticket(1), ticket(2), ticket(3)
        assert await dead.enter(first, ROOM) == NOW
        assert await alive.enter(second, ROOM) == 1
        # A living one keeps it for longer than a lease.
        await asyncio.sleep(0.9)
        assert await alive.look("desk", [second], 1) == [1]
        dead._running.clear()
        async with asyncio.timeout(10):
            while await alive.look("desk", [second], 1) != [NOW]:
                await asyncio.sleep(0.02)
        # One that starts anew learns who runs, and who waits.
        assert await dead.enter(third, ROOM) == 1
        await clients[0].flushall()
        assert await dead.look("desk", [third], 0) == [1]
        async with asyncio.timeout(10):
            while await clients[0].zcard("pointsman:{line:desk}:run") != 1:
                await asyncio.sleep(0.02)
        assert await dead.look("desk", [third], 1) == [1]
        for line, client in zip((dead, alive), clients, strict=True):
            await line.close()
            await client.aclose()


async def test_a_redis_that_is_gone_is_said(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        client = Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
        line = RedisLine(client)
        assert await line.enter(ticket(1), ROOM) == NOW
    with pytest.raises(LineGoneError):
        await line.enter(ticket(2), ROOM)
    with pytest.raises(LineGoneError):
        await line.took("desk")
    await line.close()
    await client.aclose()


async def test_a_board_that_is_full_says_so_and_goes_back_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.jobs.line_board.ROWS", 40)
    board = BoardLines().of(0)
    tickets = [ticket(n) for n in range(1, 42)]
    places = [await board.enter(one, Room(99, 9, 0.0)) for one in tickets]
    assert places == [NOW] * 40 + [LINE_FULL]
    for one in tickets:
        board.leave(one, 0.1)
    assert isinstance(board, BoardLine)
    assert not board._rows()


TOML = """
[classifier]
url = "http://127.0.0.1:1"
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[routes.desk]
local = ["lab/m"]
strong = []
threshold = 0.0
queue = true
max_in_flight = 2
[store]
redis = "{redis}"
"""
PLACE = re.compile(r": queued, (\d+)")


async def ask(url: str, seen: list[list[int]] | None = None) -> str:
    """A stream of its own connection; the places that it was told, and its text."""
    body = {
        "model": "desk",
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/v1/chat/completions", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        text = ""
        places: list[int] = []
        if seen is not None:
            seen.append(places)
        async for raw in answer.content.iter_any():
            text += raw.decode()
            places[:] = [int(one) for one in PLACE.findall(text)]
        return text


async def counted(upstream: ReplayServer, urls: list[str]) -> None:
    """Twelve ask at once, for two places."""
    seen: list[list[int]] = []
    told = await asyncio.gather(*(ask(urls[n % len(urls)], seen) for n in range(12)))
    assert all("Hello" in one for one in told)
    assert upstream.most_open == 2
    # Ten had to wait; each was told his place in the one line, and it only went down.
    waited = [one for one in seen if one]
    assert len(waited) == 10
    assert sorted(one[0] for one in waited) == list(range(1, 11))
    for one in waited:
        assert one == sorted(one, reverse=True)


def slow() -> Play:
    return Play(openai_stream("Hello"), before_s=0.5)


async def test_workers_share_the_places_and_the_line(tmp_path: Path) -> None:
    async with (
        ReplayServer(slow()) as upstream,
        gateway(
            tmp_path, TOML.format(upstream=upstream.url, redis=""), "--workers", "3"
        ) as running,
    ):
        await counted(upstream, [running.url])


async def test_gateways_share_them_over_a_redis(tmp_path: Path) -> None:
    with servers.redis(tmp_path / "redis") as redis:
        async with (
            ReplayServer(slow()) as upstream,
            gateways(tmp_path, TOML.format(upstream=upstream.url, redis=redis), 2) as started,
        ):
            await counted(upstream, [one.url for one in started])


async def test_a_killed_worker_frees_the_places_that_it_had(tmp_path: Path) -> None:
    never = Play(openai_stream("Hello"), before_s=600)
    async with (
        ReplayServer(never) as upstream,
        gateway(
            tmp_path, TOML.format(upstream=upstream.url, redis=""), "--workers", "2"
        ) as running,
    ):
        stuck = [asyncio.create_task(ask(running.url)) for _ in range(2)]
        await upstream.until_received(2)
        upstream.play(Play(openai_stream("Hello")))
        seen: list[list[int]] = []
        waits = [asyncio.create_task(ask(running.url, seen)) for _ in range(6)]
        async with asyncio.timeout(20):
            while sum(bool(one) for one in seen) < 6:
                await asyncio.sleep(0.02)
        for pid in children(running.child.pid):
            os.kill(pid, signal.SIGKILL)
        # All callers of the dead are gone; whoever comes then is answered.
        await asyncio.gather(*stuck, *waits, return_exceptions=True)
        async with asyncio.timeout(30):
            while True:
                try:
                    assert "Hello" in await ask(running.url)
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)


async def test_while_the_redis_is_gone_each_counts_alone(tmp_path: Path) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ReplayServer(slow()))
        with servers.redis(tmp_path / "redis", port=port) as redis:
            given = TOML.format(upstream=upstream.url, redis=redis)
            [one] = await stack.enter_async_context(gateways(tmp_path, given, 1))
            upstream.play(Play(openai_stream("Hello"), before_s=3))
            seen: list[list[int]] = []
            asked = [asyncio.create_task(ask(one.url, seen)) for _ in range(6)]
            async with asyncio.timeout(10):
                while sum(bool(each) for each in seen) < 4:
                    await asyncio.sleep(0.02)
            upstream.play(slow())
        # Those who waited there go on waiting here.
        told = await asyncio.gather(*asked)
        assert all("Hello" in each for each in told)
        assert upstream.most_open == 2
        told = await asyncio.gather(*(ask(one.url) for _ in range(6)))
        assert all("Hello" in each for each in told)
        assert upstream.most_open == 2
        with servers.redis(tmp_path / "again", port=port):
            told = await asyncio.gather(*(ask(one.url) for _ in range(6)))
            assert all("Hello" in each for each in told)
            assert upstream.most_open == 2
