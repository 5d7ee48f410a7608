"""A whole question takes a shorter way to its handler than one that comes in pieces, and nothing of
what a caller may rely on is another on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway.app import build_app, build_runner
from gateway.direct import Direct, Short, doors_of
from gateway.middleware import CHATS
from gateway.services import SERVICES
from gateway.turnstile import Runner
from tests.replay.connection import Raw, head, raw
from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

WHOLE = orjson.dumps({"message": "Hi", "model": "easy/m", "stream": False})
STREAM = orjson.dumps({"message": "Hi", "model": "easy/m", "stream": True})
HI = [{"role": "user", "content": "Hi"}]
OWN_EACH_TIME = ("x-request-id", "request-id", "date", "content-length")
"""Milliseconds and ids in a body make its length another one."""
LAST = b"0\r\n\r\n"
"""Ends a body that comes in chunks."""


def saying_hello(stream: bool, **knobs: Any) -> Play:
    if stream:
        return Play(openai_stream("Hello", " you"), content_type="text/event-stream", **knobs)
    return Play(openai_body("Hello you"), content_type="application/json", **knobs)


@asynccontextmanager
async def gateway_before(*plays: Any, **tree: Any) -> AsyncGenerator[tuple[Running, ReplayServer]]:
    async with ReplayServer(*plays) as upstream:
        given = settings(providers={"easy": openai_provider(upstream.url)}, **tree)
        async with running(given) as gateway:
            yield gateway, upstream


async def in_pieces(connection: Raw, question: bytes, body: bytes) -> None:
    connection.say(question)
    await asyncio.sleep(0.05)
    connection.say(body)


def same(headers: dict[str, str]) -> dict[str, str]:
    assert all(headers[name] for name in OWN_EACH_TIME)
    return {name: value for name, value in headers.items() if name not in OWN_EACH_TIME}


@pytest.mark.parametrize(
    "path", ["/complete", "/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/responses"]
)
@pytest.mark.parametrize("origin", ["", "Origin: http://127.0.0.1:1\r\n"])
async def test_both_ways_give_the_same_answer(path: str, origin: str) -> None:
    body: dict[str, Any] = {"model": "easy/m", "stream": False, "max_tokens": 9}
    if path == "/v1/responses":
        body |= {"input": "Hi", "max_output_tokens": body.pop("max_tokens")}
    elif path == "/complete":
        body["message"] = "Hi"
    else:
        body["messages"] = HI
    sent = orjson.dumps(body)
    async with gateway_before(saying_hello(False)) as (gateway, _):
        connection = await raw(gateway)
        question = head(len(sent), path, origin)
        short = await connection.ask(question + sent)
        await in_pieces(connection, question, sent)
        usual = await connection.hear()
        connection.close()
        assert short[0] == usual[0] == 200
        assert same(short[1]) == same(usual[1])
        assert short[1].get("vary") == ("origin" if origin else None)
        assert short[1]["x-content-type-options"] == "nosniff"
        assert int(short[1]["content-length"]) == len(short[2])
        assert set(orjson.loads(short[2])) == set(orjson.loads(usual[2]))
        assert b"Hello" in short[2]
        assert gateway.counted("pointsman_in_flight") == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions/stream"])
async def test_both_ways_give_the_same_stream(path: str) -> None:
    sent = orjson.dumps({"model": "easy/m", "stream": True, "messages": HI})
    async with gateway_before(saying_hello(True)) as (gateway, _):
        connection = await raw(gateway)
        connection.say(head(len(sent), path) + sent)
        short = await connection.until(LAST)
        await in_pieces(connection, head(len(sent), path), sent)
        usual = await connection.until(LAST)
        connection.close()
        assert short.count(b"data: ") == usual.count(b"data: ") > 2
        assert b"Hello" in short
        assert b"Hello" in usual


@pytest.mark.parametrize("value", ["a\nX-Own: b", "a\r\nX-Own: b", "a\rb"])
def test_a_line_break_in_a_header_goes_out_to_nobody(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        Short(b"{}", {"X-Pointsman-Target": value}).ready()


def test_each_door_of_chats_has_the_short_way() -> None:
    assert set(doors_of(build_app(settings(), {}), CHATS)) == CHATS


async def test_a_mistake_is_told_on_both_ways_and_the_connection_goes_on() -> None:
    wrong = orjson.dumps({"message": 7})
    async with gateway_before(saying_hello(False)) as (gateway, _):
        connection = await raw(gateway)
        short = await connection.ask(head(len(wrong)) + wrong)
        await in_pieces(connection, head(len(wrong)), wrong)
        usual = await connection.hear()
        assert short[0] == usual[0] == 400
        assert short[2] == usual[2]
        assert b"message" in short[2]
        assert (await connection.ask(head(len(WHOLE)) + WHOLE))[0] == 200
        connection.close()


async def test_the_handler_is_reached_without_the_connections_own_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[bool] = []
    was = Direct.taken

    def seen(self: Direct, *given: Any) -> bool:
        taken.append(was(self, *given))
        return taken[-1]

    monkeypatch.setattr(Direct, "taken", seen)
    async with gateway_before(saying_hello(False)) as (gateway, _):
        connection = await raw(gateway)
        assert (await connection.ask(head(len(WHOLE)) + WHOLE))[0] == 200
        await in_pieces(connection, head(len(WHOLE)), WHOLE)
        assert (await connection.hear())[0] == 200
        connection.close()
    # The first is the greeting of the connection.
    assert taken[-2:] == [True, False]


async def test_questions_behind_one_another_are_answered_in_turn() -> None:
    plays = [saying_hello(False, before_s=0.1) for _ in range(4)]
    async with gateway_before(*plays) as (gateway, upstream):
        connection = await raw(gateway)
        for number in range(4):
            more = f"X-Request-Id: turn-{number}\r\n"
            connection.say(head(len(WHOLE), more=more) + WHOLE)
            # In packets of their own, while the one before is being answered.
            await asyncio.sleep(0.02)
        answers = [await connection.hear() for _ in range(4)]
        assert [status for status, *_ in answers] == [200] * 4
        assert [told["x-request-id"] for _, told, _ in answers] == [
            f"turn-{number}" for number in range(4)
        ]
        assert upstream.most_open == 1
        connection.close()


async def test_a_stream_is_whole_before_the_next_question_is_begun() -> None:
    slow = saying_hello(True, chunk=40, delay_s=0.01)
    async with gateway_before(slow, saying_hello(False)) as (gateway, upstream):
        connection = await raw(gateway)
        connection.say(head(len(STREAM)) + STREAM)
        await upstream.until_received(1)
        connection.say(head(len(WHOLE)) + WHOLE)
        await connection.until(b"\r\n\r\n")
        stream = await connection.until(LAST)
        assert b'"done":true' in stream
        assert (await connection.hear())[0] == 200
        assert upstream.most_open == 1
        connection.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_frees_his_upstream(stream: bool) -> None:
    held = saying_hello(stream)
    if stream:
        held.stall = held.body.index(b"you")
    else:
        held.before_s = 20
    body = STREAM if stream else WHOLE
    async with gateway_before(held) as (gateway, upstream):
        connection = await raw(gateway)
        connection.say(head(len(body)) + body)
        await upstream.until_received(1)
        if stream:
            await connection.until(b"Hello")
        connection.close()
        async with asyncio.timeout(5):
            while not gateway.summed("pointsman_requests_total", outcome="cancelled"):
                await asyncio.sleep(0.01)
        await upstream.until_left(1)
        assert gateway.counted("pointsman_in_flight") == 0


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("body", [WHOLE, STREAM], ids=["whole", "stream"])
async def test_who_wants_no_more_is_closed_behind_his_answer(version: str, body: bytes) -> None:
    upstreams = saying_hello(body is STREAM)
    async with gateway_before(upstreams) as (gateway, _):
        connection = await raw(gateway)
        asked = head(len(body), more="Connection: close\r\n").replace(b"1.1", version.encode(), 1)
        connection.say(asked + body)
        told = await connection.rest()
        assert told.startswith(f"HTTP/{version} 200 OK\r\n".encode())
        assert b"Hello" in told
        assert (told.endswith(LAST)) == (version == "1.1" and body is STREAM)
        connection.close()


async def test_who_asks_whether_he_may_go_on_is_told_so() -> None:
    async with gateway_before(saying_hello(False)) as (gateway, _):
        connection = await raw(gateway)
        connection.say(head(len(WHOLE), more="Expect: 100-continue\r\n") + WHOLE)
        assert await connection.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await connection.hear())[0] == 200
        connection.close()


async def test_an_answer_may_take_longer_than_a_connection_may_idle() -> None:
    slow = saying_hello(False, before_s=1.2)
    async with ReplayServer(slow) as upstream:
        given = settings(providers={"easy": openai_provider(upstream.url)})
        app = build_app(given, {})
        runner = Runner(app, handler_cancellation=True, access_log=None, keepalive_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            connection = await raw(Running(url, app[SERVICES], runner, session))
            assert (await connection.ask(head(len(WHOLE)) + WHOLE))[0] == 200
            # And who asks nothing more is closed.
            assert await connection.rest() == b""
            connection.close()
        await runner.cleanup()


async def test_an_open_answer_is_finished_when_the_gateway_stops() -> None:
    slow = saying_hello(True, chunk=40, delay_s=0.02)
    async with ReplayServer(slow) as upstream:
        given = settings(providers={"easy": openai_provider(upstream.url)})
        app = build_app(given, {})
        runner = build_runner(app, given)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            gateway = Running(url, app[SERVICES], runner, session)
            connection, idle = await raw(gateway), await raw(gateway)
            connection.say(head(len(STREAM)) + STREAM)
            await upstream.until_received(1)
            stopping = asyncio.create_task(runner.cleanup())
            told = await connection.rest()
            assert told.endswith(LAST)
            assert b'"done":true' in told
            assert await idle.rest() == b""
            connection.close()
            idle.close()
            await stopping
