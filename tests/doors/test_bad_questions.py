"""Bad input at every door, told in that door's own shape and by the field's name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.clients import HEADERS, ask, path, question
from tests.doors.lab import lab
from tests.doors.upstreams import KEY, KINDS, refusal
from tests.replay.gateway import Running

DOORS = ("openai", "anthropic", "gemini", "ollama")


def checked(door: str, status: int, raw: bytes) -> str:
    """The message of an error in this language's shape."""
    body = orjson.loads(raw)
    error = body["error"]
    if door == "ollama":
        assert isinstance(error, str)
        return error
    if door == "openai":
        assert error.keys() >= {"message", "type", "param", "code"}
    elif door == "anthropic":
        assert body["type"] == "error"
        assert error["type"].endswith("_error") or error["type"] == "request_too_large"
    else:
        assert error["code"] == status
        assert error["status"].isupper()
    return str(error["message"])


async def raw_post(gateway: Running, door: str, raw: bytes, kind: str) -> tuple[int, bytes]:
    async with gateway.session.post(
        gateway.url + path(door, stream=False),
        data=raw,
        headers={**HEADERS[door], "Content-Type": kind},
    ) as response:
        assert response.content_type == "application/json"
        assert response.headers["X-Request-Id"]
        return response.status, await response.read()


@pytest.mark.parametrize(
    ("raw", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"hi"', "application/json", 400),
        (b"{}", "application/json", 400),
        (b"{}", "text/html", 415),
        (b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}", "application/json", 400),
    ],
    ids=["empty", "broken", "no-utf8", "list", "string", "no-fields", "html", "deep"],
)
@pytest.mark.parametrize("door", DOORS)
async def test_what_is_no_question(door: str, raw: bytes, kind: str, status: int) -> None:
    async with lab("openai") as (gateway, upstream):
        found, answer = await raw_post(gateway, door, raw, kind)
        assert found == status
        assert checked(door, status, answer)
        assert upstream.received == []


@pytest.mark.parametrize("door", DOORS)
async def test_an_unknown_model_is_404(door: str) -> None:
    async with lab("openai") as (gateway, _):
        body = question(door, "Hi", stream=False, model="nobody")
        status, raw = await ask(gateway, door, body, stream=False, model="nobody")
        assert status == 404
        assert "nobody" in checked(door, status, raw)


TURNS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "an unknown role": {
        "openai": [{"role": "king", "content": "Hi"}],
        "anthropic": [{"role": "king", "content": "Hi"}],
        "gemini": [{"role": "king", "parts": [{"text": "Hi"}]}],
        "ollama": [{"role": "king", "content": "Hi"}],
    },
    "no turn": {"openai": [], "anthropic": [], "gemini": []},
    "a picture that is not base64": {
        "openai": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}}],
            }
        ],
        "anthropic": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "?"},
                    }
                ],
            }
        ],
        "gemini": [
            {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "?"}}]}
        ],
        "ollama": [{"role": "user", "content": "Hi", "images": ["?"]}],
    },
    "an unknown part": {
        "openai": [{"role": "user", "content": [{"type": "smell"}]}],
        "anthropic": [{"role": "user", "content": [{"type": "smell"}]}],
        "gemini": [{"role": "user", "parts": [{"smell": {}}]}],
    },
    "an orphan result": {
        "openai": [{"role": "tool", "tool_call_id": "c9", "content": "x"}],
        "anthropic": [
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c9", "content": "x"}],
            }
        ],
        "gemini": [
            {
                "role": "user",
                "parts": [{"functionResponse": {"id": "c9", "name": "f", "response": {}}}],
            }
        ],
        "ollama": [{"role": "tool", "content": "x"}],
    },
}


@pytest.mark.parametrize(
    ("what", "door"), [(what, door) for what, doors in TURNS.items() for door in doors]
)
async def test_a_bad_turn_names_its_place(what: str, door: str) -> None:
    async with lab("anthropic", refusal("anthropic", 500)) as (gateway, upstream):
        body = question(door, "Hi", stream=False)
        field = "contents" if door == "gemini" else "messages"
        body[field] = TURNS[what][door]
        status, raw = await ask(gateway, door, body, stream=False)
        assert status == 400, raw
        assert field in checked(door, status, raw)
        assert upstream.received == []


KNOBS: list[tuple[str, dict[str, Any], str]] = [
    ("openai", {"n": 2}, "n"),
    ("openai", {"temperature": "hot"}, "temperature"),
    ("openai", {"max_tokens": 0}, "max_tokens"),
    ("openai", {"tools": [{"type": "function"}]}, "tools[0]"),
    ("openai", {"response_format": {"type": "json_schema"}}, "response_format"),
    (
        "openai",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 7}}},
        "response_format",
    ),
    ("openai", {"stream": "yes"}, "stream"),
    ("anthropic", {"max_tokens": -1}, "max_tokens"),
    ("anthropic", {"tools": [{"name": "x", "input_schema": 7}]}, "tools[0]"),
    ("anthropic", {"system": 7}, "system"),
    ("gemini", {"generationConfig": {"candidateCount": 2}}, "candidateCount"),
    ("gemini", {"generationConfig": {"temperature": "hot"}}, "temperature"),
    ("gemini", {"tools": [{"functionDeclarations": [{}]}]}, "functionDeclarations"),
    ("ollama", {"options": {"temperature": "hot"}}, "temperature"),
    ("ollama", {"options": 7}, "options"),
    ("ollama", {"format": 7}, "format"),
]


@pytest.mark.parametrize(("door", "knob", "words"), KNOBS)
async def test_a_bad_knob_is_named(door: str, knob: dict[str, Any], words: str) -> None:
    async with lab("openai", refusal("openai", 500)) as (gateway, upstream):
        body = {**question(door, "Hi", stream=False), **knob}
        status, raw = await ask(gateway, door, body, stream=False)
        assert status == 400, raw
        assert words in checked(door, status, raw)
        assert upstream.received == []


@pytest.mark.parametrize(
    ("method", "where", "status", "door"),
    [
        ("GET", "/v1/chat/completions", 405, "openai"),
        ("GET", "/v1/messages", 405, "anthropic"),
        ("GET", "/api/chat", 405, "ollama"),
        ("POST", "/api/tags", 405, "ollama"),
        ("DELETE", "/api/delete", 400, "ollama"),
        ("POST", "/api/create", 400, "ollama"),
        ("POST", "/api/copy", 400, "ollama"),
        ("POST", "/api/push", 400, "ollama"),
        ("DELETE", "/api/tags", 405, "ollama"),
        ("GET", "/api/nothing", 404, "ollama"),
        ("GET", "/v1/nothing", 404, "openai"),
        ("POST", "/v1beta/models/m:paint", 404, "gemini"),
        ("POST", "/v1/models/m:paint", 404, "gemini"),
        ("GET", "/v1beta/models/none", 404, "gemini"),
        ("GET", "/v1/models/none", 404, "openai"),
        ("POST", "/v1/messages/nothing", 404, "anthropic"),
    ],
)
async def test_a_wrong_path_or_method(method: str, where: str, status: int, door: str) -> None:
    async with (
        lab("openai") as (gateway, _),
        gateway.session.request(method, gateway.url + where, data=b"{}") as response,
    ):
        assert response.status == status
        assert checked(door, status, await response.read())


@pytest.mark.parametrize(
    ("headers", "door"),
    [
        ({"x-goog-api-key": "x"}, "gemini"),
        ({"anthropic-version": "2023-06-01"}, "anthropic"),
        ({}, "openai"),
    ],
)
async def test_a_model_that_is_not_there_is_told_as_the_client_reads(
    headers: dict[str, str], door: str
) -> None:
    async with (
        lab("openai") as (gateway, _),
        gateway.session.get(gateway.url + "/v1/models/none", headers=headers) as response,
    ):
        assert response.status == 404
        assert "none" in checked(door, 404, await response.read())


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
async def test_our_key_is_never_told(
    door: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not when the upstream quotes it either."""
    play = refusal(kind, 401)
    play.body = play.body.replace(b"No room.", b"Bad key " + KEY.encode())
    async with lab(kind, play) as (gateway, _):
        for stream in (False, True):
            body = question(door, "Hi", stream=stream)
            status, raw = await ask(gateway, door, body, stream=stream)
            assert status == 502
            assert KEY.encode() not in raw
            checked(door, status, raw)
    assert KEY not in caplog.text


@pytest.mark.parametrize("door", DOORS)
async def test_a_body_over_the_limit_is_413(door: str) -> None:
    async with lab("openai", server={"body_limit": 4096}) as (gateway, _):
        status, raw = await ask(
            gateway, door, question(door, "x" * 5000, stream=False), stream=False
        )
        assert status == 413
        checked(door, status, raw)
