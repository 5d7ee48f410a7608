"""What an open stream holds: `python -m bench.open_streams [--streams N]`.

A fresh gateway for each door; its resident memory with N silent streams less that with none, once
fifty streams have come and gone. What the kernel holds for the sockets is not in it.
"""

import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import aiohttp

from bench import command, procs
from bench.job import PATHS
from bench.measure import cores, upstream
from bench.subjects import Row, Stage, start_gateway

SCRIPT = "chunks-64-1000ms"
AT_ONCE = 50
SETTLE_S = 2.0


async def resident(row: Row, streams: int) -> int:
    """Bytes of the gateway while so many streams are open, each past its first chunk."""
    body: dict[str, object] = {"model": row.model(SCRIPT), "stream": True}
    if row.door == "openai":
        body["messages"] = [{"role": "user", "content": "hello"}]
    else:
        body["message"] = "hello"

    async def opened(session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        answer = await session.post(f"http://127.0.0.1:{row.port}{PATHS[row.door]}", json=body)
        answer.raise_for_status()
        await answer.content.readany()
        return answer

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        answers: list[aiohttp.ClientResponse] = []
        for begun in range(0, streams, AT_ONCE):
            count = min(AT_ONCE, streams - begun)
            answers += await asyncio.gather(*(opened(session) for _ in range(count)))
        await asyncio.sleep(SETTLE_S)
        found = procs.rss_bytes(*row.roots)
        for answer in answers:
            answer.close()
        return found


def each(name: str, streams: int, upstream_port: int, folder: Path) -> float:
    """Bytes of a stream through the gateway's row of that name."""
    subject = start_gateway(Stage(Path(mkdtemp(dir=folder)), upstream_port, cores()[0]))
    try:
        (row,) = [one for one in subject.rows if one.name == name]
        asyncio.run(resident(row, AT_ONCE))
        time.sleep(SETTLE_S)
        before = procs.rss_bytes(*row.roots)
        return (asyncio.run(resident(row, streams)) - before) / streams
    finally:
        subject.stop()


def main() -> int:
    parser = command.parser("python -m bench.open_streams", __doc__)
    parser.add_argument("--streams", type=int, default=1500)
    given = parser.parse_args()
    print(f"| {given.streams} streams | KB each |\n|---|---:|")
    with TemporaryDirectory(prefix="bench-") as name, upstream(Path(name)) as port:
        for row in ("named", "relay"):
            print(f"| `{row}` | {each(row, given.streams, port, Path(name)) / 1000:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
