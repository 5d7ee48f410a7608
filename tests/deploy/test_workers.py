"""`python -m gateway --workers 2`: real processes on one port, counted, replaced and drained."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.deploy.kept import (
    ROOT,
    alive,
    asked,
    children,
    keeper,
    reaches,
    rows,
    sample,
    toml,
    until,
)
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

WORDS = [f"w{n} " for n in range(40)]


async def test_counters_are_the_sum_of_all_workers_and_outlive_a_dead_one(tmp_path: Path) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    async with ReplayServer(play) as upstream, keeper(tmp_path, upstream.url) as (child, url):
        await asked(url, 40)
        await reaches(url, "pointsman_requests_total", 40)
        assert await sample(url, "pointsman_request_seconds_count") == 40

        before = children(child.pid)
        assert len(before) == 2
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(children(child.pid) - {victim}) == 2, "the place is filled")
        await asyncio.sleep(1)

        assert await sample(url, "pointsman_requests_total") == 40
        await asked(url, 10)
        await reaches(url, "pointsman_requests_total", 50)
        # A sibling's gauge is as it wrote it down last, which may have been amid a request.
        await reaches(url, "pointsman_in_flight", 0)


async def test_every_worker_takes_a_part_of_the_connections(tmp_path: Path) -> None:
    async with ReplayServer() as upstream, keeper(tmp_path, upstream.url) as (child, url):
        port = int(url.rpartition(":")[2])
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(64)]
        try:
            await asyncio.sleep(0.5)
            # The kernel gave the port, and somebody may ask who had it before.
            ours = {one.getsockname()[1] for one in held}
            mine = [row for row in rows(port, "01") if int(row[2].rpartition(":")[2], 16) in ours]
            shares = []
            for pid in children(child.pid):
                files = {
                    os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")
                }
                shares.append(sum(f"socket:[{row[9]}]" in files for row in mine))
        finally:
            for one in held:
                one.close()
    assert sum(shares) == 64
    assert min(shares) >= 10, shares


async def test_in_flight_counts_the_streams_of_all_workers(tmp_path: Path) -> None:
    play = Play(openai_stream(*WORDS), chunk=200, delay_s=0.1)
    async with ReplayServer(play) as upstream, keeper(tmp_path, upstream.url) as (_, url):
        sessions = [aiohttp.ClientSession() for _ in range(8)]
        streams = [await one.post(url + "/complete", json={"message": "hello"}) for one in sessions]
        await reaches(url, "pointsman_in_flight", 8)
        async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
            text = await answer.text()
        # One figure for all workers, not one for each process.
        assert "pid=" not in text
        assert "pointsman_shed 0.0" in text
        for stream in streams:
            stream.close()
        for one in sessions:
            await one.close()
        async with asyncio.timeout(10):
            while await sample(url, "pointsman_in_flight"):
                await asyncio.sleep(0.1)


async def test_each_worker_writes_log_files_of_its_own(tmp_path: Path) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    extra = f'[log]\nfolder = "{tmp_path / "logs"}"\ndebug = true\n'
    async with (
        ReplayServer(play) as upstream,
        keeper(tmp_path, upstream.url, extra=extra) as (child, url),
    ):
        await asked(url, 40)
        sets = (("app.log", "error.log", "debug.log"), ("app.1.log", "error.1.log", "debug.1.log"))

        def opened() -> list[set[str]]:
            return [
                {
                    os.path.basename(name)
                    for fd in os.listdir(f"/proc/{pid}/fd")
                    if (name := os.readlink(f"/proc/{pid}/fd/{fd}")).endswith(".log")
                }
                for pid in children(child.pid)
            ]

        def apart() -> bool:
            # An error.log is made by the first error.
            found = opened()
            return all(any(mine[0] in one and one <= set(mine) for one in found) for mine in sets)

        await until(apart, "each has a set of its own")
    found = []
    for name in ("app.log", "app.1.log"):
        lines = [
            json.loads(line) for line in (tmp_path / "logs" / name).read_text("utf-8").splitlines()
        ]
        ids = {line["request_id"] for line in lines if line.get("door") == "complete"}
        assert ids
        found.append(ids)
    # Each request stands in one of them.
    assert not found[0] & found[1]
    assert len(found[0] | found[1]) == 40


async def test_a_stop_lets_every_workers_streams_end(tmp_path: Path) -> None:
    play = Play(openai_stream(*WORDS), chunk=200, delay_s=0.05)
    async with ReplayServer(play) as upstream, keeper(tmp_path, upstream.url) as (child, url):
        counters = {one for one in os.listdir("/dev/shm") if one.startswith("pointsman-metrics-")}
        assert counters

        async def whole() -> bytes:
            async with (
                aiohttp.ClientSession() as session,
                session.post(url + "/complete", json={"message": "hello"}) as answer,
            ):
                await answer.content.readany()
                begun.append(1)
                return await answer.read()

        begun: list[int] = []
        streams = [asyncio.create_task(whole()) for _ in range(12)]
        await until(lambda: len(begun) == 12, "all streams run")
        child.terminate()
        ends = await asyncio.gather(*streams)
        assert all(b'"done":true' in end and b'"finish_reason":"stop"' in end for end in ends)
        async with asyncio.timeout(20):
            assert await child.wait() == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await asked(url, 1)
        left = {one for one in os.listdir("/dev/shm") if one.startswith("pointsman-metrics-")}
        assert not counters <= left


async def test_a_hang_up_signal_reloads_every_worker(tmp_path: Path) -> None:
    async with ReplayServer() as upstream, keeper(tmp_path, upstream.url) as (child, url):
        child.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while await sample(url, "pointsman_reloads_total") < 2:
                await asyncio.sleep(0.1)
        assert len(children(child.pid)) == 2


async def test_a_killed_keeper_leaves_no_worker_behind(tmp_path: Path) -> None:
    async with ReplayServer() as upstream, keeper(tmp_path, upstream.url) as (child, _):
        pids = children(child.pid)
        child.kill()
        await child.wait()

        await until(lambda: not any(alive(pid) for pid in pids), "all workers ended")


async def test_counters_that_a_killed_keeper_left_are_swept_and_those_of_the_living_stay(
    tmp_path: Path,
) -> None:
    def folders() -> set[str]:
        return {one for one in os.listdir("/dev/shm") if one.startswith("pointsman-metrics-")}

    def of(child: asyncio.subprocess.Process) -> set[str]:
        """Named in the environment that the keeper has given to its workers."""
        found = set()
        for pid in children(child.pid):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                parts = os.readlink(f"/proc/{pid}/fd/{fd}").split("/")
                found |= {part for part in parts if part.startswith("pointsman-metrics-")}
        return found

    for name in ("killed", "first", "second"):
        (tmp_path / name).mkdir()
    async with ReplayServer() as upstream:
        async with keeper(tmp_path / "killed", upstream.url) as (child, _):
            left = of(child)
            pids = children(child.pid)
            child.kill()
            await child.wait()
            await until(lambda: not any(alive(pid) for pid in pids), "all workers ended")
        assert len(left) == 1
        assert left <= folders()
        async with keeper(tmp_path / "first", upstream.url) as (first, _):
            assert not left & folders()
            mine = of(first)
            async with keeper(tmp_path / "second", upstream.url):
                assert mine <= folders()


async def test_a_wrong_setting_and_a_taken_port_are_told_once(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"

    async def said() -> tuple[int, str]:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gateway", "--config", str(config), "--workers", "2"),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(40):
            out, _ = await child.communicate()
        assert child.returncode is not None
        return child.returncode, out.decode()

    config.write_text("[server]\nport = 'many'\n")
    code, words = await said()
    assert code == 2
    assert words.count("server.port") == 1

    config.write_text("[providers.lab]\nkind = 'no such'\n")
    code, words = await said()
    assert code == 2
    assert "lab" in words

    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(toml(taken.getsockname()[1], "http://127.0.0.1:1"))
        code, words = await said()
    assert code == 1
    assert words.count("in use") == 1


async def test_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.environment import environment
    from gateway.settings import SettingsError

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "OPENAI_API_KEY").write_text("from-a-file\n")
    (folder / "GROQ_API_KEY").write_text("file")
    (folder / "EMPTY").write_text("\n")
    (folder / "..data").write_text("not a variable")
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-env-file\nA4F_API_KEY=kept\n")
    monkeypatch.setenv("SECRETS_DIR", str(folder))
    monkeypatch.setenv("GROQ_API_KEY", "own")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    found = environment()

    assert found["OPENAI_API_KEY"] == "from-a-file"
    assert found["A4F_API_KEY"] == "kept"
    assert found["GROQ_API_KEY"] == "own"
    assert "EMPTY" not in found
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="SECRETS_DIR"):
        environment()


async def test_a_secret_that_changes_is_in_use_without_a_restart(tmp_path: Path) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "LAB_KEY").write_text("the-old-one")
    extra = 'api_key = "${LAB_KEY}"\n'
    async with (
        ReplayServer(play) as upstream,
        keeper(
            tmp_path, upstream.url, provider=extra, environment={"SECRETS_DIR": str(secrets)}
        ) as (_, url),
    ):
        await asked(url, 4)
        # As the kubelet does it: written beside, then renamed.
        (tmp_path / "fresh").write_text("the-new-one\n")
        (tmp_path / "fresh").replace(secrets / "LAB_KEY")
        async with asyncio.timeout(15):
            while await sample(url, "pointsman_reloads_total") < 2:
                await asyncio.sleep(0.1)
        await asked(url, 4)
        keys = [one.headers["authorization"] for one in upstream.received]
    assert set(keys[:4]) == {"Bearer the-old-one"}
    assert set(keys[4:]) == {"Bearer the-new-one"}
