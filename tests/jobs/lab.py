"""A gateway with workers, one upstream that plays, and two applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

CODE, OTHER = "abc123hash", "def456hash"
MINE = {"Authorization": f"Bearer {CODE}"}
THEIRS = {"Authorization": f"Bearer {OTHER}"}
WORDS = [f"word{n} " for n in range(40)]


def slow(seconds: float = 0.02) -> Play:
    return Play(openai_stream(*WORDS), chunk=200, delay_s=seconds)


def stalled() -> Play:
    """Begins an answer and never goes on."""
    return Play(openai_stream(*WORDS), stall=len(openai_stream("word0 ", finish=None)))


@asynccontextmanager
async def lab(*script: Play, **tree: Any) -> AsyncGenerator[tuple[Running, ReplayServer]]:
    async with ReplayServer(*(script or (Play(openai_stream("Hello", " there")),))) as upstream:
        given: dict[str, Any] = {
            "server": {"drain_s": 0.6},
            "providers": {
                "easy": openai_provider(upstream.url),
                "together": {"base_url": upstream.url + "/v1", "api_key": "tests-key"},
            },
            "codes": {
                "mine": {
                    "name": "FlashCards App",
                    "code": CODE,
                    "allowed_request_types": ["generate_flashcard", "explain_concept"],
                    "max_tokens": 800,
                },
                "theirs": {"code": OTHER},
            },
            "request_types": {
                "generate_flashcard": {"system_prompt": "Be short.", "temperature": 0.2},
                "everyone": {"model": "easy/m", "max_tokens": 50},
            },
        }
        for section, values in tree.items():
            given[section] = {**given.get(section, {}), **values}
        async with running(settings(**given)) as gateway:
            yield gateway, upstream


async def put(gateway: Running, headers: dict[str, str] = MINE, **body: Any) -> str:
    """The job's id."""
    question = {"message": "Hi", "model": "easy/m", **body}
    async with gateway.session.post(
        gateway.url + "/jobs", json=question, headers=headers
    ) as answer:
        told = await answer.json()
        assert answer.status == 202, told
        name: str = told["id"]
        return name


async def shown(gateway: Running, name: str, headers: dict[str, str] = MINE) -> dict[str, Any]:
    async with gateway.session.get(f"{gateway.url}/jobs/{name}", headers=headers) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def until(gateway: Running, name: str, *states: str, limit_s: float = 10) -> dict[str, Any]:
    async with asyncio.timeout(limit_s):
        while True:
            found = await shown(gateway, name)
            if found["status"] in states:
                return found
            await asyncio.sleep(0.02)


async def ended(gateway: Running, name: str) -> dict[str, Any]:
    return await until(gateway, name, "completed", "error", "expired", "cancelled")


async def events(
    gateway: Running, name: str, headers: dict[str, str] | None = None, stop_after: int = 10**6
) -> list[tuple[str, str, str]]:
    """(event, id, data) to the end of the stream."""
    found: list[tuple[str, str, str]] = []
    url = f"{gateway.url}/jobs/{name}/events"
    async with gateway.session.get(url, headers={**MINE, **(headers or {})}) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        row: dict[str, str] = {}
        async for raw in answer.content:
            line = raw.decode().rstrip("\r\n")
            if line:
                field, _, value = line.partition(": ")
                row[field] = value
            elif "event" in row:
                found.append((row["event"], row.get("id", ""), row["data"]))
                row = {}
                if len(found) >= stop_after:
                    break
    return found
