"""SIGHUP and an edited gateway.toml: all of the new settings at once, or none of them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.reload import Reloader
from gateway.settings import Settings, SettingsError
from tests.gateway.test_drain import config, process, until_ready
from tests.ports import free_port
from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream


def reloads(gateway: Running, given: Settings) -> bool:
    return Reloader(gateway.services, lambda: (given, {})).reload()


async def readiness(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(url + "/readyz") as response:
        return response.status, await response.json()


def one(url: str, **tree: Any) -> Settings:
    route = {"auto": {"local": ["lab/m"], "strong": []}}
    return settings(providers={"lab": openai_provider(url)}, routes=route, **tree)


async def test_a_reload_is_met_by_the_next_caller_and_by_no_open_stream() -> None:
    slow = Play(openai_stream("old ", "old"), chunk=150, delay_s=0.05)
    async with (
        ReplayServer(slow) as old,
        ReplayServer(Play(openai_stream("new"))) as new,
        running(one(old.url)) as gateway,
    ):
        asking = asyncio.create_task(gateway.complete(message="Hi"))
        await old.until_received()
        assert reloads(gateway, one(new.url))
        assert (await gateway.complete(message="Hi")).text == "new"
        answer = await asking
        assert answer.text == "old old"
        assert answer.closing["finish_reason"] == "stop"
        assert gateway.counted("pointsman_reloads_total", outcome="applied") == 1
        assert (await readiness(gateway.url))[1]["warnings"] == []


async def test_routes_attempts_and_limits_are_swapped_too() -> None:
    async with (
        ReplayServer(openai_error(500)) as bad,
        ReplayServer(Play(openai_stream("good"))) as good,
        running(one(bad.url)) as gateway,
    ):
        tree: dict[str, Any] = {
            "providers": {"lab": openai_provider(bad.url), "easy": openai_provider(good.url)},
            "routes": {"auto": {"local": ["lab/m", "easy/m"], "strong": []}},
            "attempts": {"per_target": 1},
            "server": {"message_limit": 10},
        }
        assert reloads(gateway, settings(**tree))
        assert (await gateway.complete(message="Hi")).text == "good"
        assert len(bad.received) == 1
        assert (await gateway.complete(message="x" * 11)).status == 413


async def test_what_cannot_be_keeps_the_last_good_settings_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        ReplayServer(Play(openai_stream("good"))) as upstream,
        running(one(upstream.url)) as gateway,
    ):
        broken = settings(providers={"lab": {"kind": "latin"}})
        assert not reloads(gateway, broken)
        status, told = await readiness(gateway.url)
        assert status == 200
        assert "providers.lab.kind" in told["warnings"][0]
        [line] = [one for one in caplog.records if one.name == "pointsman.settings"]
        assert line.levelname == "ERROR"
        assert (await gateway.complete(message="Hi")).text == "good"
        assert gateway.counted("pointsman_reloads_total", outcome="refused") == 1

        def unreadable() -> tuple[Settings, dict[str, str]]:
            raise SettingsError("gateway.toml: server.prot: not known")

        assert not Reloader(gateway.services, unreadable).reload()
        assert "server.prot" in (await readiness(gateway.url))[1]["warnings"][0]
        assert reloads(gateway, one(upstream.url))
        assert (await readiness(gateway.url))[1]["warnings"] == []


async def test_a_setting_that_needs_a_restart_is_told_as_such() -> None:
    async with (
        ReplayServer(Play(openai_stream("x"))) as upstream,
        running(one(upstream.url)) as gateway,
    ):
        assert reloads(gateway, one(upstream.url, server={"drain_s": 3}))
        told = (await readiness(gateway.url))[1]["warnings"]
        assert told == ["These settings hold after a restart: server.drain_s"]


async def asked(port: int) -> bytes:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/complete"
        async with session.post(url, json={"message": "Hi"}) as response:
            return await response.read()


def edit(file: Path, text: str) -> None:
    """At once, as editors do: a gateway that looks while a file is written finds it empty."""
    written = file.with_suffix(".new")
    written.write_text(text, encoding="utf-8")
    written.replace(file)


@pytest.mark.parametrize("how", ["edited", "SIGHUP"])
async def test_the_process_reloads_an_edited_file_and_on_sighup(tmp_path: Path, how: str) -> None:
    port = free_port()
    async with (
        ReplayServer(Play(openai_stream("old"))) as old,
        ReplayServer(Play(openai_stream("new"))) as new,
        process(tmp_path, config(port, old.url)) as gateway,
    ):
        await until_ready(port)
        assert b"old" in await asked(port)
        edit(tmp_path / "gateway.toml", config(port, new.url))
        if how == "SIGHUP":
            gateway.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while b"new" not in await asked(port):
                await asyncio.sleep(0.05)
        edit(tmp_path / "gateway.toml", "[server]\nprot = 1\n")
        gateway.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while not (told := (await readiness(f"http://127.0.0.1:{port}"))[1]["warnings"]):
                await asyncio.sleep(0.05)
        assert "server.prot" in told[0]
        assert b"new" in await asked(port)
        gateway.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await gateway.wait() == 0
