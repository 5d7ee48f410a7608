"""What is no HTTP: told as any other fault, at once, and nothing of it is repeated."""

from __future__ import annotations

import asyncio
import logging

import orjson
import pytest

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body

SECRET = b"sk-secret-1234567890"
PATHS = ("/complete", "/v1/chat/completions", "/v1/messages", "/api/chat")


def given(url: str) -> dict[str, object]:
    return {"providers": {"easy": openai_provider(url)}, "server": {"body_s": 60}}


async def said(gateway: Running, *pieces: bytes) -> tuple[bytes, dict[str, object]]:
    """The status line and the body of what is answered; the connection must then be closed."""
    port = int(gateway.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.02)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert SECRET not in answer
    assert b"application/json" in head
    return head.partition(b"\r\n")[0], orjson.loads(body)


def head(path: str, *lines: bytes) -> bytes:
    all_lines = (f"POST {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", *lines)
    return b"\r\n".join(all_lines) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"Authorization: Bearer " + SECRET + b"\x01", "Invalid header value char"),
        (b"Authorization : Bearer " + SECRET, "Invalid header token"),
        (b"Content-Length: " + SECRET, "Invalid character in Content-Length"),
        (b"X-Api-Key: " + SECRET * 1000, "Got more than 8190 bytes when reading"),
        (SECRET, "Invalid header token"),
    ],
)
async def test_a_head_that_cannot_be_read_is_not_repeated(
    line: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        ReplayServer() as upstream,
        running(settings(**given(upstream.url))) as gateway,
    ):
        status, body = await said(gateway, head("/complete", line))
    assert status.split()[1] == b"400"
    assert body == {
        "error": {
            "message": f"The request is no HTTP: {why}.",
            "type": "bad_request",
            "code": "invalid_http",
            "param": None,
        }
    }
    assert SECRET.decode() not in caplog.text
    assert "Traceback" not in caplog.text
    (told,) = [record for record in caplog.records if record.name == "pointsman.http"]
    assert why in told.__dict__["fields"]["why"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "broken",
    [
        [b"zz\r\n" + SECRET],
        [b"5\r\n" + b'{"mes\r\n', b"GG" + SECRET + b"\r\n"],
        [b"5\r\n" + b'{"mes\r\n' + SECRET + b"\r\n"],
        [b"5\r\n" + SECRET],
        [b"F" * 20 + b"\r\n" + SECRET],
    ],
    ids=["size", "second", "in one piece", "behind the data", "huge"],
)
async def test_a_body_that_breaks_off_into_no_http_is_answered_at_once_in_the_doors_shape(
    path: str, broken: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    chunked = head(path, b"Content-Type: application/json", b"Transfer-Encoding: chunked")
    async with (
        ReplayServer() as upstream,
        running(settings(**given(upstream.url))) as gateway,
    ):
        status, body = await said(gateway, chunked, *broken)
    assert status.split()[1] == b"400"
    assert b"The request is no HTTP" in orjson.dumps(body)
    fault = body["error"]
    assert isinstance(fault, str if path == "/api/chat" else dict)
    assert ("code" in fault) == (path in ("/complete", "/v1/chat/completions"))
    assert SECRET.decode() not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_refused_body_that_goes_on_as_no_http_leaves_nothing_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody reads it: what was answered stands, and the connection is closed."""
    chunked = head("/nowhere", b"Transfer-Encoding: chunked")
    async with (
        ReplayServer() as upstream,
        running(settings(**given(upstream.url))) as gateway,
    ):
        status, _ = await said(gateway, chunked, b"5\r\n12345\r\n", b"zz\r\n")
    assert status.split()[1] == b"404"
    assert "Traceback" not in caplog.text


async def test_a_whole_question_before_it_is_answered_first() -> None:
    body = b'{"message": "Hi", "model": "easy/m", "stream": false}'
    lines = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    async with (
        ReplayServer() as upstream,
        running(settings(**given(upstream.url))) as gateway,
    ):
        upstream.play(Play(openai_body("Hello."), content_type="application/json"))
        port = int(gateway.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("/complete", *lines) + body)
        await upstream.until_received()
        writer.write(b"no HTTP\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert answer.index(b"200 OK") < answer.index(b"Hello.") < answer.index(b"no HTTP: ")
