"""Bad input, asked by the vendors' own SDKs: the class that each raises for a 400, and the field
that it names. Nobody behind the gateway is asked."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dialects.images import LARGEST
from tests.doors.lab import HI, lab, openai_client, sdk
from tests.doors.upstreams import HELLO, KINDS, play
from tests.replay.gateway import Running

pytestmark = [
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
    # Google's client, of a large question.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]

Ask = Callable[[Running, dict[str, Any], bool], Awaitable[None]]
INSIDE = "http://169.254.169.254/latest/meta-data/"
NO_SCHEMA = {"type": "strin"}
TIFF = b64encode(b"II*\0 and more").decode()


async def by_openai(gateway: Running, asked: dict[str, Any], stream: bool) -> None:
    async with openai_client(gateway, max_retries=0) as client:
        await client.chat.completions.create(**{"model": "lab/m", "stream": stream, **asked})


async def by_responses(gateway: Running, asked: dict[str, Any], stream: bool) -> None:
    async with openai_client(gateway, max_retries=0) as client:
        await client.responses.create(**{"model": "lab/m", "stream": stream, **asked})


async def by_anthropic(gateway: Running, asked: dict[str, Any], stream: bool) -> None:
    options: dict[str, Any] = {"base_url": gateway.url, "api_key": "x"}
    async with sdk("anthropic").AsyncAnthropic(max_retries=0, **options) as client:
        await client.messages.create(
            **{"model": "lab/m", "max_tokens": 9, "stream": stream, **asked}
        )


async def by_gemini(gateway: Running, asked: dict[str, Any], stream: bool) -> None:
    genai = sdk("google.genai")
    asked = {"model": "lab/m", "contents": "Hi", **asked}
    async with genai.Client(api_key="x", http_options={"base_url": gateway.url}).aio as client:
        if stream:
            told = await client.models.generate_content_stream(**asked)
            [chunk async for chunk in told]
        else:
            await client.models.generate_content(**asked)


async def by_ollama(gateway: Running, asked: dict[str, Any], stream: bool) -> None:
    async with sdk("ollama").AsyncClient(gateway.url) as client:
        asked = {"model": "lab/m", "messages": HI, "stream": stream, **asked}
        told = await client.chat(**asked)
        if stream:
            [line async for line in told]


CLIENTS: dict[str, tuple[Ask, str]] = {
    "openai": (by_openai, "BadRequestError"),
    "responses": (by_responses, "BadRequestError"),
    "anthropic": (by_anthropic, "BadRequestError"),
    "gemini": (by_gemini, "ClientError"),
    "ollama": (by_ollama, "ResponseError"),
}


def picture(language: str, data: str, kind: str = "image/png") -> dict[str, Any]:
    """A question about a picture of this base64."""
    url = f"data:{kind};base64,{data}"
    if language == "openai":
        return _pointed("openai", url)
    if language == "responses":
        return _pointed("responses", url)
    if language == "anthropic":
        source = {"type": "base64", "media_type": kind, "data": data}
        part: dict[str, Any] = {"type": "image", "source": source}
        return {"messages": [{"role": "user", "content": [part]}]}
    if language == "gemini":
        part = {"inline_data": {"mime_type": kind, "data": data}}
        return {"contents": [{"role": "user", "parts": [part]}]}
    return {"messages": [{"role": "user", "content": "Hi", "images": [data]}]}


def _pointed(language: str, url: str) -> dict[str, Any]:
    """A question about a picture that a URL stands for."""
    if language == "openai":
        part: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
        return {"messages": [{"role": "user", "content": [part]}]}
    if language == "responses":
        return {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}
    if language == "anthropic":
        part = {"type": "image", "source": {"type": "url", "url": url}}
        return {"messages": [{"role": "user", "content": [part]}]}
    part = {"file_data": {"mime_type": "image/png", "file_uri": url}}
    return {"contents": [{"role": "user", "parts": [part]}]}


def turn(**fields: Any) -> dict[str, Any]:
    return {"messages": [fields]}


FORMAT = {"type": "json_schema", "name": "x", "schema": NO_SCHEMA}
RESULT = {"type": "tool_result", "tool_use_id": "c9", "content": "x"}
ORPHAN = {"function_response": {"id": "c9", "name": "f", "response": {"x": 1}}}
# What is wrong, what the SDK is asked, and the field that the answer names. What is not here the
# SDK does not send: Google's and Ollama's make base64 themselves, and only two ask for several
# answers at once.
BAD: dict[str, list[tuple[str, dict[str, Any], str]]] = {
    "openai": [
        ("role", turn(role="king", content="Hi"), "messages[0].role"),
        ("orphan", turn(role="tool", tool_call_id="c9", content="x"), "messages[0].tool_call_id"),
        ("base64", picture("openai", "?"), "messages[0].content[0].image_url.url"),
        ("type", picture("openai", TIFF, "image/tiff"), "messages[0].content[0].image_url.url"),
        ("inside", _pointed("openai", INSIDE), "messages[0].content[0].image_url.url"),
        (
            "schema",
            {
                "messages": HI,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": NO_SCHEMA},
                },
            },
            "response_format.json_schema.schema.type",
        ),
        ("n", {"messages": HI, "n": 2}, "n"),
    ],
    "responses": [
        ("role", {"input": [{"role": "king", "content": "Hi"}]}, "input[0].role"),
        (
            "orphan",
            {"input": [{"type": "function_call_output", "call_id": "c9", "output": "x"}]},
            "input[0].call_id",
        ),
        ("base64", picture("responses", "?"), "input[0].content[0].image_url"),
        ("type", picture("responses", TIFF, "image/tiff"), "input[0].content[0].image_url"),
        ("inside", _pointed("responses", INSIDE), "input[0].content[0].image_url"),
        ("schema", {"input": "Hi", "text": {"format": FORMAT}}, "text.format.schema.type"),
    ],
    "anthropic": [
        ("role", turn(role="king", content="Hi"), "messages[0].role"),
        ("orphan", turn(role="user", content=[RESULT]), "messages[0].content[0].tool_use_id"),
        ("base64", picture("anthropic", "?"), "messages[0].content[0].source.data"),
        (
            "type",
            picture("anthropic", TIFF, "image/tiff"),
            "messages[0].content[0].source.media_type",
        ),
        ("inside", _pointed("anthropic", INSIDE), "messages[0].content[0].source.url"),
        (
            "schema",
            {"messages": HI, "extra_body": {"output_config": {"format": FORMAT}}},
            "output_config.format.schema.type",
        ),
    ],
    "gemini": [
        ("role", {"contents": [{"role": "king", "parts": [{"text": "Hi"}]}]}, "contents[0].role"),
        ("orphan", {"contents": [{"role": "user", "parts": [ORPHAN]}]}, "contents[0].parts[0]"),
        ("type", picture("gemini", TIFF, "image/tiff"), "contents[0].parts[0].inlineData.mimeType"),
        ("inside", _pointed("gemini", INSIDE), "contents[0].parts[0].fileData.fileUri"),
        (
            "schema",
            {
                "config": {
                    "response_mime_type": "application/json",
                    "response_json_schema": NO_SCHEMA,
                }
            },
            "generationConfig.responseJsonSchema.type",
        ),
        ("n", {"config": {"candidate_count": 2}}, "generationConfig.candidateCount"),
    ],
    "ollama": [
        ("role", turn(role="king", content="Hi"), "messages[0].role"),
        ("orphan", turn(role="tool", content="x", tool_name="f"), "messages[0]"),
        ("schema", {"format": NO_SCHEMA}, "format.type"),
    ],
}
LARGE_AT = {
    "openai": "messages[0].content[0].image_url.url",
    "responses": "input[0].content[0].image_url",
    "anthropic": "messages[0].content[0].source.data",
    "gemini": "contents[0].parts[0].inlineData.data",
    "ollama": "messages[0].images[0]",
}


async def refused(gateway: Running, language: str, asked: dict[str, Any], stream: bool) -> str:
    """The words of the 400 that the SDK raised, in its class."""
    ask, name = CLIENTS[language]
    with pytest.raises(Exception) as caught:  # noqa: PT011
        await ask(gateway, asked, stream)
    error: Any = caught.value
    assert type(error).__name__ == name, repr(error)
    status = error.code if language == "gemini" else error.status_code
    assert status == 400
    return str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", CLIENTS)
async def test_the_sdk_raises_its_class_for_a_400_and_the_field_is_named(
    language: str, kind: str
) -> None:
    """Whether the question would be relayed or translated."""
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        for what, asked, field in BAD[language]:
            for stream in (False, True):
                words = await refused(gateway, language, asked, stream)
                assert field in words, what
        assert upstream.received == []


@pytest.mark.parametrize("language", CLIENTS)
async def test_a_picture_that_is_too_large_is_refused_by_its_field(language: str) -> None:
    data = b64encode(b"\x89PNG" + bytes(LARGEST)).decode()
    async with lab("openai", play("openai", HELLO, False)) as (gateway, upstream):
        words = await refused(gateway, language, picture(language, data), False)
        assert LARGE_AT[language] in words
        assert "32 MiB" in words
        # What is just small enough passes.
        asked = picture(language, b64encode(b"\x89PNG" + bytes(LARGEST - 4)).decode())
        await CLIENTS[language][0](gateway, asked, False)
        assert len(upstream.received) == 1
