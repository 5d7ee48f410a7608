"""More connections than the process may have open files: nobody is dropped without a word."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import Counter
from pathlib import Path

import aiohttp

from tests.accounts.processes import environment
from tests.faults.seen import ready, sample, toml
from tests.ports import free_port
from tests.replay.server import Play, ReplayServer, openai_body

FILES, IN_FLIGHT, CALLERS = 600, 100, 400
ROOM = 300
LOOKS = 2
BODY = b'{"message": "hello", "model": "lab/m", "stream": false}'
QUESTION = (
    b"POST /complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class Caller:
    async def come(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(self) -> str:
        """Its status, and whether the connection stays."""
        self.writer.write(QUESTION)
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            await self.reader.readexactly(length)
            status = head.split()[1]
            if status == "503":
                assert "retry-after: 1\r\n" in head
                if "connection: close" in head:
                    assert await self.reader.read() == b""
                    return "closed"
        return status


async def test_more_connections_than_files_are_told_to_come_back(tmp_path: Path) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    port = free_port()
    config = tmp_path / "gateway.toml"
    async with ReplayServer(play) as upstream:
        server = f"[server]\nport = {port}\nmax_in_flight = {IN_FLIGHT}\n"
        config.write_text(server + toml(upstream.url))
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "--config", str(config)),
            cwd=tmp_path,
            env=environment(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            # It starts with less, and takes what it may have.
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, FILES)),
        )
        callers = [Caller() for _ in range(CALLERS)]
        try:
            async with asyncio.timeout(30):
                while True:
                    try:
                        await ready(f"http://127.0.0.1:{port}")
                        break
                    except aiohttp.ClientConnectionError:
                        assert child.returncode is None
                        await asyncio.sleep(0.1)
            for caller in callers:
                await caller.come(port)
            await asyncio.sleep(0.5)
            # All at once: as many as there is no room for are closed behind their answer.
            ends = await asyncio.gather(*(caller.ask() for caller in callers))
            seen = Counter(ends)
            assert set(seen) <= {"200", "503", "closed"}
            # One that only looked how it is may not be gone yet.
            assert CALLERS - ROOM <= seen["closed"] <= CALLERS - ROOM + LOOKS
            assert await sample(f"http://127.0.0.1:{port}", "pointsman_shed") == (
                seen["503"] + seen["closed"]
            )
            # Whoever is still there is answered, one after the other.
            stay = [one for one, end in zip(callers, ends, strict=True) if end != "closed"]
            again = Counter([await caller.ask() for caller in stay])
            assert set(again) <= {"200", "closed"}
            assert again["closed"] <= LOOKS
        finally:
            for caller in callers:
                if hasattr(caller, "writer"):
                    caller.writer.transport.abort()
            child.terminate()
            async with asyncio.timeout(20):
                assert await child.wait() == 0
