"""The Redis is killed and comes back on its port: all goes on meanwhile, and recovers by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from tests.accounts.processes import gateways
from tests.faults.seen import toml, until
from tests.ports import free_port
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream
from tests.store import servers

HELLO = Play(openai_body("hello"), content_type="application/json")
CODE = "a-code-of-the-tests-0001"
ADMIN = "an-admin-token-of-the-tests-0001"
MINE = {"Authorization": f"Bearer {CODE}"}
LIMIT = 40
MORE = f"""
[access]
admin_token = "{ADMIN}"
[codes.lab]
name = "Lab"
code = "{CODE}"
rate_limit = "{LIMIT}/hour"
[jobs]
lease_s = 1
"""


def pid_of(port: int) -> int:
    """Of the redis-server that listens there, as it calls itself."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_text()
        except OSError:
            continue
        if words.startswith("redis-server") and f":{port}" in words:
            return int(entry.name)
    raise AssertionError(f"no redis-server on {port}")


async def ask(url: str, **body: Any) -> tuple[int, bytes]:
    given = {"message": "hello", "stream": False, **body}
    async with (
        aiohttp.ClientSession(headers=MINE, timeout=aiohttp.ClientTimeout(total=20)) as session,
        session.post(url + "/complete", json=given) as answer,
    ):
        return answer.status, await answer.read()


async def fetched(url: str, path: str, body: Any = None) -> tuple[int, Any]:
    key = ADMIN if path == "/monitoring" else CODE
    async with (
        aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=20)
        ) as session,
        session.request("GET" if body is None else "POST", url + path, json=body) as answer,
    ):
        return answer.status, await answer.json()


def job_ended(url: str, name: str) -> Callable[[], Awaitable[bool]]:
    async def ended() -> bool:
        status, told = await fetched(url, f"/jobs/{name}")
        return status == 200 and told["status"] == "completed"

    return ended


async def test_a_redis_that_is_killed_and_comes_back_harms_no_answer(tmp_path: Path) -> None:
    port = free_port()
    words = [f"w{n} " for n in range(30)]
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        where = first.enter_context(servers.redis(tmp_path / "redis", port=port, durable=True))
        async with ReplayServer(HELLO) as upstream:
            database = f"sqlite:///{tmp_path / 'p.db'}"
            text = toml(upstream.url, database=database, more=MORE)
            text = text.replace("[store]\n", f'[store]\nredis = "{where}"\n')
            async with gateways(tmp_path, text, 2) as (one, other):
                for _ in range(5):
                    assert (await ask(one.url))[0] == 200
                    assert (await ask(other.url))[0] == 200
                status, told = await fetched(one.url, "/jobs", {"message": "hello"})
                assert status == 202
                await until(job_ended(other.url, told["id"]), "the first job is done")

                # Killed in mid-stream.
                upstream.play(Play(openai_stream(*words), chunk=200, delay_s=0.05))
                stream = asyncio.create_task(ask(one.url, stream=True))
                await upstream.until_received(12)
                os.kill(await asyncio.to_thread(pid_of, port), signal.SIGKILL)
                status, raw = await stream
                assert (status, b'"finish_reason":"stop"' in raw) == (200, True)

                # Gone: each counts alone, and nobody waits for it.
                upstream.play(HELLO)
                began = time.monotonic()
                for _ in range(10):
                    assert (await ask(one.url))[0] == 200
                    assert (await ask(other.url))[0] == 200
                assert time.monotonic() - began < 15
                # What cannot be put anywhere is refused, with a time to come back.
                status, told = await fetched(one.url, "/jobs", {"message": "hello"})
                assert status == 503, told

                # Back, on the same port with what it had written down.
                stack.enter_context(servers.redis(tmp_path / "redis", port=port, durable=True))

                async def jobs_again() -> bool:
                    status, told = await fetched(one.url, "/jobs", {"message": "hello"})
                    if status == 202:
                        names.append(told["id"])
                    return status == 202

                names: list[str] = []
                await until(jobs_again, "jobs are taken again")
                await until(job_ended(other.url, names[0]), "and done, at either process")

                async def fed() -> bool:
                    upstream_seen = len(upstream.received)
                    await ask(one.url)
                    await asyncio.sleep(0.3)
                    _, there = await fetched(other.url, "/monitoring")
                    return there["workers"] == 2 and len(upstream.received) >= upstream_seen

                await until(fed, "the live feed is shared again")

                # Limits are counted together again: no more than one of them would let through.
                async def together() -> bool:
                    for each in (one, other):
                        await ask(each.url)
                    logs = [await asyncio.to_thread(each.log.read_text) for each in (one, other)]
                    return all("counted in the Redis again" in log for log in logs)

                await until(together, "both count in the Redis again")
                # Connections that died with it are each found out once more.
                await asyncio.sleep(3)
                for each in (one, other):
                    await ask(each.url)
                await asyncio.sleep(1.5)
                left = [(await ask(url))[0] for _ in range(LIMIT) for url in (one.url, other.url)]
                assert 429 in left
                assert left.count(200) <= LIMIT
            assert one.child.returncode == other.child.returncode == 0
