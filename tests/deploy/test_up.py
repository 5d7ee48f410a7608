"""What `make run` decides before it starts anything."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from deploy.child import Address, Child
from deploy.up import StartError, Table, ollama_models, table, taken_ports
from gateway.settings_file import load

ROOT = Path(__file__).parents[2]


def planned(environment: Mapping[str, str], ollama: int = 0) -> Table:
    return table(environment, load(None, environment), ollama)


def named(plan: Table) -> dict[str, Child]:
    return {child.name: child for child in plan.children}


def test_all_three_are_started_and_the_gateway_learns_where_the_others_are() -> None:
    plan = planned({"KEPT": "yes"})

    assert [child.name for child in plan.children] == ["classifier", "local", "gateway"]
    gateway = named(plan)["gateway"]
    assert gateway.argv == (sys.executable, "-m", "gateway")
    assert gateway.environment["CLASSIFIER_URL"] == "http://127.0.0.1:8000"
    assert gateway.environment["LOCAL_BASE_URL"] == "http://127.0.0.1:8090/v1"
    assert gateway.environment["KEPT"] == "yes"
    assert gateway.waits_s > 0
    assert [child.health_url for child in plan.children] == [
        "http://127.0.0.1:8000/healthz",
        "http://127.0.0.1:8090/health",
        "http://127.0.0.1:8080/readyz",
    ]
    assert plan.notes == ()


def test_ports_come_from_the_environment() -> None:
    plan = named(planned({"PORT": "9080", "CLASSIFIER_PORT": "9000", "LOCAL_PORT": "9090"}))

    assert plan["classifier"].address == Address("127.0.0.1", 9000, "CLASSIFIER_PORT")
    assert plan["local"].address == Address("127.0.0.1", 9090, "LOCAL_PORT")
    assert plan["gateway"].address == Address("127.0.0.1", 9080, "PORT")
    assert plan["classifier"].environment["CLASSIFIER_PORT"] == "9000"
    assert plan["gateway"].environment["CLASSIFIER_URL"] == "http://127.0.0.1:9000"
    assert plan["gateway"].environment["LOCAL_BASE_URL"] == "http://127.0.0.1:9090/v1"


def test_the_gateway_s_port_may_stand_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('[server]\nhost = "0.0.0.0"\nport = 9081\n')
    gateway = table({}, load(tmp_path / "gateway.toml", {}), 0).children[-1]

    assert gateway.address == Address("0.0.0.0", 9081, "PORT")
    assert gateway.health_url == "http://127.0.0.1:9081/readyz"


def test_a_classifier_on_every_address_is_asked_on_the_loopback() -> None:
    classifier = named(planned({"CLASSIFIER_HOST": "0.0.0.0"}))["classifier"]

    assert classifier.address == Address("0.0.0.0", 8000, "CLASSIFIER_PORT")
    assert classifier.health_url == "http://127.0.0.1:8000/healthz"


@pytest.mark.parametrize(
    ("said", "ollama", "started"),
    [
        ("", 0, True),
        ("", 2, False),
        ("auto", 1, False),
        ("on", 2, True),
        ("off", 0, False),
        ("OFF", 0, False),
    ],
)
def test_the_embedded_model_gives_way_to_an_ollama_and_to_off(
    said: str, ollama: int, started: bool
) -> None:
    plan = planned({"LOCAL_MODEL": said}, ollama)

    assert ("local" in named(plan)) is started
    assert ("LOCAL_BASE_URL" in named(plan)["gateway"].environment) is started
    assert len(plan.notes) == (0 if started else 1)


def test_a_classifier_elsewhere_is_used_and_none_is_started() -> None:
    plan = planned({"CLASSIFIER_URL": "http://10.0.0.7:8000"})

    assert "classifier" not in named(plan)
    assert named(plan)["gateway"].environment["CLASSIFIER_URL"] == "http://10.0.0.7:8000"
    assert plan.notes == ("the classifier is at http://10.0.0.7:8000; none is started here",)


@pytest.mark.parametrize(
    ("name", "value"),
    [("CLASSIFIER_PORT", "x"), ("LOCAL_PORT", "0"), ("LOCAL_MODEL", "maybe")],
)
def test_a_wrong_variable_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(StartError, match=name):
        planned({name: value})


def test_a_taken_port_and_one_that_is_named_twice_are_found(unused_tcp_port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        faults = taken_ports(
            [
                Address("127.0.0.1", port, "PORT"),
                Address("127.0.0.1", unused_tcp_port, "LOCAL_PORT"),
                Address("127.0.0.1", unused_tcp_port, "CLASSIFIER_PORT"),
            ]
        )

    assert faults == [
        f"port {port} is taken: set PORT to a free one",
        f"port {unused_tcp_port} is taken: set CLASSIFIER_PORT to a free one",
    ]
    assert taken_ports([Address("127.0.0.1", unused_tcp_port, "PORT")]) == []


@pytest.fixture
async def ollama() -> AsyncIterator[tuple[str, list[str]]]:
    """Its address, and the names of its models, to be filled."""
    models: list[str] = []

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"version": "0.13.0"})

    async def tags(_: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name} for name in models]})

    app = web.Application()
    app.router.add_get("/api/version", version)
    app.router.add_get("/api/tags", tags)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}", models
    await runner.cleanup()


async def test_an_ollama_counts_by_its_models(ollama: tuple[str, list[str]]) -> None:
    url, models = ollama

    assert await ollama_models(url, patience_s=5) == 0
    models += ["llama3.2:latest", "qwen3:4b"]
    assert await ollama_models(url + "/", patience_s=5) == 2


async def test_whoever_is_silent_or_no_ollama_counts_as_none(unused_tcp_port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        assert await ollama_models(f"http://127.0.0.1:{port}", patience_s=0.1) == 0

    assert await ollama_models(f"http://127.0.0.1:{unused_tcp_port}") == 0
    assert await ollama_models("no address") == 0


async def up(cwd: Path, **environment: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.up",
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LOCAL_MODEL": "off", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), err.decode()


async def test_a_taken_port_stops_make_run_before_anything_is_started(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        # `.env` is read, and the environment wins over it.
        (tmp_path / ".env").write_text(f"PORT={port}\nCLASSIFIER_URL=http://10.0.0.7:1\n")
        code, out, err = await up(tmp_path, CLASSIFIER_URL="http://10.0.0.8:1")

    assert (code, out) == (1, "")
    assert err == f"pointsman: port {port} is taken: set PORT to a free one\n"


async def test_a_wrong_variable_is_one_plain_line(tmp_path: Path) -> None:
    code, _, err = await up(tmp_path, LOCAL_MODEL="maybe")

    assert code == 1
    assert err == "pointsman: LOCAL_MODEL must be auto, on or off, not 'maybe'\n"
