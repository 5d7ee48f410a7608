"""Texts as vectors: four languages at the door, three behind it."""

from __future__ import annotations

from array import array
from base64 import b64decode
from typing import Any

import orjson
import pytest

from tests.doors.lab import lab
from tests.doors.upstreams import refusal
from tests.doors.vectors import KINDS, VECTORS, answer
from tests.replay.gateway import Running

SENT_TO = {
    "openai": "/v1/embeddings",
    "gemini": "/v1beta/models/m:batchEmbedContents",
    "ollama": "/api/embed",
}


def texts_in(kind: str, body: dict[str, Any]) -> list[str]:
    if kind == "gemini":
        return [one["content"]["parts"][0]["text"] for one in body["requests"]]
    found = body["input"]
    return [found] if isinstance(found, str) else list(found)


async def post(gateway: Running, path: str, body: Any) -> tuple[int, Any]:
    async with gateway.session.post(gateway.url + path, json=body) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize("kind", KINDS)
async def test_openai_callers_get_floats_or_base64(kind: str, encoding: str | None) -> None:
    body: dict[str, Any] = {"model": "lab/m", "input": ["one", "two"], "dimensions": 3}
    if encoding:
        body["encoding_format"] = encoding
    async with lab(kind, answer(kind, VECTORS)) as (gateway, upstream):
        status, told = await post(gateway, "/v1/embeddings", body)
        assert status == 200
        vectors = [row["embedding"] for row in told["data"]]
        if encoding == "base64":
            vectors = [array("f", b64decode(text)).tolist() for text in vectors]
        assert vectors == VECTORS
        assert [row["index"] for row in told["data"]] == [0, 1]
        assert told["usage"]["prompt_tokens"] == (0 if kind == "gemini" else 4)
        [received] = upstream.received
        assert received.path == SENT_TO[kind]
        assert texts_in(kind, received.body) == ["one", "two"]
        assert b"3" in orjson.dumps(received.body)
        labels = {"provider": "lab", "model": "m", "route": "named", "outcome": "finished"}
        assert gateway.counted("pointsman_requests_total", **labels) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_ollama_callers_get_both_doors(kind: str) -> None:
    async with lab(kind, answer(kind, VECTORS), answer(kind, VECTORS[:1])) as (gateway, upstream):
        status, told = await post(gateway, "/api/embed", {"model": "m", "input": ["one", "two"]})
        assert (status, told["embeddings"], told["model"]) == (200, VECTORS, "m")
        old = {"model": "lab/m:latest", "prompt": "one"}
        status, told = await post(gateway, "/api/embeddings", old)
        assert (status, told) == (200, {"embedding": VECTORS[0]})
        assert [texts_in(kind, one.body) for one in upstream.received] == [["one", "two"], ["one"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_gemini_callers_get_both_doors(kind: str) -> None:
    one = {"content": {"parts": [{"text": "one"}]}}
    two = {"content": {"parts": [{"text": "t"}, {"text": "wo"}]}}
    async with lab(kind, answer(kind, VECTORS), answer(kind, VECTORS[:1])) as (gateway, upstream):
        path = "/v1beta/models/lab/m"
        status, told = await post(gateway, path + ":batchEmbedContents", {"requests": [one, two]})
        assert (status, told) == (200, {"embeddings": [{"values": v} for v in VECTORS]})
        body = {**one, "output_dimensionality": 3, "taskType": "RETRIEVAL_QUERY"}
        status, told = await post(gateway, path + ":embedContent", body)
        assert (status, told) == (200, {"embedding": {"values": VECTORS[0]}})
        first, second = upstream.received
        assert texts_in(kind, first.body) == ["one", "two"]
        if kind == "gemini":
            assert second.body["requests"][0]["taskType"] == "RETRIEVAL_QUERY"
            assert second.body["requests"][0]["outputDimensionality"] == 3


async def test_token_numbers_pass_to_openai_and_are_refused_elsewhere() -> None:
    body = {"model": "lab/m", "input": [[1, 2], [3]]}
    async with lab("openai", answer("openai", VECTORS)) as (gateway, upstream):
        status, _ = await post(gateway, "/v1/embeddings", body)
        assert status == 200
        assert upstream.received[0].body["input"] == [[1, 2], [3]]
    async with lab("ollama", answer("ollama", VECTORS)) as (gateway, upstream):
        status, told = await post(gateway, "/v1/embeddings", body)
        assert (status, told["error"]["param"]) == (400, "input")
        assert upstream.received == []


async def test_an_upstream_without_embeddings_says_so() -> None:
    async with lab("anthropic") as (gateway, upstream):
        status, told = await post(gateway, "/v1/embeddings", {"model": "lab/m", "input": "x"})
        assert status == 400
        assert told["error"]["code"] == "embeddings_unsupported"
        assert upstream.received == []


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/embeddings", {"input": "x"}, 400, "model is required"),
        ("/v1/embeddings", {"model": "lab/m"}, 400, "input is required"),
        ("/v1/embeddings", {"model": "lab/m", "input": []}, 400, "input must not be empty"),
        ("/v1/embeddings", {"model": "lab/m", "input": ["a", ""]}, 400, "input[1]"),
        ("/v1/embeddings", {"model": "lab/m", "input": [1.5]}, 400, "input must be a string"),
        ("/v1/embeddings", {"model": "lab/m", "input": "x", "encoding_format": "hex"}, 400, "hex"),
        ("/v1/embeddings", {"model": "lab/m", "input": "x", "dimensions": 0}, 400, "dimensions"),
        ("/v1/embeddings", {"model": "lab/m", "input": ["x"] * 2049}, 400, "2048"),
        ("/v1/embeddings", {"model": "auto", "input": "x"}, 400, "a route"),
        ("/v1/embeddings", {"model": "nobody", "input": "x"}, 404, "does not exist"),
        ("/v1/embeddings", [], 400, "a JSON object"),
        ("/api/embed", {"model": "lab/m"}, 400, "input is required"),
        ("/api/embed", {"model": "nobody", "input": "x"}, 404, "not found"),
        ("/api/embeddings", {"model": "lab/m"}, 400, "prompt is required"),
        ("/v1beta/models/m:embedContent", {}, 400, "content is required"),
        ("/v1beta/models/m:embedContent", {"content": {"parts": []}}, 400, "content.parts"),
        ("/v1beta/models/m:batchEmbedContents", {}, 400, "requests"),
        (
            "/v1beta/models/m:batchEmbedContents",
            {"requests": [{"content": {"parts": [{"text": 1}]}}]},
            400,
            "requests[0].content.parts[0].text",
        ),
    ],
)
async def test_a_bad_question_is_told_in_its_own_language(
    path: str, body: Any, status: int, words: str
) -> None:
    async with lab("openai") as (gateway, upstream):
        found, told = await post(gateway, path, body)
        assert found == status
        error = told["error"]
        if path.startswith("/api/"):
            assert isinstance(error, str)
            assert words in error
        else:
            assert words in error["message"]
            assert "code" in error
        assert upstream.received == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vectors", [VECTORS[:1], [[], []], [["a"], ["b"]], [[1.0], None]], ids=str)
async def test_an_answer_that_makes_no_sense_is_no_answer(kind: str, vectors: Any) -> None:
    async with lab(kind, answer(kind, vectors)) as (gateway, _):
        status, told = await post(
            gateway, "/v1/embeddings", {"model": "lab/m", "input": ["one", "two"]}
        )
        assert status == 502
        assert "upstream" in told["error"]["message"]


async def test_a_passing_failure_is_asked_again() -> None:
    plays = (refusal("openai", 503), answer("openai", VECTORS[:1]))
    async with lab("openai", *plays) as (gateway, upstream):
        status, _ = await post(gateway, "/v1/embeddings", {"model": "lab/m", "input": "one"})
        assert status == 200
        assert len(upstream.received) == 2
