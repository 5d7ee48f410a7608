"""The messages of docs/websockets.md are those that come, field for field."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from tests.docs.blocks import ROOT, blocks_of
from tests.docs.gateway_of_docs import Shell, shell_of
from tests.docs.test_code_blocks import values_of
from tests.replay.gateway import ADMIN

MESSAGES: list[dict[str, Any]] = [
    value
    for block in blocks_of(ROOT / "docs/websockets.md")
    if block.language == "json"
    for value in values_of(block.text)
]

NAMED = ("tiers", "shares")
"""Their fields are names of tiers."""


def documented(**said: Any) -> dict[str, Any]:
    [first, *_] = [one for one in MESSAGES if said.items() <= one.items()]
    return first


def same_fields(said: dict[str, Any], came: dict[str, Any], where: str) -> None:
    """Of objects in it, too, where both have one."""
    assert said.keys() == came.keys(), f"{where}: {said.keys() ^ came.keys()}"
    for name, value in said.items():
        if isinstance(value, dict) and isinstance(came[name], dict) and name not in NAMED:
            same_fields(value, came[name], f"{where}.{name}")


async def until(socket: aiohttp.ClientWebSocketResponse, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while not found or found[-1]["type"] != kind:
            found.append(await socket.receive_json())
            assert found[-1]["type"] != "error", found[-1]
    return found


async def test_the_messages_of_the_chat_socket_are_as_described(tmp_path: Path) -> None:
    start = dict(documented(type="start"))
    # The played upstream answers in words.
    del start["response_format"]
    async with shell_of(tmp_path, {}) as shell:
        session = shell.gateway.session
        async with session.ws_connect(shell.gateway.url + "/ws/chat") as socket:
            await socket.send_json({"type": "hello", "token": ADMIN["Authorization"][7:]})
            [ready] = await until(socket, "ready")
            same_fields(documented(type="ready"), ready, "ready")
            await socket.send_json(start)
            came = await until(socket, "done")
            same_fields(documented(type="done"), came[-1], "done")
            for message in came:
                if message["type"] == "status":
                    said = documented(type="status", state=message["state"])
                    same_fields(said, message, message["state"])
                elif message["type"] == "delta":
                    assert message.keys() == documented(type="delta").keys()
            assert {"status", "delta", "done"} <= {message["type"] for message in came}
            await socket.send_json({**documented(type="resume"), "id": start["id"]})
            again = await until(socket, "done")
            assert again[-1] == came[-1]


async def asked_once(shell: Shell, **model: str) -> None:
    """Until the feed shows it."""
    await shell.gateway.complete(message="Hi", **model)
    async with asyncio.timeout(20):
        while True:
            async with shell.gateway.session.get(
                shell.gateway.url + "/monitoring", headers=ADMIN
            ) as response:
                if (await response.json())["requests"]:
                    return
            await asyncio.sleep(0.1)


async def test_the_live_feed_is_as_described(tmp_path: Path) -> None:
    said = documented(type="snapshot")
    row = next(one for one in MESSAGES if "attempts" in one and "door" in one)
    async with shell_of(tmp_path, {}) as shell:
        await asked_once(shell, model="lab/m")
        session = shell.gateway.session
        async with session.ws_connect(
            shell.gateway.url + "/ws/monitoring", headers=ADMIN
        ) as socket:
            snapshot = (await until(socket, "snapshot"))[-1]
        same_fields(said, snapshot, "snapshot")
        for name in ("targets", "history"):
            same_fields(said[name][0], snapshot[name][0], name)
        same_fields(row, snapshot["requests"][0], "requests")
        same_fields(row["attempts"][0], snapshot["requests"][0]["attempts"][0], "attempts")
        async with session.get(shell.gateway.url + "/monitoring", headers=ADMIN) as response:
            same_fields(said, await response.json(), "/monitoring")


async def test_what_the_routing_page_reads_is_as_described(tmp_path: Path) -> None:
    said = next(one for one in MESSAGES if "classifier_error" in one)
    async with shell_of(tmp_path, {}) as shell:
        await asked_once(shell)
        async with shell.gateway.session.get(
            shell.gateway.url + "/routing", headers=ADMIN
        ) as response:
            came = await response.json()
        assert said.keys() == came.keys()
        same_fields(said["routes"]["auto"], came["routes"]["auto"], "routes.auto")
        same_fields(said["recent"][0], came["recent"][0], "recent")
