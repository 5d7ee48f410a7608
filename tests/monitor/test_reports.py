"""Errors of our own are told to a real receiver; it may hang, refuse or be gone."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from gateway.app import build_app, build_runner
from gateway.monitor import logs, reports
from gateway.settings import Log, Settings, SettingsError
from tests.deploy.kept import ROOT, keeper, until
from tests.ports import free_port
from tests.replay.server import ReplayServer, answering

KEY = "sk-live-0123456789abcdef"
PASSWORD = "the database's own password"


@dataclass
class Receiver:
    """What a Sentry gets: POST /api/PROJECT/envelope/."""

    status: int = 200
    auth: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    dsn: str = ""

    async def take(self, request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("POST", "/path/api/7/envelope/")
        assert request.content_type == "application/x-sentry-envelope"
        self.auth.append(request.headers["X-Sentry-Auth"])
        self.bodies.append(await request.read())
        return web.json_response({"id": "1"}, status=self.status)

    def events(self) -> list[dict[str, Any]]:
        found = []
        for body in self.bodies:
            head, item, payload = body.rstrip(b"\n").split(b"\n")
            assert orjson.loads(item)["length"] == len(payload)
            event = orjson.loads(payload)
            assert orjson.loads(head)["event_id"] == event["event_id"]
            found.append(event)
        return found

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.bodies) < count:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    made = Receiver()
    async with answering(made.take) as url:
        made.dsn = url.replace("//", "//public@") + "/path/7"
        yield made


@contextmanager
def logging_to(told: reports.Reports | None) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers, root.level
    out = io.StringIO()
    running = logs.start(Log(format="json"), out, reports=told)
    try:
        yield out
    finally:
        running.stop()
        root.handlers, level = before[0], before[1]
        root.setLevel(level)


async def test_a_fault_is_told_with_its_place_and_its_request_and_without_secrets() -> None:
    async def boom(request: web.Request) -> web.Response:
        prompt = "what the caller asked"
        raise RuntimeError(f"{len(prompt)} letters, {KEY}, Bearer abc.def.ghi, {PASSWORD}")

    async with receiver() as sentry:
        variables = {"DATABASE_URL": PASSWORD, "HOME": "letters"}
        told = reports.start(Log(sentry_dsn=sentry.dsn), variables)
        with logging_to(told) as out:
            app = build_app(Settings(), {})
            app.router.add_get("/boom/{number}", boom)
            runner = build_runner(app, Settings())
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/boom/{KEY}"
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, headers={"X-Request-Id": "the-one"}) as answer,
            ):
                assert answer.status == 500
            await sentry.until(1)
            await runner.cleanup()
    (event,) = sentry.events()
    assert sentry.auth[0].startswith("Sentry sentry_version=7, ")
    assert sentry.auth[0].endswith("sentry_key=public")
    assert event["tags"] == {"request_id": "the-one", "method": "GET", "route": "/boom/{number}"}
    (value,) = event["exception"]["values"]
    assert value["type"] == "RuntimeError"
    assert value["value"] == "21 letters, <secret>, Bearer <secret>, <secret>"
    last = value["stacktrace"]["frames"][-1]
    assert (last["function"], last["filename"]) == ("boom", __file__)
    assert last["lineno"] > 0
    for secret in (KEY, PASSWORD, "abc.def", "what the caller asked", "public@"):
        assert secret.encode() not in sentry.bodies[0]
    # The log has it as ever.
    assert "a fault of ours" in out.getvalue()


HOOK = """
import json, urllib.request
def tell(report):
    urllib.request.urlopen("{url}", data=json.dumps(dict(report)).encode())
def fails(report):
    raise SystemExit("no")
"""


async def test_a_function_of_the_operators_is_told_by_a_running_gateway(tmp_path: Path) -> None:
    got: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        got.append(orjson.loads(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    (tmp_path / "watcher.py").write_text(HOOK.format(url=url))
    environment = {"ERROR_HOOK": "watcher:tell", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    async with (
        ReplayServer() as upstream,
        keeper(tmp_path, upstream.url, workers=1, environment=environment),
    ):
        config = tmp_path / "gateway.toml"
        config.write_text(config.read_text() + "\n[nonsense]\n")
        async with asyncio.timeout(20):
            while not got:
                await asyncio.sleep(0.05)
    await runner.cleanup()
    assert got[0]["message"] == "settings not reloaded"
    assert "nonsense" in got[0]["context"]["error"]
    assert got[0]["exception"] is None
    assert got[0]["release"]


@pytest.mark.parametrize("how", ["fails", "gone", "refuses"])
async def test_a_collector_that_does_not_take_it_harms_nobody(how: str, tmp_path: Path) -> None:
    (tmp_path / "watcher.py").write_text(HOOK)
    async with receiver() as sentry, ReplayServer() as upstream:
        sentry.status = 503
        environment = {
            "fails": {"ERROR_HOOK": "watcher:fails", "PYTHONPATH": f"{ROOT}:{tmp_path}"},
            "gone": {"SENTRY_DSN": f"http://key@127.0.0.1:{free_port()}/7"},
            "refuses": {"SENTRY_DSN": sentry.dsn},
        }[how]
        async with keeper(tmp_path, upstream.url, workers=1, environment=environment) as (_, url):
            config = tmp_path / "gateway.toml"
            config.write_text(config.read_text() + "\n[nonsense]\n")
            said = tmp_path / "log"
            await until(lambda: "an error was not reported" in said.read_text(), "it is said")
            assert "settings not reloaded" in said.read_text()
            assert "key@" not in said.read_text()
            async with aiohttp.ClientSession() as session, session.get(url + "/readyz") as answer:
                assert answer.status == 200


def record(number: int, at: float, message: str = "lost") -> logging.LogRecord:
    made = logging.LogRecord("pointsman.x", logging.ERROR, __file__, 1, message, None, None)
    made.created = at
    made.fields = {"number": number}
    return made


def stopped(told: reports.Reports) -> None:
    told.stop()
    assert not told._thread.is_alive()


def test_of_one_kind_one_a_minute_is_told_and_the_next_says_how_many_were_not() -> None:
    got: list[Mapping[str, Any]] = []
    told = reports.Reports(got.append)
    for number in range(500):
        told.handle(record(number, 1000.0 + number / 100))
    told.handle(record(500, 1000.0 + reports.KIND_S))
    told.handle(record(501, 1000.0, "another kind"))
    stopped(told)
    assert [(one["context"]["number"], one["more"]) for one in got] == [
        (0, 0),
        (500, 499),
        (501, 0),
    ]


def test_of_all_kinds_not_more_than_a_few_a_minute_are_told() -> None:
    got: list[Mapping[str, Any]] = []
    told = reports.Reports(got.append)
    for number in range(200):
        told.handle(record(number, 1000.0, f"kind {number}"))
    told.handle(record(200, 1061.0, "kind 199"))
    stopped(told)
    assert len(got) == reports.A_MINUTE + 1
    assert (got[-1]["message"], got[-1]["more"]) == ("kind 199", 1)


def test_a_collector_that_hangs_holds_up_neither_the_log_nor_the_memory() -> None:
    held = threading.Event()
    got: list[Mapping[str, Any]] = []

    def hangs(report: Mapping[str, Any]) -> None:
        held.wait(30)
        got.append(report)

    told = reports.Reports(hangs)
    # Thirty a minute, over so many minutes; each call returns at once, or this test would take
    # an hour.
    for minute in range(20):
        for number in range(reports.A_MINUTE):
            told.handle(record(number, 1000.0 + 61 * minute, f"kind {minute} {number}"))
    held.set()
    stopped(told)
    # One was being told.
    assert reports.WAITING <= len(got) <= reports.WAITING + 1


def test_the_innermost_place_is_the_kind_of_a_fault() -> None:
    got: list[Mapping[str, Any]] = []
    told = reports.Reports(got.append)
    for number, bad in enumerate(("int('a')", "int('b')", "[][1]")):
        try:
            eval(bad)
        except Exception as fault:
            made = record(number, 1000.0)
            made.exc_info = (type(fault), fault, fault.__traceback__)
            told.handle(made)
    stopped(told)
    assert [one["exception"]["type"] for one in got] == ["ValueError", "IndexError"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"error_hook": "no.such.module:tell"},
            "log.error_hook: no.such.module:tell cannot be had",
        ),
        ({"error_hook": "json:no_such"}, "log.error_hook: json:no_such cannot be had"),
        ({"error_hook": "json:__name__"}, "is not a function"),
        ({"sentry_dsn": "https://errors.example.org/7"}, "log.sentry_dsn: it must be https://KEY@"),
        ({"sentry_dsn": "ftp://a-key@errors.example.org/7"}, "log.sentry_dsn"),
        ({"sentry_dsn": "https://a-key@h/7", "error_hook": "json:dumps"}, "one of them"),
    ],
)
def test_a_hook_that_cannot_be_is_told_at_the_start(given: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as said:
        reports.start(Log.model_validate(given), {})
    assert "a-key" not in str(said.value)


def test_without_a_hook_there_is_no_thread() -> None:
    assert reports.start(Log(), {"SENTRY": "x"}) is None
