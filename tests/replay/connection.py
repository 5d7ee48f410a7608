"""A caller who writes his bytes himself, in the packets that he likes."""

from __future__ import annotations

import asyncio

from tests.replay.gateway import Running


def head(length: int, path: str = "/complete", more: str = "") -> bytes:
    """Of a question whose body has so many bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{more}Content-Length: {length}\r\n\r\n"
    ).encode()


class Raw:
    """One connection, and what it is answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self._reader.readexactly(int(headers["content-length"]))
            return int(first.split()[1]), headers, body

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.say(data)
        return await self.hear()

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(10):
            return await self._reader.read()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(end)

    def close(self) -> None:
        self._writer.transport.abort()


async def raw(gateway: Running) -> Raw:
    port = int(gateway.url.rpartition(":")[2])
    connection = Raw(*await asyncio.open_connection("127.0.0.1", port))
    # The server has it in hand before it says anything.
    connection.say(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await connection.hear())[0] == 200
    return connection
