"""What an upstream says in mid-answer goes to the caller in the turn of the loop in which it came,
and nothing of what he may rely on is another on that way."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from gateway.routes.outgoing import Outgoing
from tests.faults.language import SSE, Anthropic, Language, OpenAi
from tests.faults.upstream import END, Play, RawUpstream, Step, chunk, opening, upstream
from tests.replay.gateway import Running, openai_provider, running, settings

WORDS = [f"mark{number:04d} " for number in range(40)]
APART = 0.003
"""Seconds between two writes: the reader waits again by then."""
HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "lab/m", "max_tokens": 9}
ASKED: dict[str, dict[str, Any]] = {
    "/complete": {"message": "Hi", "model": "lab/m"},
    "/v1/chat/completions": HI,
    "/v1/messages": HI,
    "/api/chat": HI,
    "/v1/responses": {"input": "Hi", "model": "lab/m"},
}
LANGUAGES: dict[str, Language] = {"openai": OpenAi(), "anthropic": Anthropic()}


class Ways:
    """Counts the pieces by the way that they took."""

    def __init__(self) -> None:
        self.short = self.long = 0
        self.closed = False
        """Nothing may take the short way."""


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    seen = Ways()
    put, ready, write = Outgoing.put, Outgoing.ready, Outgoing.write

    def counted(out: Outgoing, piece: bytes) -> None:
        seen.short += 1
        put(out, piece)

    async def counted_long(out: Outgoing, piece: bytes) -> None:
        seen.long += 1
        await write(out, piece)

    monkeypatch.setattr(Outgoing, "put", counted)
    monkeypatch.setattr(Outgoing, "write", counted_long)
    monkeypatch.setattr(Outgoing, "ready", lambda out: not seen.closed and ready(out))
    return seen


def apart(*pieces: bytes) -> list[bytes | float | Step]:
    play: list[bytes | float | Step] = []
    for piece in pieces:
        play += (chunk(piece), APART)
    return play


def told(language: Language, *last: bytes | float | Step) -> Play:
    ends = last or (*apart(language.finish() + language.terminator), END)
    return [
        opening(SSE),
        *apart(language.start(), *(language.text(word) for word in WORDS)),
        *ends,
    ]


@asynccontextmanager
async def gateway_before(
    play: Play, kind: str = "openai", **tree: Any
) -> AsyncGenerator[tuple[Running, RawUpstream]]:
    async with upstream(play, []) as up:
        lab = openai_provider(up.url) if kind == "openai" else {"kind": kind, "base_url": up.url}
        given = settings(providers={"lab": lab | {"api_key": "k"}}, **tree)
        async with running(given) as gateway:
            yield gateway, up


async def heard(gateway: Running, path: str) -> bytes:
    body = {**ASKED[path], "stream": True}
    async with asyncio.timeout(10), gateway.session.post(gateway.url + path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def until_free(up: RawUpstream) -> None:
    async with asyncio.timeout(5):
        while up.busy:
            await asyncio.sleep(0.01)


def texts(raw: bytes) -> list[str]:
    """The marks in the order in which they came, whatever the language."""
    return [part[:4].decode() for part in raw.split(b"mark")[1:]]


@pytest.mark.parametrize("kind", LANGUAGES)
@pytest.mark.parametrize("path", ASKED)
async def test_both_ways_say_the_same(path: str, kind: str, ways: Ways) -> None:
    async with gateway_before(told(LANGUAGES[kind]), kind) as (gateway, _):
        short = await heard(gateway, path)
        took = ways.short
        ways.short, ways.closed = 0, True
        long = await heard(gateway, path)
    numbers = [f"{number:04d}" for number in range(len(WORDS))]
    assert texts(short)[: len(WORDS)] == numbers
    assert texts(short) == texts(long)
    assert short.count(b"\n\n") == long.count(b"\n\n")
    assert ways.short == 0
    if path != "/v1/responses":
        # The first piece and the last go the long way, and what came while one was written.
        assert took > len(WORDS) // 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/complete"])
async def test_the_frames_of_a_relay_are_the_upstreams_on_both_ways(path: str, ways: Ways) -> None:
    async with gateway_before(told(OpenAi())) as (gateway, _):
        found = []
        for closed in (False, True):
            ways.closed = closed
            raw = await heard(gateway, path)
            # What has a time or an id of its own is in the last event only.
            frames = raw.split(b"\n\n")[: len(WORDS)]
            found.append([frame.partition(b'"timestamp"')[0] for frame in frames])
    assert found[0] == found[1]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/complete", "/v1/messages"])
async def test_an_error_in_mid_stream_is_told_in_band(path: str, ways: Ways) -> None:
    language = OpenAi()
    broken = told(language, *apart(language.error()), END)
    async with gateway_before(broken) as (gateway, up):
        raw = await heard(gateway, path)
        assert ways.short > len(WORDS) // 2
        assert texts(raw) == [f"{number:04d}" for number in range(len(WORDS))]
        assert b"overloaded" in raw
        assert gateway.summed("pointsman_requests_total", outcome="failed") == 1
        await until_free(up)


@pytest.mark.parametrize("last", [Step.CLOSE, Step.RESET], ids=["close", "reset"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/complete"])
async def test_a_stream_that_is_cut_says_so(path: str, last: Step, ways: Ways) -> None:
    async with gateway_before(told(OpenAi(), last)) as (gateway, _):
        raw = await heard(gateway, path)
        assert ways.short > len(WORDS) // 2
        assert texts(raw) == [f"{number:04d}" for number in range(len(WORDS))]
        assert b'"error"' in raw
        assert gateway.summed("pointsman_requests_total", outcome="failed") == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/complete"])
async def test_silence_in_mid_stream_is_kept_alive_and_then_told(path: str, ways: Ways) -> None:
    limits = {"idle_s": 0.4, "commit_after_s": 0.1}
    async with gateway_before(told(OpenAi(), Step.STALL), attempts=limits) as (gateway, up):
        raw = await heard(gateway, path)
        assert ways.short > len(WORDS) // 2
        assert b": keepalive\n" in raw
        # The gateway's own look or the connection's, whichever comes first.
        assert b"said nothing for 0.4" in raw or b"it stayed silent" in raw
        await until_free(up)


async def test_chunks_behind_a_keep_alive_take_the_short_way_again(ways: Ways) -> None:
    language = OpenAi()
    more = apart(*(language.text(word) for word in WORDS), language.finish() + language.terminator)
    play = told(language, 0.5, *more, END)
    async with gateway_before(play, attempts={"commit_after_s": 0.1}) as (gateway, _):
        raw = await heard(gateway, "/v1/chat/completions")
    numbers = [f"{number:04d}" for number in range(len(WORDS))]
    assert texts(raw) == numbers * 2
    assert b": keepalive\n" in raw
    assert ways.short > len(WORDS) * 3 // 2


async def test_what_says_that_it_is_done_ends_though_the_connection_stays(ways: Ways) -> None:
    language = OpenAi()
    play = told(language, *apart(language.finish() + language.terminator), Step.STALL)
    async with gateway_before(play, attempts={"idle_s": 30, "write_s": 30}) as (gateway, _):
        raw = await heard(gateway, "/complete")
    assert ways.short > len(WORDS) // 2
    assert b'"done":true' in raw
    assert b'"error"' not in raw


async def test_a_caller_who_is_behind_loses_and_doubles_nothing(ways: Ways) -> None:
    language, count = OpenAi(), 3000
    long = "x" * 4000
    pieces = [chunk(language.text(f"mark{number:04d} {long}")) for number in range(count)]
    play: Play = [opening(SSE), *pieces, chunk(language.finish() + language.terminator), END]
    async with (
        gateway_before(play) as (gateway, _),
        asyncio.timeout(60),
        gateway.session.post(
            gateway.url + "/v1/chat/completions", json={**HI, "stream": True}
        ) as response,
    ):
        # All buffers between the three are full by now.
        await asyncio.sleep(0.7)
        raw = await response.read()
    assert texts(raw) == [f"{number:04d}" for number in range(count)]
    assert raw.endswith(b"data: [DONE]\n\n")
    assert ways.long > 1


async def test_what_is_packed_is_unpacked_on_the_long_way(ways: Ways) -> None:
    language = OpenAi()
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    pieces = [
        packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
        for piece in (language.start(), *(language.text(word) for word in WORDS))
    ]
    pieces.append(packer.compress(language.finish() + language.terminator) + packer.flush())
    assert gzip.decompress(b"".join(pieces)).endswith(language.terminator)
    play: Play = [opening(SSE, "Content-Encoding: gzip"), *apart(*pieces), END]
    async with gateway_before(play) as (gateway, _):
        raw = await heard(gateway, "/v1/chat/completions")
    assert texts(raw) == [f"{number:04d}" for number in range(len(WORDS))]
    assert ways.short == 0


async def test_a_connection_that_is_kept_holds_no_caller() -> None:
    async with gateway_before(told(OpenAi())) as (gateway, up):
        for _ in range(3):
            await heard(gateway, "/v1/chat/completions")
        kept = gateway.services.client._open
        assert kept
        assert all(connection.through is None for connection in kept)
        assert up.asked == 3


async def test_a_caller_who_leaves_in_mid_stream_frees_the_upstream(ways: Ways) -> None:
    async with gateway_before(told(OpenAi(), Step.STALL)) as (gateway, up):
        body = {**HI, "stream": True}
        async with aiohttp.ClientSession() as leaving:
            response = await leaving.post(gateway.url + "/v1/chat/completions", json=body)
            seen = b""
            while b"mark0020" not in seen:
                seen += await response.content.readany()
            response.close()
        await until_free(up)
        assert ways.short > 10
        assert gateway.summed("pointsman_requests_total", outcome="cancelled") == 1
