"""App codes at every door: with the vendors' own clients, whose error classes say what is wrong,
and with the limits that hold there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.doors.clients import path, question
from tests.doors.lab import lab, sdk
from tests.doors.upstreams import HELLO, KINDS, play
from tests.replay.gateway import ADMIN, Running
from tests.replay.server import Play, ReplayServer

LANGUAGES = ("openai", "anthropic", "gemini", "ollama")
CODES = {
    "good": {"code": "pm-good"},
    "narrow": {"code": "pm-narrow", "models": ["other/*"]},
    "once": {"code": "pm-once", "rate_limit": "1/hour", "token_limit": "100000/hour"},
    "short": {"code": "pm-short", "max_tokens": 7},
    "single": {"code": "pm-single", "concurrency": 1},
    "past": {"code": "pm-past", "expires": "2020-01-01T00:00:00Z"},
    "tokens": {"code": "pm-tokens", "tokens_day": 600},
}

pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)


def key(language: str, code: str) -> dict[str, str]:
    if language == "anthropic":
        return {"x-api-key": code, "anthropic-version": "2023-06-01"}
    if language == "gemini":
        return {"x-goog-api-key": code}
    return {"Authorization": f"Bearer {code}"}


@asynccontextmanager
async def guarded(
    kind: str = "openai", stream: bool = False, **tree: Any
) -> AsyncGenerator[tuple[Running, ReplayServer]]:
    async with lab(kind, play(kind, HELLO, stream), **{"codes": CODES, **tree}) as (one, upstream):
        yield one, upstream


async def post(one: Running, language: str, code: str, **more: Any) -> tuple[int, Any, Any]:
    async with one.session.post(
        one.url + path(language, stream=False),
        json={**question(language, "Hi", stream=False), **more},
        headers=key(language, code),
    ) as told:
        return told.status, await told.json(content_type=None), told.headers


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_code_serves_as_key_in_every_language(language: str) -> None:
    async with guarded() as (one, upstream):
        assert (await post(one, language, "pm-good"))[0] == 200
        for wrong in ("pm-nobody", "pm-past", "sk-proj-1", ""):
            status, told, headers = await post(one, language, wrong)
            assert status == 401, wrong
            assert headers["WWW-Authenticate"] == "Bearer"
            assert "pm-" not in str(told)
        assert (await post(one, language, "pm-narrow"))[0] == 403
        assert len(upstream.received) == 1


@pytest.mark.parametrize("where", ["/v1/models", "/v1beta/models", "/api/tags", "/models"])
async def test_a_list_of_models_has_what_its_reader_may_ask(where: str) -> None:
    codes = {
        **CODES,
        "target": {"code": "pm-target", "models": ["lab/*"]},
        "plain": {"code": "pm-plain", "models": ["auto"]},
    }
    async with guarded(codes=codes) as (one, upstream):
        upstream.answers["/v1/models"] = b'{"data": [{"id": "m"}]}'
        await one.services.registry.look()
        one.services.directory.refresh()

        async def names(code: str) -> set[str]:
            async with one.session.get(one.url + where, headers=key("openai", code)) as told:
                assert told.status == 200
                body = await told.json()
            rows = body["data"] if "data" in body else body["models"]
            return {(row.get("id") or row["name"]).removesuffix(":latest") for row in rows}

        everything = await names("pm-good")
        assert "lab/m" in everything
        assert await names("pm-narrow") == set()
        assert "lab/m" in await names("pm-target")
        assert await names("pm-plain") == everything & {"auto"}


async def test_geminis_clients_may_write_the_key_into_the_url() -> None:
    async with guarded() as (one, _):
        url = one.url + path("gemini", stream=False)
        body = question("gemini", "Hi", stream=False)
        for code, status in (("pm-good", 200), ("pm-nobody", 401)):
            async with one.session.post(f"{url}?key={code}", json=body) as told:
                assert told.status == status


async def test_openais_client_raises_its_own_classes() -> None:
    openai = sdk("openai")
    asked = {"model": "lab/m", "messages": [{"role": "user", "content": "Hi"}]}
    async with guarded() as (one, _):
        for code, wanted in (
            ("pm-nobody", openai.AuthenticationError),
            ("pm-narrow", openai.PermissionDeniedError),
        ):
            async with openai.AsyncOpenAI(api_key=code, base_url=one.url + "/v1") as client:
                with pytest.raises(wanted):
                    await client.chat.completions.create(**asked)
        async with openai.AsyncOpenAI(
            api_key="pm-once", base_url=one.url + "/v1", max_retries=0
        ) as client:
            first = await client.chat.completions.with_raw_response.create(**asked)
            assert first.headers["x-ratelimit-limit-requests"] == "1"
            assert first.headers["x-ratelimit-remaining-requests"] == "0"
            assert first.headers["x-ratelimit-reset-requests"].endswith("s")
            assert int(first.headers["x-ratelimit-remaining-tokens"]) < 100_000
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(**asked)
            assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60


async def test_anthropics_client_raises_its_own_classes() -> None:
    anthropic = sdk("anthropic")
    asked = {
        "model": "lab/m",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    async with guarded() as (one, _):
        for code, wanted in (
            ("pm-nobody", anthropic.AuthenticationError),
            ("pm-narrow", anthropic.PermissionDeniedError),
        ):
            async with anthropic.AsyncAnthropic(api_key=code, base_url=one.url) as client:
                with pytest.raises(wanted):
                    await client.messages.create(**asked)
        async with anthropic.AsyncAnthropic(
            api_key="pm-once", base_url=one.url, max_retries=0
        ) as client:
            first = await client.messages.with_raw_response.create(**asked)
            assert first.headers["anthropic-ratelimit-requests-limit"] == "1"
            assert first.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
            with pytest.raises(anthropic.RateLimitError) as caught:
                await client.messages.create(**asked)
            assert caught.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


async def test_googles_and_ollamas_clients_raise_their_own_classes() -> None:
    genai, errors, ollama = sdk("google.genai"), sdk("google.genai.errors"), sdk("ollama")
    async with guarded() as (one, _):
        for code, status in (("pm-nobody", 401), ("pm-narrow", 403)):
            options = {"base_url": one.url}
            async with genai.Client(api_key=code, http_options=options).aio as client:
                with pytest.raises(errors.ClientError) as refused:
                    await client.models.generate_content(model="lab/m", contents="Hi")
            assert refused.value.code == status
            bearer = {"Authorization": f"Bearer {code}"}
            async with ollama.AsyncClient(one.url, headers=bearer) as asking:
                with pytest.raises(ollama.ResponseError) as told:
                    await asking.chat("lab/m", [{"role": "user", "content": "Hi"}])
            assert told.value.status_code == status


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_longest_answer_is_the_codes(language: str, kind: str) -> None:
    async with guarded(kind) as (one, upstream):
        more: dict[str, Any] = {"max_tokens": 5000}
        if language == "gemini":
            more = {"generation_config": {"max_output_tokens": 5000}}
        elif language == "ollama":
            more = {"options": {"num_predict": -1}}
        assert (await post(one, language, "pm-short", **more))[0] == 200
        sent = upstream.received[0].body
        if kind == "gemini":
            limit = sent["generationConfig"]["maxOutputTokens"]
            assert "generation_config" not in sent
        elif kind == "ollama":
            limit = sent["options"]["num_predict"]
        else:
            limit = sent["max_tokens"]
        assert limit == 7


async def test_a_stream_tells_the_limits_too_and_frees_its_place_at_its_end() -> None:
    slow = play("openai", HELLO, True, before_s=0.3)
    async with lab("openai", slow, codes=CODES) as (one, _):
        body = question("openai", "Hi", stream=True)
        url, headers = one.url + "/v1/chat/completions", key("openai", "pm-single")

        async def streamed() -> int:
            async with one.session.post(url, json=body, headers=headers) as told:
                await told.read()
                return told.status

        assert sorted(await asyncio.gather(streamed(), streamed())) == [200, 429]
        assert await streamed() == 200


async def test_a_caller_who_leaves_gives_back_what_he_held() -> None:
    held = Play(before_s=30)
    async with lab("openai", held, codes=CODES) as (one, upstream):
        body = {**question("openai", "Hi", stream=True), "max_tokens": 400}
        url, headers = one.url + "/v1/chat/completions", key("openai", "pm-tokens")
        asking = asyncio.create_task(one.session.post(url, json=body, headers=headers))
        await upstream.until_received()
        [code] = [
            code
            for code in one.services.accounts.codes.codes.values()
            if code.terms.name == "tokens"
        ]
        assert (await one.services.metering.standing(code.id)).running == 1
        status, told, _ = await post(one, "openai", "pm-tokens", max_tokens=400)
        assert status == 429
        assert "requests that run hold it" in told["error"]["message"]
        asking.cancel()
        await upstream.until_left()
        async with asyncio.timeout(5):
            while (await one.services.metering.standing(code.id)).running:
                await asyncio.sleep(0.01)
        assert (await one.services.metering.standing(code.id)).day.likely == 0


@pytest.mark.parametrize(
    ("where", "body", "given"),
    [
        ("/v1/embeddings", {"model": "lab/m", "input": ["a", "b"]}, "openai"),
        ("/api/embed", {"model": "lab/m", "input": "a"}, "openai"),
        (
            "/v1/messages/count_tokens",
            {"model": "lab/m", "messages": [{"role": "user", "content": "Hi"}]},
            "anthropic",
        ),
        (
            "/v1beta/models/lab/m:countTokens",
            {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
            "gemini",
        ),
    ],
)
async def test_vectors_and_counting_are_limited_too(
    where: str, body: dict[str, Any], given: str
) -> None:
    vectors = (
        b'{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[1.0]},'
        b'{"object":"embedding","index":1,"embedding":[1.0]}],'
        b'"usage":{"prompt_tokens":2,"total_tokens":2}}'
    )
    if body.get("input") == "a":
        vectors = vectors.replace(b',{"object":"embedding","index":1,"embedding":[1.0]}', b"")
    async with lab("openai", Play(vectors, content_type="application/json"), codes=CODES) as (
        one,
        _,
    ):
        statuses = []
        for code in ("pm-once", "pm-once", "pm-narrow", "pm-nobody"):
            headers = key(given, code)
            async with one.session.post(one.url + where, json=body, headers=headers) as told:
                statuses.append(told.status)
                if code == "pm-once":
                    names = [name.lower() for name in told.headers]
                    assert any("ratelimit" in name for name in names)
        assert statuses == [200, 429, 403, 401]


async def test_health_needs_no_key_and_lists_do() -> None:
    async with guarded() as (one, _):
        for where in ("/", "/healthz", "/readyz", "/health", "/api/version", "/metrics"):
            async with one.session.get(one.url + where) as told:
                assert told.status == 200, where
        for where in ("/v1/models", "/api/tags", "/models"):
            async with one.session.get(one.url + where) as told:
                assert told.status == 401, where
            async with one.session.get(one.url + where, headers=key("openai", "pm-good")) as told:
                assert told.status == 200, where


async def test_the_metrics_may_ask_for_a_token_of_their_own() -> None:
    async with guarded(access={"metrics_token": "scrape"}) as (one, _):
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Bearer scrape"}, 200),
            (ADMIN, 200),
        ):
            async with one.session.get(one.url + "/metrics", headers=headers) as told:
                assert told.status == status


async def test_an_unknown_price_passes_or_is_refused_as_the_settings_say() -> None:
    codes = {"money": {"code": "pm-money", "budget_day": 1}}
    async with lab("openai", play("openai", HELLO, False), codes=codes) as (one, _):
        assert (await post(one, "openai", "pm-money"))[0] == 200
    access = {"unknown_price": "refuse"}
    async with lab("openai", play("openai", HELLO, False), codes=codes, access=access) as (one, _):
        status, told, _headers = await post(one, "openai", "pm-money")
        assert (status, told["error"]["code"]) == (429, "unknown_price")


async def test_a_socket_is_opened_without_a_key_and_asks_for_it_in_its_first_message() -> None:
    async with guarded() as (one, _):
        url = one.url.replace("http", "ws") + "/ws/chat"
        for token, ready in (("pm-good", True), ("pm-nobody", False)):
            async with one.session.ws_connect(url) as socket:
                await socket.send_json({"type": "hello", "token": token})
                told = (await socket.receive()).data
                assert ('"ready"' in str(told)) is ready, told
        async with one.session.get(one.url + "/ws/chat", headers=key("openai", "pm-no")) as refused:
            assert refused.status == 401
