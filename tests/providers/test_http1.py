"""The HTTP client against servers that write bytes, good and bad, cut anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from providers import http1
from providers.bodies import json_body
from providers.connection import BUFFERED
from tests.replay.server import reset_on_close

TLS = Path(__file__).parent / "tls"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Plays a script for each connection, after each request."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.closed = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except (asyncio.IncompleteReadError, ConnectionError):
                    return
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                self.requests.append(head + await reader.readexactly(length))
                await self._script(reader, writer)
                if writer.is_closing():
                    return
        finally:
            self.closed += 1
            writer.close()


@asynccontextmanager
async def serving(
    script: Script, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Server, None]:
    server = Server(script)
    running = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    port = running.sockets[0].getsockname()[1]
    server.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        running.close()
        await running.wait_closed()


def plays(*pieces: bytes, close: bool = False, reset: bool = False, pause: float = 0) -> Script:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)
        if reset:
            await asyncio.sleep(0.02)
            reset_on_close(writer.transport)
            writer.transport.abort()
        elif close:
            writer.close()

    return script


@asynccontextmanager
async def client(tls: ssl.SSLContext | None = None) -> AsyncGenerator[http1.Client, None]:
    made = http1.Client(tls)
    try:
        yield made
    finally:
        await made.close()


async def whole(asked: http1.Client, url: str, idle_s: float = 5) -> tuple[int, bytes]:
    answer = await asked.ask("POST", http1.address(url + "/x?y=1"), b"", b"body", idle_s=idle_s)
    try:
        body = b""
        while chunk := await answer.read():
            body += chunk
        return answer.status, body
    finally:
        answer.let_go()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
LENGTH = HEAD + b"Content-Length: 11\r\n\r\nhello world"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
TRAILED = CHUNKED[:-2] + b"X-Trailer: 1\r\n\r\n"
TO_THE_END = HEAD + b"\r\nhello world"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH
GOOD = {
    "length": (LENGTH, False),
    "chunked": (CHUNKED, False),
    "trailer": (TRAILED, False),
    "to the end": (TO_THE_END, True),
    "interim": (INTERIM, False),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_an_answer_is_the_same_wherever_its_bytes_are_cut(name: str, size: int) -> None:
    raw, close = GOOD[name]
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    async with serving(plays(*pieces, close=close)) as server, client() as asked:
        assert await whole(asked, server.url) == (200, b"hello world")
        host = server.url.removeprefix("http://").encode()
        assert server.requests == [
            b"POST /x?y=1 HTTP/1.1\r\nHost: %b\r\nContent-Length: 4\r\n\r\nbody" % host
        ]


async def test_a_connection_is_used_again_when_its_answer_was_read_to_the_end() -> None:
    async with serving(plays(CHUNKED)) as server, client() as asked:
        for _ in range(5):
            await whole(asked, server.url)
        assert server.connections == 1
        await asyncio.gather(*(whole(asked, server.url) for _ in range(3)))
        assert server.connections == 3


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        LENGTH + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    ],
    ids=["close", "http/1.0", "a second answer that nobody asked for"],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(raw: bytes) -> None:
    async with serving(plays(raw)) as server, client() as asked:
        for _ in range(2):
            with contextlib.suppress(http1.Fault):
                await whole(asked, server.url)
        assert server.connections == 2


async def test_an_answer_let_go_early_closes_its_connection() -> None:
    async with serving(plays(CHUNKED[:-20], pause=0.01)) as server, client() as asked:
        answer = await asked.ask("GET", http1.address(server.url), b"", idle_s=5)
        assert answer.status == 200
        assert answer.content_type() == b"text/plain"
        assert answer.headers()["content-type"] == "text/plain; charset=utf-8"
        answer.let_go()
        async with asyncio.timeout(2):
            while not server.closed:
                await asyncio.sleep(0.005)


async def test_cancelling_closes_the_connection_at_once() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serving(silent) as server, client() as asked:
        task = asyncio.create_task(whole(asked, server.url))
        async with asyncio.timeout(2):
            while not server.requests:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            while not server.closed:
                await asyncio.sleep(0.005)


# Without the time: it would be in the tests' names, which each test process collects for itself.
PACKED = gzip.compress(b"hello world", mtime=0)


@pytest.mark.parametrize(
    ("coding", "body"), [(b"gzip", PACKED), (b"deflate", zlib.compress(b"hello world"))]
)
@pytest.mark.parametrize("size", [1, 10_000])
async def test_an_answer_that_was_packed_unasked_is_unpacked(
    coding: bytes, body: bytes, size: int
) -> None:
    raw = HEAD + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (coding, len(body), body)
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    async with serving(plays(*pieces)) as server, client() as asked:
        assert await whole(asked, server.url) == (200, b"hello world")


async def test_a_packed_answer_that_swells_comes_in_bounded_pieces() -> None:
    body = gzip.compress(b"x" * 10_000_000)
    raw = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with serving(plays(raw)) as server, client() as asked:
        answer = await asked.ask("GET", http1.address(server.url), b"", idle_s=5)
        total = 0
        while chunk := await answer.read():
            assert len(chunk) <= BUFFERED
            total += len(chunk)
        answer.let_go()
        assert total == 10_000_000


FAULTS: dict[str, tuple[bytes, bool, bool, str]] = {
    "closed at once": (b"", True, False, "disconnected"),
    "reset at once": (b"", False, True, "disconnected"),
    "cut in the head": (HEAD, True, False, "cut"),
    "cut in the body": (LENGTH[:-3], True, False, "cut"),
    "reset in the body": (LENGTH[:-3], False, True, "cut"),
    "cut in a chunk": (CHUNKED[:-12], True, False, "cut"),
    "no last chunk": (CHUNKED[:-5], True, False, "cut"),
    "reset before an end that only closing would be": (TO_THE_END, False, True, "cut"),
    "not http": (b"SSH-2.0-OpenSSH_9.2\r\n", False, False, "malformed"),
    "a bad chunk": (CHUNKED.replace(b"5\r\n", b"zz\r\n"), False, False, "malformed"),
    "a bad length": (LENGTH.replace(b": 11", b": -1"), False, False, "malformed"),
    "an endless header": (HEAD + b"X: " + b"x" * 200_000, False, False, "malformed"),
    "endless headers": (HEAD + b"X: y\r\n" * 20_000, False, False, "malformed"),
    "an unknown coding": (
        HEAD + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        False,
        False,
        "malformed",
    ),
    "gzip that is none": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
        False,
        False,
        "malformed",
    ),
    "gzip that was cut": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 15\r\n\r\n" + PACKED[:15],
        False,
        False,
        "cut",
    ),
    "an upgrade": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        False,
        False,
        "malformed",
    ),
}


async def test_spoiled_bytes_are_an_answer_or_a_fault() -> None:
    """Whatever is on the wire: never another exception, never for ever."""
    chance = random.Random(11)
    sound = [raw for raw, _ in GOOD.values()] + [raw for raw, *_ in FAULTS.values()]
    bits = (
        b"\r\n",
        b"\n",
        b"\0",
        b"\xff",
        b":",
        b"chunked",
        b"-1",
        b"99999999999999999999",
        b"HTTP/",
    )
    seen: set[str] = set()
    spoiled = b""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(spoiled)
        writer.close()

    async with serving(script) as server, client() as asked:
        for _ in range(400):
            spoiled = chance.choice(sound)[:3000]
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(spoiled) + 1)
                put = chance.choice((*bits, bytes(chance.choices(range(256), k=3))))
                spoiled = spoiled[:at] + put + spoiled[at + chance.randrange(5) :]
            try:
                async with asyncio.timeout(5):
                    await whole(asked, server.url, idle_s=1)
                seen.add("answer")
            except http1.Fault as fault:
                seen.add(fault.kind)
    assert {"answer", "malformed", "cut"} <= seen


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_named(name: str) -> None:
    raw, close, reset, kind = FAULTS[name]
    async with serving(plays(raw, close=close, reset=reset)) as server, client() as asked:
        async with asyncio.timeout(5):
            with pytest.raises(http1.Fault) as caught:
                await whole(asked, server.url)
        assert caught.value.kind == kind


@pytest.mark.parametrize("sent", [b"", HEAD, LENGTH[:-3]], ids=["nothing", "half a head", "half"])
async def test_silence_ends_after_its_limit(sent: bytes) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await reader.read()
        writer.close()

    async with serving(silent) as server, client() as asked, asyncio.timeout(5):
        with pytest.raises(http1.Fault) as caught:
            await whole(asked, server.url, idle_s=0.1)
        assert caught.value.kind == "idle"


async def test_a_steady_answer_may_take_longer_than_the_limit_of_silence() -> None:
    pieces = [CHUNKED[start : start + 4] for start in range(0, len(CHUNKED), 4)]
    async with serving(plays(*pieces, pause=0.02)) as server, client() as asked:
        assert await whole(asked, server.url, idle_s=0.2) == (200, b"hello world")


async def test_what_came_before_the_cut_is_read_first() -> None:
    async with serving(plays(LENGTH[:-3], close=True)) as server, client() as asked:
        answer = await asked.ask("GET", http1.address(server.url), b"", idle_s=5)
        await asyncio.sleep(0.05)
        assert await answer.read() == b"hello wo"
        with pytest.raises(http1.Fault, match="cut"):
            await answer.read()
        answer.let_go()


async def test_a_reader_who_does_not_read_holds_a_bounded_buffer() -> None:
    total = 20_000_000
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % total)
        for _ in range(total // 50_000):
            writer.write(b"x" * 50_000)
            await writer.drain()
            sent += 50_000

    async with serving(flood) as server, client() as asked:
        # Longer than the limit of silence: it is the reader who is silent.
        answer = await asked.ask("GET", http1.address(server.url), b"", idle_s=0.1)
        await asyncio.sleep(0.4)
        assert sent < total
        seen = 0
        while chunk := await answer.read():
            seen += len(chunk)
        answer.let_go()
        assert seen == total


async def test_a_refused_connection_and_a_name_that_is_none_are_told_apart() -> None:
    async with client() as asked:
        for url, kind in (
            ("http://127.0.0.1:1", "refused"),
            ("http://no-such-host.invalid", "dns"),
        ):
            with pytest.raises(http1.Fault) as caught:
                await whole(asked, url)
            assert caught.value.kind == kind


async def test_tls_is_spoken_only_with_whom_is_trusted() -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    async with serving(plays(LENGTH), tls=theirs) as server:
        async with client(ssl.create_default_context(cafile=str(TLS / "cert.pem"))) as asked:
            assert await whole(asked, server.url) == (200, b"hello world")
            assert await whole(asked, server.url) == (200, b"hello world")
            assert server.connections == 1
        async with client() as asked:
            with pytest.raises(http1.Fault) as caught:
                await whole(asked, server.url)
            assert caught.value.kind == "tls"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http://",
        "x",
        "http://u:p@x/",
        "http://x/#y",
        "http://x/a b",
        "http://x/\r\nA: b",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the URL"):
        http1.address(url)


def test_an_address_is_taken_apart() -> None:
    found = http1.address("https://[::1]:8443/v1?x=%20y")
    assert found.origin == http1.Origin("::1", 8443, True)
    assert found.path == b"/v1?x=%20y"
    assert found.host == b"[::1]:8443"
    assert http1.address("https://x.test").origin.port == 443
    assert http1.address("http://x.test").path == b"/"


def test_a_whole_answer_that_filled_the_buffer_gives_back_a_connection_that_reads() -> None:
    """Under uvloop, whose reads are as large as that."""
    body = b'"' + b"x" * (BUFFERED + 8000) + b'"'
    told = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(told % len(body) + body)
                await writer.drain()
        writer.close()

    async def asked() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        where = http1.address(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        client = http1.Client()
        count = 0
        try:
            async with asyncio.timeout(20):
                for _ in range(20):
                    answer = await client.ask("GET", where, b"", idle_s=5)
                    assert len(await json_body(answer, 5)) == len(body) - 2
                    answer.let_go()
                    count += 1
        finally:
            await client.close()
            server.close()
        return count

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(asked()) == 20
