"""The process: the token of the first start, the door of other machines, the command line."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.accounts.processes import command, gateway
from tests.replay.server import Play, ReplayServer, openai_body


def toml(upstream: str = "http://127.0.0.1:9", more: str = "") -> str:
    return f"""
[classifier]
url = "http://127.0.0.1:1"
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[routes.auto]
local = ["lab/m"]
{more}
"""


async def status(url: str, key: str | None, method: str = "GET", body: Any = None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, json=body) as told,
    ):
        return told.status


async def ask(url: str, key: str | None) -> int:
    body = {"model": "lab/m", "messages": [{"role": "user", "content": "Hi"}]}
    return await status(url + "/v1/chat/completions", key, "POST", body)


async def said(log: Path, words: str) -> str:
    async with asyncio.timeout(10):
        while words not in (text := await asyncio.to_thread(log.read_text, "utf-8")):
            await asyncio.sleep(0.02)
    return text


async def test_the_first_start_prints_a_token_once(tmp_path: Path) -> None:
    async with gateway(tmp_path, toml()) as one:
        text = await said(one.log, "#token=")
        [token] = re.findall(r"#token=(\S+)", text)
        assert f"{one.url}/#token={token}" in text
        assert await status(one.url + "/codes", token) == 200
        assert await status(one.url + "/codes", token + "x") == 401
        assert await status(one.url + "/codes", None) == 401
    assert one.log.read_text(encoding="utf-8").count(token) == 1
    kept = b"".join(file.read_bytes() for file in (tmp_path / "var").iterdir())
    assert token.encode() not in kept
    async with gateway(tmp_path, toml(), name="again") as one:
        assert await status(one.url + "/codes", token) == 200
        code, new, _ = await command(tmp_path, "token", "--new", "--config", str(one.log))
        assert code == 2
        code, new, complaint = await command(
            tmp_path, "--config", str(tmp_path / "again.toml"), "token", "--new"
        )
        assert (code, complaint) == (0, "")
        async with asyncio.timeout(5):
            while await status(one.url + "/codes", new.strip()) != 200:
                await asyncio.sleep(0.05)
        assert await status(one.url + "/codes", token) == 401
    assert token not in one.log.read_text(encoding="utf-8")


async def test_the_environments_token_wins(tmp_path: Path) -> None:
    async with gateway(tmp_path, toml(), ADMIN_TOKEN="mine") as one:
        assert await status(one.url + "/codes", "mine") == 200
    assert "token" not in one.log.read_text(encoding="utf-8")


async def test_workers_print_one_token(tmp_path: Path) -> None:
    async with gateway(tmp_path, toml(), "--workers", "3") as one:
        text = await said(one.log, "#token=")
        [token] = re.findall(r"#token=(\S+)", text)
        for _ in range(6):
            assert await status(one.url + "/codes", token) == 200


async def test_other_machines_are_let_in_with_a_key_only(tmp_path: Path) -> None:
    config = tmp_path / "open.toml"

    async def start(more: str) -> tuple[int, str]:
        config.write_text('[server]\nhost = "0.0.0.0"\nport = 0\n' + toml(more=more), "utf-8")
        code, _, complaint = await command(tmp_path, "--config", str(config))
        return code, complaint

    code, complaint = await start("")
    assert code == 2
    assert "codes create" in complaint
    assert "access.open = true" in complaint
    assert (await start("[access]\nopen = false"))[0] == 2
    assert "Traceback" not in complaint


async def test_the_command_line_makes_changes_and_revokes(tmp_path: Path) -> None:
    async with (
        ReplayServer(Play(openai_body("Hello"), content_type="application/json")) as upstream,
        gateway(tmp_path, toml(upstream.url)) as one,
    ):
        configured = ("--config", str(tmp_path / "gateway.toml"), "codes")
        assert await ask(one.url, None) == 200
        code, told, _ = await command(
            tmp_path, *configured, "create", "--name", "Cards", "--rate-limit", "2/day"
        )
        assert code == 0
        id_, key = told.split()
        async with asyncio.timeout(5):
            while await ask(one.url, None) == 200:
                await asyncio.sleep(0.05)
        assert [await ask(one.url, key) for _ in range(3)] == [200, 200, 429]
        code, told, _ = await command(tmp_path, *configured, "list")
        assert id_ in told
        assert key not in told
        assert (await command(tmp_path, *configured, "change", id_, "--rate-limit", ""))[0] == 0
        async with asyncio.timeout(5):
            while await ask(one.url, key) != 200:
                await asyncio.sleep(0.05)
        code, told, _ = await command(tmp_path, *configured, "rotate", id_, "--grace", "60")
        assert code == 0
        assert (await command(tmp_path, *configured, "revoke", id_))[0] == 0
        async with asyncio.timeout(5):
            while await ask(one.url, key) != 401:
                await asyncio.sleep(0.05)
        assert await ask(one.url, told.split()[1]) == 401
        code, _, complaint = await command(
            tmp_path, *configured, "create", "--name", "x", "--max-tokens", "many"
        )
        assert code == 1
        assert "max_tokens" in complaint


async def test_a_reload_brings_the_files_codes(tmp_path: Path) -> None:
    async with (
        ReplayServer(Play(openai_body("Hello"), content_type="application/json")) as upstream,
        gateway(tmp_path, toml(upstream.url, "[codes.first-code]\n")) as one,
    ):
        assert await ask(one.url, "first-code") == 200
        edited = "[server]\nport = 0\ndrain_s = 4\n" + toml(
            upstream.url, "[codes.second-code]\nname = 'S'\n"
        )
        (tmp_path / "gateway.toml").write_text(edited, encoding="utf-8")
        one.child.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while await ask(one.url, "second-code") != 200:
                await asyncio.sleep(0.05)
        assert await ask(one.url, "first-code") == 401
