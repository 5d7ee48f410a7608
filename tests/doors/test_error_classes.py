"""What a gateway refuses by itself, in the words of each vendor's SDK: the class that it raises,
the status, and the headers by which it waits or does not ask again (PROTOCOLS 6.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from chat.errors import GatewayError, LimitReached, QueueFull
from dialects.gemini import GeminiDialect
from tests.doors.clients import HEADERS, path, question
from tests.doors.lab import HI, lab, openai_client, sdk
from tests.doors.upstreams import HELLO, play
from tests.replay.gateway import Running
from tests.replay.server import ReplayServer

CODES = {
    "good": {"code": "pm-good"},
    "narrow": {"code": "pm-narrow", "models": ["other/*"]},
    "once": {"code": "pm-once", "rate_limit": "1/hour"},
    "poor": {"code": "pm-poor", "tokens_day": 1},
}
LANGUAGES = ("openai", "responses", "anthropic", "gemini", "ollama")
KINDS_OF = {
    # What is wrong: the code, and how often it asks.
    "not_identified": ("pm-nobody", 1),
    "not_allowed": ("pm-narrow", 1),
    "rate_limited": ("pm-once", 2),
    "quota": ("pm-poor", 1),
    "overloaded": ("pm-good", 1),
}
CLASSES = {
    "openai": {
        "not_identified": "AuthenticationError",
        "not_allowed": "PermissionDeniedError",
        "rate_limited": "RateLimitError",
        "quota": "RateLimitError",
        "overloaded": "InternalServerError",
    },
    "anthropic": {
        "not_identified": "AuthenticationError",
        "not_allowed": "PermissionDeniedError",
        "rate_limited": "RateLimitError",
        "quota": "RateLimitError",
        "overloaded": "OverloadedError",
    },
    "gemini": {
        "not_identified": "ClientError",
        "not_allowed": "ClientError",
        "rate_limited": "ClientError",
        "quota": "ClientError",
        "overloaded": "ServerError",
    },
    "ollama": dict.fromkeys(KINDS_OF, "ResponseError"),
}
PLACES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google.genai.errors",
    "ollama": "ollama",
}
STATUS = {
    "not_identified": 401,
    "not_allowed": 403,
    "rate_limited": 429,
    "quota": 429,
    "overloaded": 503,
}
WORDS = {
    "openai": {
        "not_identified": "invalid_api_key",
        "not_allowed": "permission_error",
        "rate_limited": "rate_limit_exceeded",
        "quota": "insufficient_quota",
        "overloaded": "server_error",
    },
    "anthropic": {
        "not_identified": "authentication_error",
        "not_allowed": "permission_error",
        "rate_limited": "rate_limit_error",
        "quota": "billing_error",
        "overloaded": "overloaded_error",
    },
    "gemini": {
        "not_identified": "UNAUTHENTICATED",
        "not_allowed": "PERMISSION_DENIED",
        "rate_limited": "RESOURCE_EXHAUSTED",
        "quota": "RESOURCE_EXHAUSTED",
        "overloaded": "UNAVAILABLE",
    },
    "ollama": dict.fromkeys(STATUS, "") | {"not_identified": "unauthorized"},
}

pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)


@dataclass
class Seen:
    """An error as the SDK raised it; `headers` have lower-case names."""

    name: str
    status: int
    body: str
    headers: Mapping[str, str]


@asynccontextmanager
async def guarded(what: str, stream: bool) -> AsyncGenerator[tuple[Running, ReplayServer]]:
    """Where it is to be overloaded, one caller holds the only place."""
    tree: dict[str, Any] = {"codes": CODES}
    plays = [play("openai", HELLO, stream)]
    if what == "overloaded":
        tree["server"] = {"max_in_flight": 1}
        plays = [play("openai", HELLO, True, before_s=20)]
    async with lab("openai", *plays, **tree) as (gateway, upstream):
        if what != "overloaded":
            yield gateway, upstream
            return
        first = asyncio.create_task(
            gateway.session.post(
                gateway.url + path("openai", stream=True),
                json=question("openai", "Hi", stream=True),
                headers={"Authorization": "Bearer pm-good"},
            )
        )
        await upstream.until_received(1)
        yield gateway, upstream
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


def class_of(language: str, what: str) -> type[Exception]:
    found: type[Exception] = getattr(sdk(PLACES[language]), CLASSES[language][what])
    return found


def _seen(error: Any) -> Seen:
    response = error.response
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Seen(type(error).__name__, error.status_code, orjson.dumps(error.body).decode(), headers)


async def by_openai(gateway: Running, code: str, stream: bool, again: int = 0) -> None:
    async with openai_client(gateway, api_key=code, max_retries=again) as client:
        told = await client.chat.completions.create(model="lab/m", messages=HI, stream=stream)
        if stream:
            [chunk async for chunk in told]


async def by_responses(gateway: Running, code: str, stream: bool, again: int = 0) -> None:
    async with openai_client(gateway, api_key=code, max_retries=again) as client:
        told = await client.responses.create(model="lab/m", input="Hi", stream=stream)
        if stream:
            [event async for event in told]


async def by_anthropic(gateway: Running, code: str, stream: bool, again: int = 0) -> None:
    anthropic = sdk("anthropic")
    options: dict[str, Any] = {"base_url": gateway.url, "api_key": code}
    async with anthropic.AsyncAnthropic(max_retries=again, **options) as client:
        told = await client.messages.create(
            model="lab/m", max_tokens=10, messages=HI, stream=stream
        )
        if stream:
            [event async for event in told]


async def by_gemini(gateway: Running, code: str, stream: bool, again: int = 0) -> None:
    genai = sdk("google.genai")
    async with genai.Client(api_key=code, http_options={"base_url": gateway.url}).aio as client:
        if stream:
            told = await client.models.generate_content_stream(model="lab/m", contents="Hi")
            [chunk async for chunk in told]
        else:
            await client.models.generate_content(model="lab/m", contents="Hi")


async def by_ollama(gateway: Running, code: str, stream: bool, again: int = 0) -> None:
    ollama = sdk("ollama")
    bearer = {"Authorization": f"Bearer {code}"}
    async with ollama.AsyncClient(gateway.url, headers=bearer) as client:
        told = await client.chat("lab/m", HI, stream=stream)
        if stream:
            [line async for line in told]


Ask = Callable[..., Awaitable[None]]
CLIENTS: dict[str, Ask] = {
    "openai": by_openai,
    "responses": by_responses,
    "anthropic": by_anthropic,
    "gemini": by_gemini,
    "ollama": by_ollama,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", KINDS_OF)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_sdk_raises_its_own_class(language: str, what: str, stream: bool) -> None:
    code, times = KINDS_OF[what]
    ask, words = CLIENTS[language], "openai" if language == "responses" else language
    status = 529 if (what, language) == ("overloaded", "anthropic") else STATUS[what]
    async with guarded(what, stream) as (gateway, upstream):
        for _ in range(times - 1):
            await ask(gateway, code, stream)
        before = len(upstream.received)
        with pytest.raises(class_of(words, what)) as caught:
            await ask(gateway, code, stream)
        error: Any = caught.value
        assert len(upstream.received) == before
    assert code not in str(error)
    # None that is derived from it.
    assert type(error).__name__ == CLASSES[words][what]
    if language == "ollama":
        assert error.status_code == status
        assert WORDS[words][what] in error.error
        return
    if language == "gemini":
        assert error.code == status
        assert error.status == WORDS[words][what]
        return
    seen = _seen(error)
    assert seen.status == status
    assert WORDS[words][what] in seen.body
    check_headers(what, words, seen.headers)


def check_headers(what: str, language: str, headers: Mapping[str, str]) -> None:
    assert headers["x-request-id"] == headers["request-id"]
    assert headers.get("x-should-retry") == ("false" if what == "quota" else None)
    if what in ("rate_limited", "overloaded"):
        assert 1 <= int(headers["retry-after"]) <= 60
    if what == "not_identified":
        assert headers["www-authenticate"] == "Bearer"
    if what == "rate_limited":
        limit, left, reset = (
            headers[
                f"anthropic-ratelimit-requests-{word}"
                if language == "anthropic"
                else f"x-ratelimit-{word}-requests"
            ]
            for word in ("limit", "remaining", "reset")
        )
        assert (limit, left) == ("1", "0")
        assert reset.endswith("Z" if language == "anthropic" else "s")


@pytest.mark.parametrize("language", ["openai", "responses", "anthropic"])
async def test_a_used_up_budget_is_not_asked_for_again(language: str) -> None:
    """The SDKs ask three times where they are not told otherwise."""
    async with guarded("quota", False) as (gateway, upstream):
        words = "openai" if language == "responses" else language
        with pytest.raises(class_of(words, "quota"), match="429"):
            await CLIENTS[language](gateway, "pm-poor", False, 2)
        refused = gateway.summed("pointsman_requests_total")
        assert upstream.received == []
    assert refused == 1


@pytest.mark.parametrize("language", ["openai", "anthropic", "gemini", "ollama"])
async def test_by_hand_every_language_has_the_same_headers(language: str) -> None:
    """Also those whose SDK hides them."""
    async with guarded("quota", False) as (gateway, _):
        for what in ("not_identified", "not_allowed", "rate_limited", "quota"):
            code, times = KINDS_OF[what]
            headers = dict(HEADERS[language])
            headers |= {"Authorization": f"Bearer {code}"}
            headers.pop("x-api-key", None)
            headers.pop("x-goog-api-key", None)
            for _ in range(times):
                async with gateway.session.post(
                    gateway.url + path(language, stream=False),
                    json=question(language, "Hi", stream=False),
                    headers=headers,
                ) as response:
                    told = {name.lower(): value for name, value in response.headers.items()}
                    status = response.status
            assert status == STATUS[what]
            check_headers(what, language, told)


@pytest.mark.parametrize(
    "error", [LimitReached("x", retry_after=3600), QueueFull("x", retry_after=86400)]
)
def test_a_long_wait_is_told_to_geminis_callers_as_a_minute(error: GatewayError) -> None:
    told: Any = GeminiDialect().render_error(error)
    assert {"retryDelay": "60s"}.items() <= told["error"]["details"][-1].items()
    error.retry_after = 7.25
    told = GeminiDialect().render_error(error)
    assert told["error"]["details"][-1]["retryDelay"] == "7.25s"
