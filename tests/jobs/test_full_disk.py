"""A disk that is full: what was accepted is kept, what cannot be is said, and all goes on after."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.accounts.processes import gateway
from tests.replay.server import Play, ReplayServer, openai_stream

TOML = """
[classifier]
url = "http://127.0.0.1:1"
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[jobs]
workers = 1
lease_s = 2
[access]
admin_token = "the-operator"
[store]
database = "sqlite:///{file}"
"""
ADMIN = {"Authorization": "Bearer the-operator"}


@contextmanager
def full(pid: int) -> Generator[None]:
    """No file of the process grows any more, as on a full disk."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


async def put(session: aiohttp.ClientSession, url: str) -> tuple[int, Any, Any]:
    body = {"message": "Hi", "model": "lab/m"}
    async with session.post(url + "/jobs", json=body, headers=ADMIN) as answer:
        return answer.status, await answer.json(), answer.headers


async def statuses(session: aiohttp.ClientSession, url: str) -> dict[str, str]:
    async with session.get(url + "/jobs?limit=200", headers=ADMIN) as answer:
        told = await answer.json()
        assert answer.status == 200, told
    return {one["id"]: one["status"] for one in told["data"]}


async def test_a_full_disk_loses_no_job_and_takes_none(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    async with (
        ReplayServer(Play(openai_stream("Hello"), before_s=0.5)) as upstream,
        gateway(tmp_path, TOML.format(upstream=upstream.url, file=file)) as running,
        aiohttp.ClientSession() as session,
    ):
        url = running.url
        accepted = []
        for _ in range(6):
            status, told, _ = await put(session, url)
            assert status == 202, told
            accepted.append(told["id"])
        await upstream.until_received(2)
        with full(running.child.pid):
            # One runs meanwhile, and its answer cannot be written.
            for _ in range(5):
                status, told, headers = await put(session, url)
                assert status == 503, told
                assert int(headers["Retry-After"]) >= 1
                assert "cannot be read or written just now" in told["error"]["message"]
                await asyncio.sleep(0.6)
            # What is there may still be read, and nothing of it was lost or half-written.
            assert set(await statuses(session, url)) == set(accepted)
        async with asyncio.timeout(60):
            while set((await statuses(session, url)).values()) != {"completed"}:
                await asyncio.sleep(0.1)
        assert set(await statuses(session, url)) == set(accepted)
        status, told, _ = await put(session, url)
        assert status == 202, told
        async with asyncio.timeout(30):
            while (await statuses(session, url))[told["id"]] != "completed":
                await asyncio.sleep(0.05)
    assert running.child.returncode == 0
