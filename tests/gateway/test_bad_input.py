"""Whatever is sent, the answer is a clear JSON error that names the field."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest

from tests.replay.connection import head, raw
from tests.replay.gateway import openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

BAD_BODIES: list[tuple[bytes, int, str | None, str]] = [
    (b"", 400, None, "empty"),
    (b"   ", 400, None, "empty"),
    (b"{", 400, None, "not JSON"),
    (b'{"message": "a",}', 400, None, "not JSON"),
    (b'{"message": "\xff"}', 400, None, "not UTF-8"),
    (b'{"message": "\\ud800"}', 400, None, "not JSON"),
    (b"[]", 400, None, "a JSON object"),
    (b'"hi"', 400, None, "a JSON object"),
    (b"null", 400, None, "a JSON object"),
    (b"{}", 400, "message", "required"),
    (b'{"message": ""}', 400, "message", "empty"),
    (b'{"message": " \\n "}', 400, "message", "empty"),
    (b'{"message": 1}', 400, "message", "a string"),
    (b'{"message": null}', 400, "message", "required"),
    (b'{"message": ["a"]}', 400, "message", "a string"),
    (b'{"messages": []}', 400, "messages", "empty"),
    (b'{"messages": "a"}', 400, "messages", "a list"),
    (b'{"messages": ["a"]}', 400, "messages[0]", "an object"),
    (b'{"messages": [{"role": "user"}]}', 400, "messages[0].content", "required"),
    (b'{"messages": [{"content": "a"}]}', 400, "messages[0].role", "required"),
    (b'{"messages": [{"role": "king", "content": "a"}]}', 400, "messages[0].role", "king"),
    (b'{"messages": [{"role": "user", "content": 1}]}', 400, "messages[0].content", "a string"),
    (
        b'{"messages": [{"role": "user", "content": "a", "x": 1}]}',
        400,
        "messages[0].x",
        "not a field",
    ),
    (b'{"message": "a", "mesage": "b"}', 400, "mesage", "not a field"),
    (b'{"message": "a", "stream": "yes"}', 400, "stream", "true or false"),
    (b'{"message": "a", "model": 7}', 400, "model", "a string"),
    (b'{"message": "a", "model": " "}', 400, "model", "empty"),
    (b'{"message": "a", "user_id": {}}', 400, "user_id", "a string"),
    (b'{"message": "a", "max_tokens": 0}', 400, "max_tokens", "at least 1"),
    (b'{"message": "a", "max_tokens": 1.5}', 400, "max_tokens", "whole number"),
    (b'{"message": "a", "max_tokens": true}', 400, "max_tokens", "whole number"),
    (b'{"message": "a", "max_tokens": "9"}', 400, "max_tokens", "whole number"),
    (b'{"message": "a", "temperature": 3}', 400, "temperature", "at most 2"),
    (b'{"message": "a", "temperature": "hot"}', 400, "temperature", "a number"),
]


@pytest.mark.parametrize(("body", "status", "param", "words"), BAD_BODIES)
async def test_a_bad_body_is_told_by_field(
    body: bytes, status: int, param: str | None, words: str
) -> None:
    async with (
        running(settings()) as gateway,
        gateway.session.post(
            gateway.url + "/complete", data=body, headers={"Content-Type": "application/json"}
        ) as response,
    ):
        assert response.status == status
        assert response.content_type == "application/json"
        assert "X-Request-Id" in response.headers
        error = (await response.json())["error"]
        assert error["param"] == param
        assert words in error["message"]
        assert "Traceback" not in error["message"]


async def test_an_unknown_model_is_404_with_the_nearest_names() -> None:
    tree: dict[str, Any] = {
        "lab": {**openai_provider("http://127.0.0.1:9"), "models": ["llama3.2", "qwen3"]}
    }
    async with running(settings(providers=tree)) as gateway:
        answer = await gateway.complete(message="Hi", model="lama3.2")
        assert answer.status == 404
        error = answer.json["error"]
        assert error["param"] == "model"
        assert error["code"] == "model_not_found"
        assert "llama3.2" in error["message"]
        assert "qwen3" not in error["message"]


async def test_a_provider_without_its_key_says_which_variable_turns_it_on() -> None:
    async with running(settings()) as gateway:
        answer = await gateway.complete(message="Hi", model="openai/gpt-4o")
        assert answer.status == 404
        assert "OPENAI_API_KEY" in answer.json["error"]["message"]


async def test_a_message_over_the_limit_is_413() -> None:
    given = settings(server={"port": 0, "message_limit": 100})
    async with running(given) as gateway:
        answer = await gateway.complete(message="x" * 101)
        assert answer.status == 413
        assert answer.json["error"]["param"] == "message"
        answer = await gateway.complete(messages=[{"role": "user", "content": "x" * 101}])
        assert answer.status == 413
        assert answer.json["error"]["param"] == "messages"


async def test_a_body_over_the_limit_is_413() -> None:
    async with running(settings(server={"port": 0, "body_limit": 2048})) as gateway:
        answer = await gateway.complete(message="x" * 3000)
        assert answer.status == 413
        assert answer.json["error"]["type"] == "too_large"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/form-data; boundary=x", 415),
        ("text/html", 415),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("text/plain", 200),
    ],
)
async def test_a_content_type_that_is_not_json_is_415(content_type: str, status: int) -> None:
    async with (
        ReplayServer(Play(openai_stream("ok"))) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
        gateway.session.post(
            gateway.url + "/complete",
            data=b'{"message": "Hi", "model": "lab/m"}',
            headers={"Content-Type": content_type},
        ) as response,
    ):
        assert response.status == status


async def test_a_wrong_method_is_405_and_names_the_right_one() -> None:
    async with (
        running(settings()) as gateway,
        gateway.session.get(gateway.url + "/v1/messages") as response,
    ):
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert "POST" in (await response.json())["error"]["message"]


async def test_a_wrong_path_is_a_json_404() -> None:
    async with (
        running(settings()) as gateway,
        gateway.session.get(gateway.url + "/nothing") as response,
    ):
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "not_found"


async def test_deeply_nested_json_is_refused_and_kills_nothing() -> None:
    async with running(settings()) as gateway:
        raw = b'{"message":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        async with gateway.session.post(gateway.url + "/complete", data=raw) as response:
            assert response.status == 400
        async with gateway.session.get(gateway.url + "/healthz") as response:
            assert response.status == 200


PACKED = gzip.compress(b'{"message": "Hi", "model": "easy/m"}')


@pytest.mark.parametrize("late", [False, True], ids=["at once", "behind its head"])
@pytest.mark.parametrize(
    ("coding", "body", "param"),
    [
        ("gzip", b"no gzip", "Content-Encoding"),
        ("deflate", b"xx", "Content-Encoding"),
        # What came of it is no JSON.
        ("gzip", PACKED[:20], None),
        ("gzip", b"", None),
    ],
    ids=["no gzip", "no deflate", "cut", "empty"],
)
async def test_a_body_that_cannot_be_unpacked_is_a_400(
    coding: str, body: bytes, param: str | None, late: bool
) -> None:
    async with running(settings()) as gateway:
        connection = await raw(gateway)
        start = head(len(body), more=f"Content-Encoding: {coding}\r\n")
        if late:
            connection.say(start)
            await asyncio.sleep(0.05)
            connection.say(body)
            status, _, told = await connection.hear()
        else:
            status, _, told = await connection.ask(start + body)
        connection.close()
    assert status == 400
    error = orjson.loads(told)["error"]
    assert error["type"] == "bad_request"
    assert error["param"] == param
