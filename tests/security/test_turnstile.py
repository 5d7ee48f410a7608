"""Too much to do: callers are turned away cheaply, in their own words, and nobody is lost by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from gateway.engine.pressure import LEAST, LOOK_S, Pressure
from gateway.middleware import CHATS
from gateway.settings import Server
from tests.doors.upstreams import HELLO, play, provider
from tests.replay.connection import head, raw
from tests.replay.gateway import Running, running, settings
from tests.replay.server import ReplayServer

BODY = orjson.dumps({"message": "Hi", "model": "easy/m", "stream": False})
QUESTION = {"message": "Hi", "model": "easy/m"}
IN_OWN_WORDS = {
    "/complete": (503, b'{"error":{"message":'),
    "/v1/chat/completions": (503, b'{"error":{"message":'),
    "/v1/messages": (529, b'{"type":"error","error":{"type":"overloaded_error"'),
    "/v1/responses": (503, b'{"error":{"message":'),
    "/api/chat": (503, b'{"error":"'),
    "/api/generate": (503, b'{"error":"'),
    "/chat/completions": (503, b'{"error":{"message":'),
    "/chat/completions/stream": (503, b'{"error":{"message":'),
}


@asynccontextmanager
async def full(*plays: Any) -> AsyncGenerator[tuple[Running, asyncio.Task[Any]], None]:
    """A gateway whose only place is taken, and who has it."""
    slow = play("openai", HELLO, False, before_s=20)
    async with ReplayServer(slow, *plays) as upstream:
        given = settings(
            providers={"easy": provider("openai", upstream.url)}, server={"max_in_flight": 1}
        )
        async with running(given) as gateway:
            holder = asyncio.create_task(gateway.complete(**QUESTION, stream=False))
            await upstream.until_received(1)
            yield gateway, holder
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)


def test_every_path_has_its_words_here() -> None:
    assert set(IN_OWN_WORDS) == CHATS


@pytest.mark.parametrize("path", sorted(IN_OWN_WORDS))
async def test_who_is_turned_away_is_told_so_in_his_own_words(path: str) -> None:
    status, words = IN_OWN_WORDS[path]
    async with full() as (gateway, _):
        connection = await raw(gateway)
        told = await connection.ask(head(len(BODY), path, more="X-Request-Id: mine-7\r\n") + BODY)
        # A body that comes later takes the usual way, with the same words.
        connection.say(head(len(BODY), path, more="X-Request-Id: mine-7\r\n"))
        await asyncio.sleep(0.05)
        usual = await connection.ask(BODY)
        connection.close()
        assert told[0] == usual[0] == status
        assert told[2] == usual[2]
        assert told[2].startswith(words)
        for name in ("retry-after", "x-request-id", "request-id", "x-content-type-options"):
            assert told[1][name] == usual[1][name], name
        assert told[1]["content-type"].startswith("application/json")
        assert int(told[1]["retry-after"]) >= 1
        assert told[1]["x-request-id"] == "mine-7"
        # What the server itself adds tells the two ways apart.
        assert "date" not in told[1]
        assert "date" in usual[1]
        assert gateway.counted("pointsman_shed") == 2


async def test_the_same_connection_is_answered_when_there_is_room() -> None:
    async with full(play("openai", HELLO, False)) as (gateway, holder):
        connection = await raw(gateway)
        seen = [(await connection.ask(head(len(BODY)) + BODY))[0] for _ in range(50)]
        assert seen == [503] * 50
        holder.cancel()
        while gateway.counted("pointsman_in_flight"):
            await asyncio.sleep(0.01)
        assert (await connection.ask(head(len(BODY)) + BODY))[0] == 200
        assert gateway.counted("pointsman_shed") == 50
        # Not one of them was begun.
        assert gateway.counted("pointsman_requests_total", outcome="failed") == 0
        connection.close()


async def test_questions_behind_one_another_are_each_answered_once() -> None:
    async with full() as (gateway, _):
        connection = await raw(gateway)
        whole = head(len(BODY)) + BODY
        connection.say(whole * 3 + whole[:40])
        seen = [(await connection.hear())[0] for _ in range(3)]
        seen.append((await connection.ask(whole[40:]))[0])
        assert seen == [503] * 4
        connection.close()


async def test_what_is_no_question_to_a_model_is_answered_as_ever() -> None:
    async with full() as (gateway, _):
        connection = await raw(gateway)
        for path in ("/healthz", "/readyz", "/v1/models"):
            asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            connection.say(asked)
            assert (await connection.hear())[0] == 200, path
        status, *_ = await connection.ask(b"POST /complete HTTP/1.1\r\nHost: x y\r\n: \r\n\r\n")
        assert status == 400
        connection.close()


async def test_a_page_of_another_site_is_still_refused_as_such() -> None:
    async with full() as (gateway, _):
        connection = await raw(gateway)
        foreign = head(len(BODY), more="Origin: https://elsewhere.example\r\n") + BODY
        assert (await connection.ask(foreign))[0] == 403
        own = head(len(BODY), more=f"Origin: {gateway.url}\r\nHost: {gateway.url[7:]}\r\n") + BODY
        own = own.replace(b"Host: 127.0.0.1\r\n", b"", 1)
        status, headers, _ = await connection.ask(own)
        assert (status, headers["vary"]) == (503, "origin")
        connection.close()


async def test_one_late_moment_turns_nobody_away() -> None:
    upstream_plays = [play("openai", HELLO, False) for _ in range(2)]
    async with ReplayServer(*upstream_plays) as upstream:
        given = settings(
            providers={"easy": provider("openai", upstream.url)}, server={"max_lag_ms": 200}
        )
        async with running(given) as gateway:
            await asyncio.sleep(LOOK_S / 2)
            time.sleep(0.6)  # noqa: ASYNC251 -- that is the point
            assert (await gateway.complete(**QUESTION, stream=False)).status == 200


class Clocked:
    """A Pressure on a clock of its own, and callers who are answered within its looks."""

    def __init__(self, max_lag_ms: float) -> None:
        self.now = 100.0
        self.pressure = Pressure(Server(max_lag_ms=max_lag_ms), lambda: self.now)

    def looks(self, late: float) -> bool:
        self.now += LOOK_S + late
        self.pressure._look()
        return self.pressure.tight

    def ask(self, count: int, over_s: float) -> int:
        """How many of them are let in, and answered at once."""
        got_in = 0
        for _ in range(count):
            self.now += over_s / count
            self.pressure._due += over_s / count
            if not self.pressure.tight or self.pressure.turns_away(1) is None:
                self.pressure.begin(0)
                got_in += 1
        return got_in


@pytest.fixture
async def clocked() -> AsyncGenerator[Clocked, None]:
    one = Clocked(max_lag_ms=100)
    one.pressure.start()
    yield one
    one.pressure.stop()


async def test_a_loop_that_is_late_twice_running_sheds(clocked: Clocked) -> None:
    assert [clocked.looks(late) for late in (0.0, 0.2, 0.0, 0.2, 0.3)] == [
        *(False, False, False, False),
        True,
    ]


async def test_as_many_are_let_in_as_were_answered_and_all_again_when_it_is_calm(
    clocked: Clocked,
) -> None:
    assert clocked.ask(200, 0.2) == 200
    clocked.looks(0.2)
    assert clocked.ask(200, 0.2) == 200
    assert clocked.looks(0.2)
    # 200 in half a second were answered; twice as many come now.
    seen = []
    for _ in range(20):
        seen.append(clocked.ask(80, 0.1))
        clocked.looks(0.0)
    assert 10 <= seen[0] <= 45
    assert sorted(seen) == seen or max(seen) >= 75, "it finds out how many are possible"
    assert clocked.pressure.shed == 20 * 80 - sum(seen)
    # Nobody asks any more.
    for _ in range(25):
        clocked.looks(0.0)
    assert not clocked.pressure.tight


async def test_a_few_are_let_in_however_late_the_loop_is(clocked: Clocked) -> None:
    for _ in range(10):
        clocked.looks(1.0)
    assert clocked.pressure.tight
    assert clocked.ask(100, 1.0) >= LEAST - 1


async def test_a_question_that_is_never_begun_takes_nobodys_place() -> None:
    async with full(play("openai", HELLO, False)) as (gateway, holder):
        connection = await raw(gateway)
        assert (await connection.ask(head(len(BODY)) + BODY))[0] == 503
        holder.cancel()
        while gateway.counted("pointsman_in_flight"):
            await asyncio.sleep(0.01)
        for _ in range(5):
            assert (await connection.ask(head(length=2) + b"{]"))[0] == 400
        await asyncio.sleep(3 * LOOK_S)
        assert (await connection.ask(head(len(BODY)) + BODY))[0] == 200
        connection.close()
