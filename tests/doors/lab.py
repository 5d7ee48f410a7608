"""A gateway with one upstream of a kind behind it, under the name `lab`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from tests.doors.upstreams import provider
from tests.replay.gateway import Running, running, settings
from tests.replay.server import Play, ReplayServer

HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel, in base64."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}


ERROR_CLASSES = [
    (400, "BadRequestError"),
    (404, "NotFoundError"),
    (429, "RateLimitError"),
    # The key that was refused is ours: the caller's is good.
    (401, "InternalServerError"),
    (500, "InternalServerError"),
    (503, "InternalServerError"),
]
"""An upstream's status -> the class that the SDKs of OpenAI and Anthropic raise."""


class Person(BaseModel):
    """What SCHEMA says."""

    name: str
    age: int


def sdk(name: str) -> Any:
    """A vendor's SDK, or a skip that says how to have it."""
    return pytest.importorskip(
        name, reason=f"{name} is not installed: the extra `clients` has the vendors' SDKs"
    )


def openai_client(gateway: Running, **more: Any) -> Any:
    """OpenAI's own client at the gateway's door."""
    options: dict[str, Any] = {"base_url": gateway.url + "/v1", "api_key": "x", **more}
    return sdk("openai").AsyncOpenAI(**options)


@asynccontextmanager
async def lab(kind: str, *plays: Play, **tree: Any) -> AsyncGenerator[tuple[Running, ReplayServer]]:
    async with ReplayServer(*plays) as upstream:
        given = settings(
            **{
                "providers": {"lab": provider(kind, upstream.url, default_model="m")},
                "routes": {"auto": {"local": ["lab/m"], "strong": ["lab/m"]}},
                **tree,
            }
        )
        async with running(given) as gateway:
            yield gateway, upstream


def image_in(kind: str, body: dict[str, Any]) -> str:
    """The base64 of the picture in the last turn, as this kind of upstream gets it."""
    if kind == "gemini":
        parts = body["contents"][-1]["parts"]
        return str(next(p["inlineData"]["data"] for p in parts if "inlineData" in p))
    message = body["messages"][-1]
    if kind == "ollama":
        [data] = message["images"]
        return str(data)
    if kind == "anthropic":
        blocks = message["content"]
        return str(next(b["source"]["data"] for b in blocks if b["type"] == "image"))
    url = next(p["image_url"]["url"] for p in message["content"] if p["type"] == "image_url")
    return str(url).partition("base64,")[2]


def results_in(kind: str, body: dict[str, Any]) -> list[str]:
    """What the tools said, in order, as this kind of upstream gets it."""
    found: list[str] = []
    if kind == "gemini":
        for content in body["contents"]:
            for part in content["parts"]:
                if "functionResponse" in part:
                    assert part["functionResponse"]["name"] == "weather"
                    found += map(str, part["functionResponse"]["response"].values())
        return found
    for message in body["messages"]:
        if message["role"] == "tool":
            found.append(message["content"])
        elif kind == "anthropic" and isinstance(message["content"], list):
            for block in message["content"]:
                if block["type"] == "tool_result":
                    inner = block["content"]
                    found.append(inner if isinstance(inner, str) else inner[0]["text"])
    return found


def schema_in(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """The schema of the answer, as this kind of upstream gets it."""
    found: Any
    if kind == "openai":
        found = body["response_format"]["json_schema"]["schema"]
    elif kind == "anthropic":
        found = body["output_config"]["format"]["schema"]
    elif kind == "gemini":
        config = body["generationConfig"]
        found = config.get("responseJsonSchema") or config["responseSchema"]
    else:
        found = body["format"]
    assert isinstance(found, dict)
    return found
