"""What stands before and around the gateway: a real nginx with our file, and systemd's own look."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from tests.deploy.kept import keeper, toml
from tests.deploy.services import process, program, ran
from tests.ports import free_port
from tests.replay.server import Play, ReplayServer, openai_stream

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "nginx.conf"
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
WORDS = [f"w{n} " for n in range(20)]


def configuration(folder: Path, port: int, gateway: str) -> Path:
    """Our file on a free port and in a folder of the test's, all else as it is shipped."""
    tls = ROOT / "tests" / "providers" / "tls"
    server = SHIPPED.read_text()
    for shipped, here in (
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("/etc/ssl/llm.example.org.pem", str(tls / "cert.pem")),
        ("/etc/ssl/llm.example.org.key", str(tls / "key.pem")),
        ("server 127.0.0.1:8080 ", f"server {gateway.removeprefix('http://')} "),
    ):
        assert server.count(shipped) == 1, shipped
        server = server.replace(shipped, here)
    scratch = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    written = folder / "nginx.conf"
    written.write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log stderr warn;\n"
        f"events {{ worker_connections 256; }}\n"
        f"http {{\n{scratch}    access_log off;\n{server}\n}}\n"
    )
    return written


async def test_a_stream_comes_through_nginx_token_by_token_and_a_hang_up_goes_through(
    tmp_path: Path,
) -> None:
    nginx = program("nginx", "nginx-light")
    port = free_port()
    front = tmp_path / "front"
    front.mkdir()
    play = Play(openai_stream(*WORDS), chunk=190, delay_s=0.05)
    async with (
        ReplayServer(play) as upstream,
        keeper(tmp_path, upstream.url, workers=1) as (_, gateway),
    ):
        written = configuration(front, port, gateway)
        command = (nginx, "-p", str(front), "-c", str(written), "-e", "stderr")
        assert "test is successful" in ran(*command, "-t")
        url = f"https://127.0.0.1:{port}"
        insecure = aiohttp.TCPConnector(ssl=False)
        async with (
            process(*command, cwd=front, ready=f"{url}/healthz", ssl=False),
            aiohttp.ClientSession(connector=insecure) as session,
        ):
            arrivals: list[float] = []
            body = b""
            async with session.post(url + "/complete", json={"message": "hello"}) as answer:
                assert answer.status == 200
                async for piece in answer.content.iter_any():
                    arrivals.append(time.monotonic())
                    body += piece
            assert body.count(b'"message":"w') == len(WORDS)
            assert b'"done":true' in body
            # Held back, all would come at the end.
            assert len(arrivals) >= len(WORDS) // 2

            leaver = await session.post(url + "/complete", json={"message": "hello"})
            await leaver.content.readany()
            leaver.close()
            await upstream.until_left(limit_s=10)

            async with session.get(url + "/metrics") as answer:
                assert answer.status == 200
            long = {"message": "x" * 300_000, "model": "lab/m", "stream": False}
            async with session.post(url + "/complete", json=long) as answer:
                assert answer.status == 502, "the upstream plays a stream; the body got through"


@pytest.mark.slow
async def test_an_upgrade_of_both_gateways_drops_no_stream_and_refuses_nobody(
    tmp_path: Path,
) -> None:
    """As docs/operations.md has it: out of the balancer, SIGTERM, its end, the new one, back in."""
    nginx = program("nginx", "nginx-light")
    port, addresses = free_port(), [f"127.0.0.1:{free_port()}" for _ in range(2)]
    front = tmp_path / "front"
    for name in ("front", "gateway-0", "gateway-1"):
        (tmp_path / name).mkdir()
    play = Play(openai_stream(*WORDS), chunk=190, delay_s=0.05)
    ended: list[bytes] = []
    done = asyncio.Event()

    async def caller(session: aiohttp.ClientSession) -> None:
        while not done.is_set():
            async with session.post(
                f"https://127.0.0.1:{port}/complete", json={"message": "hello", "model": "lab/m"}
            ) as answer:
                assert answer.status == 200, await answer.text()
                ended.append((await answer.read())[-900:])

    async with ReplayServer(play) as upstream:
        gateways = [
            await begun(tmp_path / f"gateway-{n}", upstream.url, addresses[n]) for n in (0, 1)
        ]
        written = configuration(front, port, f"http://{addresses[0]}")
        both = written.read_text().replace(
            f"server {addresses[0]} max_fails=2 fail_timeout=2s;",
            "".join(f"server {one} max_fails=2 fail_timeout=2s;\n    " for one in addresses),
        )
        written.write_text(both)
        command = (nginx, "-p", str(front), "-c", str(written), "-e", "stderr")
        try:
            async with (
                process(
                    *command, cwd=front, ready=f"https://127.0.0.1:{port}/readyz", ssl=False
                ) as (balancer),
                # A reload of nginx closes idle connections of callers, who then open new ones.
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=False, force_close=True)
                ) as session,
            ):
                callers = [asyncio.create_task(caller(session)) for _ in range(12)]
                await asyncio.sleep(1)
                for number, address in enumerate(addresses):
                    written.write_text(
                        both.replace(f"server {address} ", f"server {address} down ")
                    )
                    balancer.send_signal(signal.SIGHUP)
                    await asyncio.sleep(1)
                    gateways[number].terminate()
                    async with asyncio.timeout(20):
                        assert await gateways[number].wait() == 0
                    gateways[number] = await begun(
                        tmp_path / f"gateway-{number}", upstream.url, address
                    )
                    written.write_text(both)
                    balancer.send_signal(signal.SIGHUP)
                    await asyncio.sleep(1)
                done.set()
                await asyncio.gather(*callers)
        finally:
            for gateway in gateways:
                gateway.kill()
                await gateway.wait()
    assert len(ended) >= 24
    assert all(b'"finish_reason":"stop"' in end for end in ended)


async def begun(folder: Path, upstream: str, address: str) -> asyncio.subprocess.Process:
    """A gateway at an address, ready."""
    port = int(address.rpartition(":")[2])
    (folder / "gateway.toml").write_text(
        toml(port, upstream) + '[store]\ndatabase = ""\n', encoding="utf-8"
    )
    with (folder / "log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "--config", "gateway.toml"),
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    async with asyncio.timeout(40), aiohttp.ClientSession() as session:
        while True:
            assert child.returncode is None, (folder / "log").read_text()
            try:
                async with session.get(f"http://{address}/readyz") as answer:
                    if answer.status == 200:
                        return child
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_units(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here (Debian: systemd)")
    # It looks whether the program is there: a tree as the unit expects it stands in for it.
    text = unit.read_text().replace("/opt/pointsman/.venv/bin/python", "/bin/true")
    copy = tmp_path / unit.name
    copy.write_text(text)
    other = next(one for one in UNITS if one != unit)
    (tmp_path / other.name).write_text(
        other.read_text().replace("/opt/pointsman/.venv/bin/python", "/bin/true")
    )
    said = ran(analyze, "verify", "--man=no", "--recursive-errors=no", str(copy), cwd=tmp_path)
    assert unit.name not in said, said


def test_the_units_leave_the_streams_their_time_and_give_no_rights() -> None:
    assert len(UNITS) == 2
    for unit in UNITS:
        text = unit.read_text()
        for line in (
            "DynamicUser=yes",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "KillMode=mixed",
        ):
            assert line in text, f"{unit.name}: {line}"
    gateway = next(unit for unit in UNITS if "gateway" in unit.name).read_text()
    assert "TimeoutStopSec=45" in gateway
    assert "ExecReload=/bin/kill -HUP $MAINPID" in gateway
