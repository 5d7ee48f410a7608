"""Which names are listed, in which order, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from providers.facts import completed
from providers.model_info import ModelInfo
from tests.doors.upstreams import KINDS, provider
from tests.replay.gateway import Running, running, settings
from tests.replay.server import ReplayServer


async def names(gateway: Running) -> list[str]:
    async with gateway.session.get(gateway.url + "/v1/models") as response:
        return [model["id"] for model in (await response.json())["data"]]


async def test_routes_and_aliases_come_first_and_who_is_away_is_left_out() -> None:
    async with ReplayServer() as upstream:
        given = settings(
            providers={
                "lab": provider("openai", upstream.url, models=["a", "b:latest"]),
                "gone": provider("openai", "http://127.0.0.1:1", models=["c"], check="/models"),
            },
            aliases={"best": "lab/a", "bare": "b:latest", "any": "auto", "lost": "nobody/x"},
        )
        async with running(given) as gateway:
            assert await names(gateway) == [
                *("auto", "best", "bare", "any"),
                *("lab/a", "lab/b:latest"),
            ]
            for asked, found in (
                ("b", "lab/b:latest"),
                ("a:latest", "lab/a"),
                ("lab/b", "lab/b:latest"),
                ("auto:latest", "auto"),
            ):
                async with gateway.session.get(f"{gateway.url}/v1/models/{asked}") as response:
                    assert response.status == 200, asked
                    assert (await response.json())["id"] == found


async def test_a_route_can_what_one_of_its_targets_can() -> None:
    async with ReplayServer() as upstream:
        given = settings(
            providers={"lab": provider("openai", upstream.url, models=["smollm2", "gpt-4o"])},
            routes={"auto": {"local": ["lab/smollm2"], "strong": ["lab/gpt-4o"]}},
        )
        async with (
            running(given) as gateway,
            gateway.session.get(gateway.url + "/v1/models/auto") as response,
        ):
            told = await response.json()
    assert told["context_length"] == 128_000
    assert told["capabilities"] == ["completion", "tools", "vision"]


async def test_what_an_upstream_says_of_a_configured_model_is_heard() -> None:
    """As llama.cpp tells the context that it was started with."""
    async with ReplayServer() as upstream:
        upstream.answers["/v1/models"] = (
            b'{"data": [{"id": "m", "meta": {"n_ctx": 1024, "n_ctx_train": 9}}, {"id": "other"}]}'
        )
        tree = provider("openai", upstream.url, models=["m"], check="/models")
        async with running(settings(providers={"lab": tree})) as gateway:
            assert await names(gateway) == ["auto", "lab/m"]
            async with gateway.session.get(gateway.url + "/v1/models/lab/m") as response:
                assert (await response.json())["context_length"] == 1024


@pytest.mark.parametrize(
    ("info", "context", "capabilities"),
    [
        (ModelInfo("claude-sonnet-4-5"), 200_000, {"completion", "tools", "vision", "thinking"}),
        (ModelInfo("anthropic/claude-3-haiku"), 200_000, {"completion", "tools", "vision"}),
        (ModelInfo("gemini-2.0-flash"), 1_048_576, {"completion", "tools", "vision"}),
        (ModelInfo("text-embedding-3-small"), 8192, {"embedding"}),
        (ModelInfo("nomic-embed-text"), 8192, {"embedding"}),
        (ModelInfo("who-knows"), 8192, {"completion", "tools"}),
        (ModelInfo("gpt-4o", 1000, 10, frozenset({"completion"})), 1000, {"completion"}),
        (ModelInfo("who-knows", 2048), 2048, {"completion", "tools"}),
    ],
    ids=lambda one: one.id if isinstance(one, ModelInfo) else None,
)
def test_an_upstreams_own_word_wins_over_the_table(
    info: ModelInfo, context: int, capabilities: set[str]
) -> None:
    found: Any = completed(info)
    assert found.context == context
    assert found.capabilities == capabilities
    assert found.output <= context


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body", [b"7", b"null", b"{}", b'{"data": 7, "models": 7}', b"[7]", b'"x"']
)
async def test_a_list_that_makes_no_sense_is_an_empty_list(kind: str, body: bytes) -> None:
    async with ReplayServer() as upstream:
        for path in ("/v1/models", "/v1/models?limit=1000", "/v1beta/models", "/api/tags"):
            upstream.answers[path] = body
        tree = provider(kind, upstream.url, models=[], default_model="d")
        async with running(settings(providers={"lab": tree})) as gateway:
            assert await gateway.services.registry.providers["lab"].models() == []
            assert await names(gateway) == ["auto", "lab/d"]
