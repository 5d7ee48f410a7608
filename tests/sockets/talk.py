"""A client of the chat socket, as the page is one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp

from tests.replay.gateway import Running, openai_provider, settings
from tests.replay.server import Play, ReplayServer, openai_stream

HELLO = Play(openai_stream("Hel", "lo", "!"))


def one(upstream: ReplayServer, **tree: Any) -> Any:
    """Settings with the one upstream behind both tiers."""
    return settings(
        providers={"easy": openai_provider(upstream.url), "hard": openai_provider(upstream.url)},
        **tree,
    )


class Client:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.ready: dict[str, Any] = {}

    async def say(self, **message: Any) -> None:
        await self.socket.send_json(message)

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            message: dict[str, Any] = await self.socket.receive_json()
            return message

    async def start(self, **body: Any) -> str:
        answer_id = str(uuid.uuid4())
        await self.say(type="start", id=answer_id, **body)
        return answer_id

    async def until(self, kind: str, answer_id: str | None = None) -> list[dict[str, Any]]:
        """All messages up to the first of this type (of this answer)."""
        heard = []
        while True:
            heard.append(await self.hear())
            if heard[-1]["type"] == kind and answer_id in (None, heard[-1].get("id")):
                return heard

    async def until_ended(self, answer_id: str) -> list[dict[str, Any]]:
        heard = []
        while True:
            heard.append(await self.hear())
            if heard[-1]["type"] in ("done", "error") and heard[-1].get("id") == answer_id:
                return heard


@asynccontextmanager
async def chatting(
    gateway: Running, path: str = "/ws/chat", hello: bool = True, **options: Any
) -> AsyncGenerator[Client, None]:
    async with gateway.session.ws_connect(gateway.url + path, **options) as socket:
        client = Client(socket)
        if hello:
            await client.say(type="hello")
            client.ready = await client.hear()
            assert client.ready["type"] == "ready", client.ready
        yield client


def text_of(messages: list[dict[str, Any]], answer_id: str) -> str:
    """The deltas joined, which have to follow each other without a gap."""
    deltas = [one for one in messages if one["type"] == "delta" and one["id"] == answer_id]
    for before, after in pairwise(deltas):
        assert after["offset"] == before["next"]
    return "".join(one.get("text", "") for one in deltas)
