"""A caller names a model. He never sets the address, the path or a header of an upstream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.clients import path as door_path
from tests.doors.clients import question
from tests.doors.upstreams import BASES, HELLO, KEY, KINDS, play, provider
from tests.replay.gateway import ADMIN, running, settings
from tests.replay.server import Play, ReplayServer

LANGUAGES = ("openai", "anthropic", "gemini", "ollama", "responses", "complete")
OURS = {
    "host",
    "content-type",
    "content-length",
    "accept",
    "accept-encoding",
    "user-agent",
    "connection",
}
KEYS = {"authorization", "x-api-key", "x-goog-api-key", "anthropic-version", "anthropic-beta"}
HOSTILE = {
    "X-Forwarded-For": "169.254.169.254",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "Forwarded": "host=evil.example",
    "X-Original-URL": "/admin",
    "X-Rewrite-URL": "/admin",
    "X-HTTP-Method-Override": "DELETE",
    "X-Base-Url": "http://evil.example",
    "X-Provider": "http://evil.example",
    "Api-Key": "sk-of-the-caller",
    "OpenAI-Organization": "org-of-the-caller",
    "Anthropic-Beta": "everything-2030-01-01",
    "Cookie": "session=of-the-caller",
    "Proxy-Authorization": "Basic eDp5",
    "User-Agent": "of-the-caller/1",
    "Referer": "http://evil.example/",
    "X-Evil": "1",
    "Via": "1.1 evil",
}
MODELS = (
    "lab/../../admin",
    "lab/..%2f..%2fadmin",
    "lab/m/../../../admin?x=1",
    "lab/m?key=evil#x",
    "lab/m:generateContent?x=",
    "lab/m\r\nX-Evil: 1",
    "lab/m\r\n\r\nPOST /admin HTTP/1.1\r\nHost: evil\r\n\r\n",
    "lab/m HTTP/1.1",
    "lab/http://127.0.0.1:1/",
    "lab/@127.0.0.1:1",
    "lab/\\\\127.0.0.1\\x",
    "lab/m\x00",
    "lab//127.0.0.1:1/x",
)


def where(language: str, model: str) -> str:
    own = {"responses": "/v1/responses", "complete": "/complete"}
    return own.get(language) or door_path(language, stream=False, model=model)


def asked(language: str, model: str) -> dict[str, Any]:
    if language == "responses":
        return {"model": model, "input": "Hi"}
    if language == "complete":
        return {"model": model, "message": "Hi", "stream": False}
    return question(language, "Hi", stream=False, model=model)


def paths(kind: str, upstream_path: str) -> bool:
    """Whether it is one that an upstream of this kind has."""
    if kind == "gemini":
        head, _, model = upstream_path.partition("/models/")
        name, _, method = model.rpartition(":")
        plain = all(letter.isalnum() or letter in "-._~%:@!$&'()*+,;=" for letter in name)
        return head == BASES[kind] and plain and method.split("?")[0] == "generateContent"
    tail = {"openai": "/chat/completions", "anthropic": "/messages", "ollama": "/api/chat"}
    return upstream_path == BASES[kind] + tail[kind]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_header_and_no_field_of_a_caller_sets_where_or_how_an_upstream_is_asked(
    language: str, kind: str
) -> None:
    """Fields that are known nowhere may reach an upstream of the same language, as data."""
    async with (
        ReplayServer() as trap,
        ReplayServer(play(kind, HELLO, False)) as upstream,
        running(settings(providers={"lab": provider(kind, upstream.url)})) as gateway,
    ):
        target = trap.url + "/v1"
        fields: dict[str, Any] = {
            "base_url": target,
            "api_base": target,
            "url": target,
            "host": "evil.example",
            "api_key": "sk-of-the-caller",
            "headers": {"X-Evil": "1"},
            "extra_headers": {"X-Evil": "1"},
            "extra_query": {"x": "1"},
            "path": "/admin",
            "proxy": trap.url,
        }
        for extra in ({}, *({name: value} for name, value in fields.items())):
            async with gateway.session.post(
                gateway.url + where(language, "lab/m"),
                json={**asked(language, "lab/m"), **extra},
                headers=HOSTILE,
            ) as response:
                assert response.status in (200, 400), await response.text()
                if not extra:
                    assert response.status == 200, await response.text()
        assert trap.received == []
        assert upstream.received
        for one in upstream.received:
            assert paths(kind, one.path), one.path
            assert set(one.headers) <= OURS | KEYS, one.headers
            assert one.headers["host"] == f"127.0.0.1:{upstream.port}"
            told = orjson.dumps(one.headers).decode()
            assert KEY in told or kind == "ollama"
            assert "evil" not in told
            assert "of-the-caller" not in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_name_of_a_model_leaves_the_path_of_its_upstream(language: str, kind: str) -> None:
    async with (
        ReplayServer(play(kind, HELLO, False)) as upstream,
        running(settings(providers={"lab": provider(kind, upstream.url)})) as gateway,
    ):
        for model in MODELS:
            async with gateway.session.post(
                gateway.url + where(language, model if language != "gemini" else "lab/m"),
                json=asked(language, model),
            ) as response:
                assert response.status < 500, (model, await response.text())
        assert upstream.received
        for one in upstream.received:
            assert paths(kind, one.path), one.path
            assert "x-evil" not in one.headers
            assert one.headers["host"] == f"127.0.0.1:{upstream.port}"


async def test_a_geminis_callers_path_names_a_model_and_nothing_else() -> None:
    async with (
        ReplayServer(play("gemini", HELLO, False)) as upstream,
        running(settings(providers={"lab": provider("gemini", upstream.url)})) as gateway,
    ):
        for model in (
            "lab%2F..%2F..%2Fadmin",
            "lab%2Fm%3Fx=1",
            "lab%2Fm%0D%0AX-Evil:%201",
            "..%2F..%2Fadmin",
            "lab%2Fhttp:%2F%2F127.0.0.1:1%2F",
        ):
            async with gateway.session.post(
                f"{gateway.url}/v1beta/models/{model}:generateContent",
                json=asked("gemini", "lab/m"),
            ) as response:
                assert response.status < 500, (model, await response.text())
        assert upstream.received
        for one in upstream.received:
            assert paths("gemini", one.path), one.path
            assert "x-evil" not in one.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_redirect_of_an_upstream_is_not_followed(kind: str, status: int) -> None:
    async with (
        ReplayServer() as trap,
        ReplayServer(
            Play(b"", status, "text/plain", headers={"Location": trap.url + "/v1/elsewhere"})
        ) as upstream,
        running(
            settings(providers={"lab": provider(kind, upstream.url)}, attempts={"per_target": 1})
        ) as gateway,
    ):
        for language in LANGUAGES:
            async with gateway.session.post(
                gateway.url + where(language, "lab/m"), json=asked(language, "lab/m")
            ) as response:
                assert response.status >= 400
                assert "elsewhere" not in await response.text()
        assert upstream.received
        assert trap.received == []


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest",
        "http://10.0.0.7/v1",
        "http://192.168.1.1:11434",
        "http://[fd00:ec2::254]/v1",
        "http://0.0.0.0:8080",
        "http://2852039166/v1",
        "http://nobody.invalid/v1",
    ],
)
async def test_an_address_that_is_set_at_run_time_must_be_public_or_allowed(address: str) -> None:
    async with running(settings()) as gateway:
        asked_for: list[tuple[str, Any, str]] = [
            ("/settings", {"openai_base_url": address}, "openai_base_url"),
            (
                "/settings",
                {"providers": {"openai": {"base_url": address}}},
                "providers.openai.base_url",
            ),
            ("/settings/test", {"provider": "openai", "base_url": address}, "base_url"),
        ]
        for place, body, field in asked_for:
            async with gateway.session.post(
                gateway.url + place, json=body, headers=ADMIN
            ) as response:
                told = await response.text()
                assert response.status == 400, told
                assert field in told
        assert gateway.services.overrides.values == {}


async def test_the_settings_name_the_addresses_that_are_fine() -> None:
    given = settings(access={"upstream_allow": ["10.0.0.0/8"]})
    async with running(given) as gateway:
        for address, status in (("http://10.0.0.7/v1", 200), ("http://127.0.0.1:9/v1", 400)):
            async with gateway.session.post(
                gateway.url + "/settings", json={"openai_base_url": address}, headers=ADMIN
            ) as response:
                assert response.status == status, await response.text()
