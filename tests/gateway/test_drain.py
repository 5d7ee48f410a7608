"""The real process: start, ready, SIGTERM with a stream open, and a port that is taken."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.ports import free_port
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

ROOT = Path(__file__).parents[2]
WORDS = [f"w{n} " for n in range(40)]


@asynccontextmanager
async def process(
    folder: Path, toml: str, **environment: str
) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """`python -m gateway` with a clean environment; killed by its id when still there."""
    config = folder / "gateway.toml"
    config.write_text(toml, encoding="utf-8")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "--config",
        str(config),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


def config(port: int, upstream: str) -> str:
    return f"""
[server]
port = {port}
drain_s = 4
[classifier]
url = "http://127.0.0.1:1"
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[routes.auto]
local = ["lab/m"]
"""


async def until_ready(port: int) -> None:
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


async def test_sigterm_lets_an_open_stream_end_and_takes_no_new_caller(tmp_path: Path) -> None:
    port = free_port()
    play = Play(openai_stream(*WORDS), chunk=200, delay_s=0.02)
    async with (
        ReplayServer(play) as upstream,
        aiohttp.ClientSession() as session,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        await until_ready(port)
        url = f"http://127.0.0.1:{port}/complete"
        async with session.post(url, json={"message": "Hi", "model": "lab/m"}) as response:
            seen = await response.content.readany()
            gateway.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            try:
                _, late = await asyncio.open_connection("127.0.0.1", port)
                late.close()
                raise AssertionError("a stopping gateway takes no new connection")
            except ConnectionRefusedError:
                pass
            seen += await response.read()
        text = "".join(
            orjson.loads(line[6:])["message"]
            for line in seen.split(b"\n")
            if line.startswith(b"data: ")
        )
        assert text == "".join(WORDS)
        assert b'"finish_reason":"stop"' in seen
        async with asyncio.timeout(10):
            assert await gateway.wait() == 0


ASKED = b'{"model": "lab/m", "stream": false, "messages": [{"role": "user", "content": "Hi"}]}'
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ASKED),
    ASKED,
)
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer that says its length."""
    async with asyncio.timeout(10):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
    return int(lines[0].split()[1]), headers, body


@pytest.mark.parametrize("question", [CHAT, MODELS], ids=["a chat", "the models"])
async def test_who_has_a_connection_asks_once_more_and_is_told_that_it_is_the_last(
    tmp_path: Path, question: bytes
) -> None:
    port = free_port()
    async with (
        ReplayServer(Play(openai_body("x"), content_type="application/json")) as upstream,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        await until_ready(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(question)
            status, headers, _ = await answer(reader)
            assert (status, headers.get("connection")) == (200, None)
        gateway.send_signal(signal.SIGTERM)
        # Taken in, and the listener closed.
        await asyncio.sleep(0.1)
        writer.write(question)
        status, headers, _ = await answer(reader)
        assert (status, headers.get("connection")) == (200, "close")
        async with asyncio.timeout(2):
            assert await reader.read() == b""
            assert await gateway.wait() == 0
        writer.close()


async def test_behind_a_stream_that_ended_while_stopping_one_more_question_is_answered(
    tmp_path: Path,
) -> None:
    port = free_port()
    play = Play(openai_stream(*WORDS), chunk=200, delay_s=0.02)
    async with (
        ReplayServer(play) as upstream,
        aiohttp.ClientSession() as session,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        await until_ready(port)
        url = f"http://127.0.0.1:{port}/complete"
        async with session.post(url, json={"message": "Hi", "model": "lab/m"}) as first:
            await first.content.readany()
            gateway.send_signal(signal.SIGTERM)
            assert b'"finish_reason":"stop"' in await first.read()
            assert first.connection is None
        # On the same connection: there is no listener any more.
        async with session.post(url, json={"message": "Hi", "model": "lab/m"}) as second:
            assert second.headers["Connection"] == "close"
            assert b'"finish_reason":"stop"' in await second.read()
        async with asyncio.timeout(2):
            assert await gateway.wait() == 0


async def test_a_question_that_comes_too_late_is_told_so_in_the_language_of_its_door(
    tmp_path: Path,
) -> None:
    port = free_port()
    # Ends in the second half of the time to stop.
    play = Play(openai_body("x"), content_type="application/json", before_s=2.8)
    async with (
        ReplayServer(play) as upstream,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        await until_ready(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHAT)
        await asyncio.sleep(0.3)
        gateway.send_signal(signal.SIGTERM)
        assert (await answer(reader))[0] == 200
        writer.write(CHAT)
        status, headers, body = await answer(reader)
        assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
        assert orjson.loads(body)["error"]["code"] == "overloaded"
        async with asyncio.timeout(3):
            assert await gateway.wait() == 0
        writer.close()


async def test_a_connection_at_rest_holds_nobody_up(tmp_path: Path) -> None:
    port = free_port()
    async with (
        ReplayServer(Play(openai_stream("x"))) as upstream,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        await until_ready(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(MODELS)
        await answer(reader)
        half, half_writer = await asyncio.open_connection("127.0.0.1", port)
        half_writer.write(MODELS[:20])
        await asyncio.sleep(0.5)
        gateway.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2):
            assert await reader.read() == b""
            assert await half.read() == b""
            assert await gateway.wait() == 0
        writer.close()
        half_writer.close()


async def test_sigterm_at_rest_ends_at_once_with_0(tmp_path: Path) -> None:
    port = free_port()
    async with (
        ReplayServer(Play(openai_stream("x"))) as upstream,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        await until_ready(port)
        gateway.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await gateway.wait() == 0


async def test_a_stream_that_outlives_the_grace_is_told_and_the_exit_is_0(tmp_path: Path) -> None:
    port = free_port()
    endless = Play(openai_stream(*WORDS), stall=len(openai_stream("w0 ", finish=None)))
    async with (
        ReplayServer(endless) as upstream,
        aiohttp.ClientSession() as session,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        await until_ready(port)
        url = f"http://127.0.0.1:{port}/complete"
        async with session.post(url, json={"message": "Hi", "model": "lab/m"}) as response:
            await response.content.readany()
            gateway.send_signal(signal.SIGTERM)
            rest = await response.read()
        last = orjson.loads(rest.strip().rpartition(b"data: ")[2])
        assert last["done"] is True
        assert last["error"]["type"] == "overloaded"
        async with asyncio.timeout(10):
            assert await gateway.wait() == 0


async def test_the_plan_is_printed_in_five_lines(tmp_path: Path) -> None:
    port = free_port()
    async with (
        ReplayServer(Play(openai_stream("x"))) as upstream,
        process(tmp_path, config(port, upstream.url)) as gateway,
    ):
        assert gateway.stdout is not None
        async with asyncio.timeout(20):
            lines = [(await gateway.stdout.readline()).decode() for _ in range(5)]
        assert f"http://127.0.0.1:{port}" in lines[0]
        assert [line.split()[0] for line in lines[1:]] == ["auto", "local", "strong", "ask"]
        assert "lab/m" in lines[2]
        assert "curl -N" in lines[4]


async def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with process(tmp_path, config(port, "http://127.0.0.1:9")) as gateway:
            async with asyncio.timeout(20):
                _, errors = await gateway.communicate()
            assert gateway.returncode == 1
            assert b"Traceback" not in errors
            assert str(port).encode() in errors


async def test_a_bad_configuration_is_told_and_the_exit_is_2(tmp_path: Path) -> None:
    async with process(tmp_path, "[server]\nprot = 1\n") as gateway:
        async with asyncio.timeout(20):
            _, errors = await gateway.communicate()
        assert gateway.returncode == 2
        assert b"server.prot" in errors
        assert b"Traceback" not in errors


async def test_a_row_that_cannot_be_is_told_and_the_exit_is_2(tmp_path: Path) -> None:
    async with process(tmp_path, '[providers.lab]\nkind = "latin"\n') as gateway:
        async with asyncio.timeout(20):
            _, errors = await gateway.communicate()
        assert gateway.returncode == 2
        assert b"providers.lab.kind" in errors
