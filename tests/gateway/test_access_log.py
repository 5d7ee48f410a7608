"""Every request has one line: those that a model answered, and those that nobody got to ask."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from gateway import middleware
from gateway.app import build_app
from gateway.monitor import access, logs
from gateway.settings import Log, Settings
from tests.deploy.kept import keeper
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

EXTRA = """
[codes.one]
code = "the-code-of-one"
rate_limit = "2/hour"
[access]
admin_token = "the-operators-token"
"""
CODE = {"Authorization": "Bearer the-code-of-one"}
ADMIN = {"Authorization": "Bearer the-operators-token"}
ASKS: list[tuple[str, str, dict[str, str], Any, int]] = [
    ("GET", "/v1/models", CODE, None, 200),
    ("GET", "/usage", ADMIN, None, 200),
    ("GET", "/usage", {}, None, 401),
    ("POST", "/settings", ADMIN, {"nonsense": 1}, 400),
    ("GET", "/nowhere/sk-0123456789abcdef?key=sk-0123456789abcdef", CODE, None, 404),
    ("POST", "/complete", {"Authorization": "Bearer pm-wrong-0123456789"}, {"message": "x"}, 401),
    ("POST", "/complete", CODE, {"message": 1}, 400),
    ("POST", "/complete", CODE, {"message": "hi", "stream": False}, 200),
    ("POST", "/v1/embeddings", CODE, {"model": "nobody/e", "input": "hi"}, 404),
    ("POST", "/complete", CODE, {"message": "hi", "model": "nobody/m"}, 404),
    ("POST", "/complete", CODE, {"message": "hi", "stream": False}, 429),
    ("GET", "/healthz", {}, None, 200),
    ("GET", "/readyz", {}, None, 200),
    ("GET", "/metrics", {}, None, 200),
]
QUIET = {"/healthz", "/readyz", "/metrics"}


async def lines(folder: Path, count: int) -> list[dict[str, Any]]:
    """Of the access log, once there are so many; a moment later there are no more."""

    def read() -> list[dict[str, Any]]:
        whole = [row for row in (folder / "log").read_text().splitlines() if row[:1] == "{"]
        told = [orjson.loads(row) for row in whole]
        return [row for row in told if row["logger"] == "pointsman.access"]

    async with asyncio.timeout(20):
        while len(read()) < count:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.6)
    return read()


async def test_every_request_has_one_line_with_its_path_its_end_and_its_time(
    tmp_path: Path,
) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    async with (
        ReplayServer(play) as upstream,
        keeper(tmp_path, upstream.url, workers=1, extra=EXTRA) as (_, url),
        aiohttp.ClientSession() as session,
    ):
        wanted = []
        for number, (method, path, headers, body, status) in enumerate(ASKS):
            named = {**headers, "X-Request-Id": f"ask-{number}"}
            async with session.request(method, url + path, headers=named, json=body) as answer:
                assert answer.status == status, (path, await answer.text())
            if path not in QUIET:
                wanted.append(f"ask-{number}")
        told = await lines(tmp_path, len(wanted))
    # Questions are written down a few at a time.
    assert sorted(row["request_id"] for row in told) == sorted(wanted)
    assert all(row["total_ms"] >= 0 for row in told)
    found = {row["request_id"]: row for row in told}
    models = found["ask-0"]
    assert (models["method"], models["path"], models["status"]) == ("GET", "/v1/models", 200)
    assert models["outcome"] == "served"
    assert found["ask-1"]["caller"] == "admin"
    assert "caller" not in found["ask-2"]
    assert (found["ask-2"]["error"], found["ask-2"]["outcome"]) == ("not_identified", "refused")
    assert (found["ask-3"]["path"], found["ask-3"]["error"]) == ("/settings", "bad_request")
    assert (found["ask-4"]["path"], found["ask-4"]["status"]) == ("", 404)
    assert (found["ask-5"]["path"], found["ask-5"]["status"]) == ("/complete", 401)
    # What was put to a model tells of the route and of the target instead.
    assert (found["ask-7"]["route"], found["ask-7"]["target"]) == ("auto", "lab/m")
    assert found["ask-10"]["error"] == "rate_limited"
    text = (tmp_path / "log").read_text()
    for secret in ("sk-0123456789abcdef", "pm-wrong", "the-code-of-one", "the-operators-token"):
        assert secret not in text


def test_every_door_of_questions_is_one_that_is_there() -> None:
    app = build_app(Settings(), {})
    there = {
        route.resource.canonical for route in app.router.routes() if route.resource is not None
    }
    assert there >= middleware.QUESTIONS
    assert there >= middleware.QUESTION_PATTERNS


async def test_a_stream_and_its_hang_up_have_one_line_each(tmp_path: Path) -> None:
    play = Play(openai_stream(*[f"w{n} " for n in range(20)]), chunk=200, delay_s=0.05)
    async with (
        ReplayServer(play) as upstream,
        keeper(tmp_path, upstream.url, workers=1) as (_, url),
        aiohttp.ClientSession() as session,
    ):
        async with session.post(url + "/complete", json={"message": "hello"}) as answer:
            await answer.read()
        leaver = await session.post(url + "/complete", json={"message": "hello"})
        await leaver.content.readany()
        leaver.close()
        told = await lines(tmp_path, 2)
    assert [row["outcome"] for row in told] == ["finished", "cancelled"]


def test_a_terminal_gets_words_of_a_visit_too() -> None:
    out = io.StringIO()
    log = logs.start(Log(format="text"), out)
    log.access.visited(access.Visit("id1", "GET", "/usage", 401, None, "not_identified", 0.31))
    log.stop()
    assert "refused   request_id=id1 method=GET path=/usage status=401" in out.getvalue()
