"""S01 and S02: POST /complete for a fetch, GET /complete for an EventSource; HEAD, OPTIONS, 405."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.doors.lab import lab
from tests.doors.upstreams import HELLO, KINDS, cut_short, play
from tests.replay.gateway import Running

CHROMIUM = Path("/usr/bin/chromium")
ACCEPT = {"Accept": "text/event-stream"}
ASKED = "/complete?message=Hi&model=lab/m&user_id=u1&max_tokens=50&temperature=0.5"
CORS = {"access": {"cors": ["http://localhost:5173"], "admin_token": "t"}}
PAGE = {"Origin": "http://localhost:5173"}


def parsed(raw: bytes) -> tuple[list[dict[str, Any]], str]:
    """Events and the last id, by the rules of the standard: an id holds from its block's end on,
    and a block without data is no event."""
    last, events = "", []
    for block in raw.decode().split("\n\n"):
        data = []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name == "id":
                last = value.removeprefix(" ")
            elif name == "data":
                data.append(value.removeprefix(" "))
        if data:
            events.append(orjson.loads("\n".join(data)))
    return events, last


async def get(
    gateway: Running, headers: Mapping[str, str], where: str = ASKED
) -> tuple[int, bytes]:
    async with gateway.session.get(gateway.url + where, headers=headers) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("kind", KINDS)
async def test_s01_a_post_for_a_fetch_and_a_get_for_an_event_source_are_one_stream(
    kind: str,
) -> None:
    async with lab(kind, play(kind, HELLO, True, chunk=1)) as (gateway, upstream):
        answer = await gateway.complete(message="Hi", model="lab/m")
        assert answer.text == HELLO.text
        assert answer.closing["finish_reason"] == "stop"
        assert b"\nid:" not in b"\n" + answer.raw
        status, raw = await get(gateway, ACCEPT)
        assert status == 200
        events, last = parsed(raw)
        assert "".join(event["message"] for event in events) == HELLO.text
        assert events[-1]["done"] is True
        assert events[0]["user_id"] == "u1"
        assert last
        assert len(upstream.received) == 2


async def test_s01_one_that_comes_back_is_told_204_and_nobody_is_asked_again() -> None:
    """After its end, and after a stream that broke: the id holds before the first word."""
    broken = cut_short("openai")
    for upstreams in (play("openai", HELLO, True), broken):
        async with lab("openai", upstreams, attempts={"per_target": 1}) as (gateway, upstream):
            status, raw = await get(gateway, ACCEPT)
            events, last = parsed(raw)
            assert raw.startswith(b"id: ")
            assert events[-1]["done"] is True
            assert await get(gateway, {**ACCEPT, "Last-Event-ID": last}) == (204, b"")
            assert status == 200
            assert len(upstream.received) == 1


async def test_s01_a_wrong_question_is_a_status_that_an_event_source_gives_up_at() -> None:
    async with lab("openai") as (gateway, upstream):
        for where, param in (
            ("/complete", "message"),
            ("/complete?message=Hi&model=lab/m&max_tokens=x", "max_tokens"),
            ("/complete?message=Hi&what=x", "what"),
        ):
            status, raw = await get(gateway, ACCEPT, where)
            assert status == 400
            assert orjson.loads(raw)["error"]["param"] == param
        assert upstream.received == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # A picture, a link, a script.
        ({"Accept": "image/avif,image/webp,*/*"}, 406),
        ({**ACCEPT, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**ACCEPT, "Sec-Fetch-Site": "same-site"}, 403),
        ({**ACCEPT, "Origin": "https://evil.example"}, 403),
        ({**ACCEPT, "Sec-Fetch-Site": "same-origin"}, 200),
        ({**ACCEPT, **PAGE, "Sec-Fetch-Site": "same-site"}, 200),
    ],
)
async def test_s01_no_foreign_page_can_spend_anything_by_a_get(
    headers: dict[str, str], status: int
) -> None:
    async with lab("openai", play("openai", HELLO, True), **CORS) as (gateway, upstream):
        assert (await get(gateway, headers))[0] == status
        assert len(upstream.received) == (status == 200)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium")
async def test_s01_a_real_event_source_stops_by_itself_and_asks_once() -> None:
    from playwright.async_api import async_playwright

    script = """where => new Promise(resolve => {
        let text = "", closed = false;
        const source = new EventSource(where);
        source.onmessage = event => {
            const told = JSON.parse(event.data);
            text += told.message;
            closed = closed || told.done === true;
        };
        // It is not closed by the page: 204 is what ends it.
        source.onerror = () => {
            if (source.readyState === EventSource.CLOSED) resolve([text, closed]);
        };
    })"""
    async with (
        lab("openai", play("openai", HELLO, True)) as (gateway, upstream),
        async_playwright() as driver,
    ):
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            page = await browser.new_page()
            await page.goto(gateway.url + "/healthz")
            assert await page.evaluate(script, ASKED) == [HELLO.text, True]
        finally:
            await browser.close()
        assert len(upstream.received) == 1


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags", "/v1/models", "/healthz"])
async def test_s02_a_head_has_headers_for_a_page_and_no_body(path: str) -> None:
    async with (
        lab("openai", **CORS) as (gateway, _),
        gateway.session.head(gateway.url + path, headers=PAGE) as response,
    ):
        assert response.status == 200
        assert await response.read() == b""
        assert response.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/complete"),
        ("PUT", "/complete"),
        ("GET", "/v1/chat/completions"),
        ("DELETE", "/v1/messages"),
        ("GET", "/api/chat"),
        ("GET", "/v1/responses"),
    ],
)
async def test_s02_a_wrong_method_names_the_right_ones_and_asks_nobody(
    method: str, path: str
) -> None:
    async with (
        lab("openai", **CORS) as (gateway, upstream),
        gateway.session.request(method, gateway.url + path, headers=PAGE) as response,
    ):
        assert response.status == 405
        assert "POST" in response.headers["Allow"]
        assert response.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
        raw = await response.read()
        assert raw == b"" if method == "HEAD" else orjson.loads(raw)["error"]
        assert upstream.received == []


@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions", "/v1/messages", "/api/chat"])
async def test_s02_options_tell_a_page_what_it_may_send(path: str) -> None:
    wanted = {
        **PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with (
        lab("openai", **CORS) as (gateway, upstream),
        gateway.session.options(gateway.url + path, headers=wanted) as response,
    ):
        assert response.status == 204
        assert await response.read() == b""
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        assert upstream.received == []
