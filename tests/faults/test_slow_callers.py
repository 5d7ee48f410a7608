"""Callers who hold connections, dribble their requests, or leave all at once."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from pathlib import Path

import orjson
import pytest

from tests.accounts.processes import gateway
from tests.faults.seen import asked, files, ledger, resident, sample, toml, until
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

HELLO = Play(openai_body("hello"), content_type="application/json")
IDLE = 10_000
LEAVING = 1_000
HEAD = b"POST /complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture
def many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < IDLE + 1000:
        assert hard >= IDLE + 1000, f"the machine allows {hard} open files only"
        resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 1000, hard))


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


class Held(asyncio.Protocol):
    """A connection that says `first` and notes what comes of it."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.said = b""
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.first)

    def data_received(self, data: bytes) -> None:
        self.said += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


async def held(port: int, count: int, first: bytes = b"") -> list[Held]:
    loop = asyncio.get_running_loop()
    found: list[Held] = []
    for start in range(0, count, 200):
        opened = await asyncio.gather(
            *(
                loop.create_connection(lambda: Held(first), "127.0.0.1", port)
                for _ in range(start, min(start + 200, count))
            )
        )
        found += [protocol for _, protocol in opened]
    return found


def let_go(connections: list[Held]) -> None:
    for one in connections:
        assert one.transport is not None
        one.transport.abort()


async def test_ten_thousand_idle_connections_harm_nobody(tmp_path: Path, many_files: None) -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, server="head_s = 300")) as running,
    ):
        pid = running.child.pid
        assert (await asked(running.url))[0] == 200
        before, files_before = resident(pid), files(pid)
        idle = await held(port_of(running.url), IDLE)
        for _ in range(20):
            assert (await asked(running.url))[0] == 200
        each = (resident(pid) - before) / IDLE
        sys.stdout.write(f"{IDLE} idle connections: {each:.0f} bytes each\n")
        # The connection that asked first may be gone by now.
        assert files(pid) >= IDLE
        assert each < 32_768
        let_go(idle)

        async def freed() -> bool:
            return files(pid) <= files_before + 5

        await until(freed, "all descriptors are free")
        assert (await asked(running.url))[0] == 200


async def test_who_dribbles_a_head_is_closed(tmp_path: Path) -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, server="head_s = 1.5")) as running,
    ):
        dribbling = await held(port_of(running.url), 50, HEAD)
        silent = await held(port_of(running.url), 50)
        gone = asyncio.gather(*(one.lost for one in dribbling + silent))

        async def dribble() -> None:
            while not gone.done():
                for one in dribbling:
                    assert one.transport is not None
                    one.transport.write(b"X")
                await asyncio.sleep(0.1)

        dribbler = asyncio.create_task(dribble())
        async with asyncio.timeout(10):
            await gone
        await dribbler
        assert (await asked(running.url))[0] == 200
        assert not upstream.received[1:]


async def test_a_connection_in_use_outlives_the_limit_of_a_head(tmp_path: Path) -> None:
    slow = Play(openai_stream("a", "b", "c", "d"), chunk=150, delay_s=0.5)
    async with (
        ReplayServer(HELLO, slow, HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, server="head_s = 0.5")) as running,
    ):
        body = orjson.dumps({"message": "hello", "stream": False})
        whole = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        (one,) = await held(port_of(running.url), 1, whole)
        # The second answer takes longer than a head may; so does the pause before the third.
        streamed = orjson.dumps({"message": "hello"})
        await asyncio.sleep(2)
        assert one.transport is not None
        one.transport.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(streamed), streamed))
        await until(lambda: _ended(one), "the stream ended")
        await asyncio.sleep(2)
        one.transport.write(whole)
        await until(lambda: _answered(one, 3), "the third is answered")
        one.transport.abort()


async def _ended(one: Held) -> bool:
    return b'"done":true' in one.said


async def _answered(one: Held, times: int) -> bool:
    return one.said.count(b"HTTP/1.1 200") == times


async def test_who_dribbles_a_body_gets_a_408_in_the_doors_own_words(tmp_path: Path) -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, server="body_s = 1")) as running,
    ):
        doors = {b"/complete": b'"error"', b"/v1/chat/completions": b'"invalid_request_error"'}
        for path, words in doors.items():
            head = HEAD.replace(b"/complete", path) + b"Content-Length: 1000\r\n\r\n{"
            many = await held(port_of(running.url), 20, head)
            async with asyncio.timeout(10):
                while not all(one.said.endswith(b"}") for one in many):
                    for one in many:
                        assert one.transport is not None
                        one.transport.write(b" ")
                    await asyncio.sleep(0.1)
            for one in many:
                assert one.said.startswith(b"HTTP/1.1 408"), one.said
                assert words in one.said
                assert b"did not come within 1 s" in one.said
            let_go(many)
        assert (await asked(running.url))[0] == 200
        assert len(upstream.received) == 1


class Endless(asyncio.Protocol):
    """An upstream connection that begins a stream and notes when it is let go."""

    freed: dict[int, float]
    begun: set[int]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.got, self.number = transport, b"", -1

    def data_received(self, data: bytes) -> None:
        self.got += data
        if b"GET " in self.got[:4]:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"data":[]}')
            self.got = b""
        elif b"caller-" in self.got and self.number < 0:
            self.number = int(self.got.partition(b"caller-")[2][:4])
            first = openai_stream("begun", finish=None)
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(first), first)
            )
            self.begun.add(self.number)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.number >= 0:
            self.freed[self.number] = time.monotonic()


async def test_a_thousand_callers_leaving_at_once_free_all_that_they_held(
    tmp_path: Path, many_files: None
) -> None:
    loop = asyncio.get_running_loop()
    seen = type("Seen", (Endless,), {"freed": {}, "begun": set()})
    server = await loop.create_server(seen, "127.0.0.1", 0, backlog=1024)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    database = tmp_path / "ledger.db"
    async with gateway(tmp_path, toml(upstream, database=f"sqlite:///{database}")) as running:
        pid = running.child.pid
        await sample(running.url, "pointsman_in_flight")
        before = files(pid)
        callers: list[Held] = []
        for number in range(LEAVING):
            body = orjson.dumps({"message": f"caller-{number:04d}"})
            first = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            callers += await held(port_of(running.url), 1, first)

        async def all_begun() -> bool:
            return all(b"begun" in one.said for one in callers)

        await until(all_begun, "every caller has his first words")
        assert await sample(running.url, "pointsman_in_flight") == LEAVING
        left = []
        for one in callers:
            assert one.transport is not None
            left.append(time.monotonic())
            one.transport.abort()

        async def all_freed() -> bool:
            return len(seen.freed) == LEAVING  # type: ignore[attr-defined]

        await until(all_freed, "every upstream socket is free", 10)
        freed = seen.freed  # type: ignore[attr-defined]
        waits = sorted(freed[number] - left[number] for number in range(LEAVING))
        p50, p99, most = (1000 * waits[int(at * (LEAVING - 1))] for at in (0.5, 0.99, 1.0))
        sys.stdout.write(
            f"{LEAVING} callers left at once: upstream sockets free after "
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {most:.0f} ms\n"
        )

        async def settled() -> bool:
            told = await sample(running.url, "pointsman_requests_total", outcome="cancelled")
            return told == LEAVING

        await until(settled, "all are settled as cancelled")
        assert await sample(running.url, "pointsman_requests_total") == LEAVING
        assert await sample(running.url, "pointsman_in_flight") == 0

        async def files_free() -> bool:
            return files(pid) <= before + 3

        await until(files_free, "no descriptor is left behind")
    server.close()
    await server.wait_closed()
    assert ledger(database) == {"cancelled": LEAVING}
