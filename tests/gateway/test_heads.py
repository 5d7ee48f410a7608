"""A head that comes again is not parsed again, and what is read of it is what aiohttp's parser
reads: no caller gets past it with anything that the parser would have seen otherwise."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from gateway.direct import Direct, Known, Whole
from gateway.heads import LONGEST, head_in
from gateway.middleware import REQUEST_ID
from tests.gateway.test_direct import LAST, STREAM, WHOLE, gateway_before, in_pieces, saying_hello
from tests.replay.connection import head, raw

PLAIN = head(5) + b"12345"
PIECES = (
    b"POST /complete HTTP/1.1",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"Content-Length: 5",
    b"content-length:0005",
    b"Content-Length: 5 ",
    b"Content-Length : 5",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length: 4",
    b"Transfer-Encoding: chunked",
    b"X-Own: a",
    b"X-Own: \xff",
    b" folded",
    b"12345",
    b"5\r\n12345\r\n0\r\n\r\n",
)
WORDS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=9).map(b"".join)


def parsed(data: bytes) -> list[tuple[Any, bytes]] | None:
    """What aiohttp reads, each question with its body; None for what is no HTTP."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
        try:
            messages, upgraded, tail = parser.feed_data(data)
        except HttpProcessingError:
            return None
        assert not tail or upgraded
        return [
            (message, b"".join(getattr(body, "_buffer", ())) if body.is_eof() else b"(not whole)")
            for message, body in messages
        ]
    finally:
        loop.close()


@given(WORDS, WORDS)
@example(b"", b"12345")
@example(b"X-Own: a\r\n", b"12345")
@tries(max_examples=600, deadline=None)
def test_a_head_that_is_plain_ends_where_the_parser_says(more: bytes, body: bytes) -> None:
    data = PLAIN[: PLAIN.index(b"Content-")] + more + b"Content-Length: 5\r\n\r\n" + body
    found = head_in(data)
    if found is None or found.size != len(data):
        return
    read = parsed(data)
    assert read is not None
    [(message, whole)] = read
    assert whole == data[len(data) - found.length :]
    assert int(message.headers.get("Content-Length", "0")) == found.length
    assert not message.chunked
    assert not message.upgrade


@given(st.integers(0, 30), st.integers(0, len(PLAIN)), WORDS, st.binary(max_size=12))
@example(0, 0, b"", b"")
@tries(max_examples=600, deadline=None)
def test_only_the_same_head_is_known_again(
    length: int, place: int, between: bytes, behind: bytes
) -> None:
    first = head_in(PLAIN)
    assert first is not None
    other = head(length) + b"x" * length
    data = other[:place] + between + other[place:] + behind
    body = first.body_in(data)
    if data == other:
        assert body == b"x" * length
    if body is None:
        return
    read = parsed(data)
    assert read is not None
    [(message, whole)] = read
    assert whole == body
    assert message.path == "/complete"
    assert dict(message.headers) == {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": message.headers["Content-Length"],
    }
    assert int(message.headers["Content-Length"]) == len(body)


@pytest.mark.parametrize(
    "data",
    [
        head(5)[:-1],
        b"\r\n" + head(5),
        head(5).replace(b"\r\n", b"\n"),
        head(5, more="Content-Length: 5\r\n"),
        head(5, more="Transfer-Encoding: chunked\r\n"),
        head(5, more="Upgrade: websocket\r\n"),
        head(5, more="X-Own: a\r\n b\r\n"),
        head(5, more="X-Own : a\r\n"),
        head(5, more="X-Own: \x7f\r\n"),
        head(5).replace(b": 5", b": 5 "),
        head(5).replace(b": 5", b": +5"),
        head(5).replace(b": 5", b": 1234567890"),
        head(5).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert head_in(data) is None


def test_a_long_head_is_not_kept() -> None:
    for size, kept in ((LONGEST - 200, True), (LONGEST, False)):
        found = head_in(head(5, more=f"X-Own: {'a' * size}\r\n"))
        assert found is not None
        assert found.may_come_again is kept
    none = head_in(b"POST /complete HTTP/1.1\r\nHost: a\r\n\r\n")
    assert none is not None
    assert not none.may_come_again


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[Whole]:
    """The requests that were made of a head that came again."""
    made: list[Whole] = []
    was = Known.request

    def seen(self: Known, by: Direct, body: bytes, task: asyncio.Task[None]) -> Whole:
        made.append(was(self, by, body, task))
        return made[-1]

    monkeypatch.setattr(Known, "request", seen)
    return made


def question(words: str, more: str = "", path: str = "/complete", **given: Any) -> bytes:
    body = orjson.dumps({"message": words, "model": "easy/m", "stream": False, **given})
    return head(len(body), path, more) + body


async def test_a_head_that_comes_again_is_read_with_its_own_body_and_length(
    known: list[Whole],
) -> None:
    plays = [saying_hello(False) for _ in range(4)]
    async with gateway_before(*plays) as (gateway, upstream):
        connection = await raw(gateway)
        for words in ("Hi", "Ho", "Hello there"):
            status, told, body = await connection.ask(question(words))
            assert status == 200
            assert b"Hello you" in body
            assert len(told["x-request-id"]) == 24
        connection.close()
        sent = [one.body["messages"][-1]["content"] for one in upstream.received]
        assert sent == ["Hi", "Ho", "Hello there"]
    assert len(known) == 2
    for request in known:
        length = str(len(await request.read()))
        assert request.headers["content-length"] == length
        assert (b"Content-Length", length.encode()) in request.raw_headers
        assert request.headers["Host"] == request.host == "127.0.0.1"
        assert request.content_length == int(length)
    first, second = known
    assert first[REQUEST_ID] != second[REQUEST_ID]


async def test_streams_take_it_too(known: list[Whole]) -> None:
    async with gateway_before(saying_hello(True), saying_hello(True)) as (gateway, _):
        connection = await raw(gateway)
        for _ in range(2):
            connection.say(head(len(STREAM)) + STREAM)
            told = await connection.until(LAST)
            assert b'"done":true' in told
        connection.close()
    assert len(known) == 1


async def test_another_key_on_the_same_connection_is_another_caller(known: list[Whole]) -> None:
    tree = {"access": {"admin_token": "good-token-0123456789", "open": False}}
    async with gateway_before(saying_hello(False), saying_hello(False), **tree) as (gateway, _):
        connection = await raw(gateway)
        good, bad = (
            f"Authorization: Bearer {key}-token-0123456789\r\n" for key in ("good", "evil")
        )
        answers = [
            (await connection.ask(question("Hi", more)))[0] for more in (good, good, bad, "", good)
        ]
        assert answers == [200, 200, 401, 401, 200]
        connection.close()
    assert len(known) == 1


async def test_a_body_that_looks_like_a_question_stays_a_body(known: list[Whole]) -> None:
    """Smuggling: what stands in a body, in a packet of its own, is nobody's head."""
    inner = question("Hi")
    async with gateway_before(*(saying_hello(False) for _ in range(4))) as (gateway, upstream):
        connection = await raw(gateway)
        assert (await connection.ask(question("Hi")))[0] == 200
        for _ in range(2):
            await in_pieces(connection, head(len(inner)), inner)
            status, _, body = await connection.hear()
            assert status == 400
            assert b"not JSON" in body
        assert len(upstream.received) == 1
        # And behind it the connection is where it was.
        assert (await connection.ask(question("Hi")))[0] == 200
        assert (await connection.ask(question("Ho")))[0] == 200
        connection.close()
    assert len(known) == 1


async def test_what_was_begun_in_pieces_is_the_parsers_to_the_end(known: list[Whole]) -> None:
    async with gateway_before(*(saying_hello(False) for _ in range(9))) as (gateway, upstream):
        connection = await raw(gateway)
        asked = question("Hi")
        assert (await connection.ask(asked))[0] == 200
        for at in (1, len(asked) - len(WHOLE) - 3, len(asked) - 1):
            await in_pieces(connection, asked[:at], asked[at:])
            assert (await connection.hear())[0] == 200
        # Two at once, and half of a third.
        connection.say(asked + asked + asked[:40])
        assert [(await connection.hear())[0] for _ in range(2)] == [200, 200]
        connection.say(asked[40:])
        assert (await connection.hear())[0] == 200
        assert len(upstream.received) == 7
        connection.close()
    assert not known


async def test_behind_half_a_head_nothing_is_known(known: list[Whole]) -> None:
    async with gateway_before(*(saying_hello(False) for _ in range(3))) as (gateway, upstream):
        connection = await raw(gateway)
        assert (await connection.ask(question("Hi")))[0] == 200
        assert (await connection.ask(question("Hi") + b"POST /complete"))[0] == 200
        status, _, body = await connection.ask(question("Hi"))
        assert status == 400
        assert b"invalid_http" in body
        assert len(upstream.received) == 2
        connection.close()
    assert not known


async def test_it_is_known_again_behind_a_body_that_came_later(known: list[Whole]) -> None:
    """As clients send that write head and body each by itself, when the kernel joins the two."""
    async with gateway_before(*(saying_hello(False) for _ in range(4))) as (gateway, _):
        connection = await raw(gateway)
        for _ in range(2):
            await in_pieces(connection, head(len(WHOLE)), WHOLE)
            assert (await connection.hear())[0] == 200
        assert not known
        for _ in range(2):
            assert (await connection.ask(head(len(WHOLE)) + WHOLE))[0] == 200
        connection.close()
    assert len(known) == 1


async def test_who_is_too_many_is_turned_away_there_too(known: list[Whole]) -> None:
    slow = saying_hello(False, before_s=20)
    tree = {"server": {"max_in_flight": 1}}
    async with gateway_before(saying_hello(False), slow, **tree) as (gateway, upstream):
        connection = await raw(gateway)
        assert (await connection.ask(question("Hi")))[0] == 200
        holder = asyncio.create_task(gateway.complete(message="Hi", model="easy/m", stream=False))
        await upstream.until_received(2)
        for _ in range(3):
            status, told, _ = await connection.ask(question("Hi"))
            assert status == 503
            # As ready bytes, before any handler.
            assert "date" not in told
        status, told, _ = await connection.ask(question("Hi", "X-Request-Id: mine\r\n"))
        assert (status, told["x-request-id"]) == (503, "mine")
        assert len(upstream.received) == 2
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        connection.close()


async def test_a_packed_body_is_the_parsers(known: list[Whole]) -> None:
    packed = gzip.compress(WHOLE)
    asked = head(len(packed), more="Content-Encoding: gzip\r\n") + packed
    async with gateway_before(saying_hello(False), saying_hello(False)) as (gateway, _):
        connection = await raw(gateway)
        assert [(await connection.ask(asked))[0] for _ in range(2)] == [200, 200]
        connection.close()
    assert not known


async def test_a_mistake_behind_a_known_head_is_told_and_the_next_is_answered(
    known: list[Whole],
) -> None:
    async with gateway_before(saying_hello(False), saying_hello(False)) as (gateway, _):
        connection = await raw(gateway)
        assert (await connection.ask(question("Hi")))[0] == 200
        status, _, body = await connection.ask(question("Hi", temperature="warm"))
        assert status == 400
        assert b"temperature" in body
        assert (await connection.ask(head(0)))[0] == 400
        assert (await connection.ask(question("Hi")))[0] == 200
        connection.close()
    assert len(known) == 3
