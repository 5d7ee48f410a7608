"""POST /classify, POST /complete, GET /healthz on a real gunicorn."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import aiohttp
import orjson
import pytest

from classifier import labels
from classifier.artefact import Artefact
from classifier.domains import DOMAINS
from tests.classifier.prompts import UNUSUAL

FIELDS = {
    "tier",
    "model",
    "score",
    "percentile",
    "domain",
    "confidence",
    "tiers",
    "gain",
    "length",
    "sure",
    "ood",
    "out_of_distribution",
    "version",
    "milliseconds",
}
TEXT = {"Content-Type": "text/plain"}


async def ask(client: aiohttp.ClientSession, body: object, path: str = "/classify") -> Any:
    async with client.post(path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def refused(client: aiohttp.ClientSession, raw: bytes, path: str = "/classify") -> Any:
    async with client.post(path, data=raw) as response:
        assert response.status == 400
        assert response.content_type == "application/json"
        error = (await response.json())["error"]
        assert set(error) == {"message", "type", "param"}
        assert "Traceback" not in error["message"]
        return error


async def test_an_answer_has_all_its_fields(client: aiohttp.ClientSession) -> None:
    answer = await ask(client, {"message": "Name three colours."})
    assert set(answer) == FIELDS
    assert answer["tier"] == "local"
    assert answer["model"] == "llama3.2"
    assert 0 <= answer["score"] <= 1
    assert 0 <= answer["percentile"] <= 1
    assert answer["domain"] in DOMAINS


async def test_a_hard_prompt_goes_to_the_strong_model(client: aiohttp.ClientSession) -> None:
    answer = await ask(client, {"message": "Prove that there are infinitely many primes 4k + 3."})
    assert (answer["tier"], answer["model"]) == ("strong", "gpt-4o")
    assert answer["confidence"] == pytest.approx(1 - answer["score"])


async def test_the_older_path_names_a_model(client: aiohttp.ClientSession) -> None:
    answer = await ask(client, {"message": "Hi"}, "/complete")
    assert answer["model"] == "llama3.2"


async def test_the_older_path_takes_no_batch(client: aiohttp.ClientSession) -> None:
    error = await refused(client, b'{"messages": ["Hi"]}', "/complete")
    assert error["param"] == "messages"


async def test_a_batch_equals_single_questions(client: aiohttp.ClientSession) -> None:
    prompts = [*UNUSUAL.values(), *(row[2] for row in labels.own_prompts("golden.tsv"))]
    batch = await ask(client, {"messages": prompts})
    singles = [await ask(client, {"message": prompt}) for prompt in prompts]
    for one, other in zip(batch["results"], singles, strict=True):
        one.pop("milliseconds"), other.pop("milliseconds")
        assert one == other
    assert set(batch) == {"results", "version", "milliseconds"}


async def test_the_service_scores_as_the_artefact_does(
    client: aiohttp.ClientSession, shipped: Artefact
) -> None:
    for _, _, prompt in labels.own_prompts("golden.tsv"):
        answer = await ask(client, {"message": prompt})
        assert answer["score"] == shipped.scorer(prompt).score
        assert answer["version"] == shipped.version


@pytest.mark.parametrize("name", UNUSUAL)
async def test_an_unusual_prompt_is_answered(client: aiohttp.ClientSession, name: str) -> None:
    answer = await ask(client, {"message": UNUSUAL[name]})
    assert 0 <= answer["score"] <= 1


async def test_a_prompt_of_nearly_a_megabyte_is_answered(client: aiohttp.ClientSession) -> None:
    answer = await ask(client, {"message": "word " * 200_000})
    assert 0 <= answer["score"] <= 1


async def test_a_prompt_goes_through_with_any_content_type(client: aiohttp.ClientSession) -> None:
    async with client.post("/classify", data=b'{"message": "Hi"}', headers=TEXT) as response:
        assert response.status == 200


async def test_many_at_once_get_each_their_own_answer(client: aiohttp.ClientSession) -> None:
    prompts = [row[2] for row in labels.own_prompts()][:100]
    together = await asyncio.gather(*(ask(client, {"message": p}) for p in prompts))
    batch = await ask(client, {"messages": prompts})
    assert [a["score"] for a in together] == [r["score"] for r in batch["results"]]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "message"),
        ({"message": None}, "message"),
        ({"message": 7}, "message"),
        ({"message": ["Hi"]}, "message"),
        ({"message": ""}, "message"),
        ({"message": " \n\t\u3000 "}, "message"),
        ({"message": "Hi", "messages": ["Hi"]}, "messages"),
        ({"message": "Hi", "colour": "red"}, "colour"),
        ({"colour": "red"}, "colour"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi", 3]}, "messages[1]"),
        ({"messages": ["Hi", "  "]}, "messages[1]"),
        ({"messages": ["Hi"] * 257}, "messages"),
    ],
)
async def test_a_refusal_names_the_field(
    client: aiohttp.ClientSession, body: object, param: str
) -> None:
    assert (await refused(client, orjson.dumps(body)))["param"] == param


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Hi",
        b'{"message": "Hi"',
        b'["Hi"]',
        b'"Hi"',
        b"null",
        b"NaN",
        b'{"message": "\xff\xfe"}',
        b'{"message": "\\ud800"}',
        b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    client: aiohttp.ClientSession, raw: bytes
) -> None:
    assert (await refused(client, raw))["param"] is None


async def test_an_error_does_not_echo_a_long_field(client: aiohttp.ClientSession) -> None:
    error = await refused(client, orjson.dumps({"x" * 10_000: 1}))
    assert len(error["message"]) < 300


async def test_a_huge_body_is_refused(client: aiohttp.ClientSession) -> None:
    body = io.BytesIO(orjson.dumps({"message": "x" * 1_100_000}))
    async with client.post("/classify", data=body) as response:
        assert response.status == 413
        assert "1048576" in (await response.json())["error"]["message"]


async def test_a_body_in_a_broken_encoding_is_refused(client: aiohttp.ClientSession) -> None:
    headers = {"Content-Encoding": "gzip"}
    async with client.post("/classify", data=b"not gzip", headers=headers) as response:
        assert response.status == 400


@pytest.mark.parametrize("path", ["/classify", "/complete"])
async def test_another_method_is_not_allowed(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert "POST" in (await response.json())["error"]["message"]


async def test_another_path_is_not_found(client: aiohttp.ClientSession) -> None:
    async with client.get("/nothing") as response:
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "not_found_error"


async def test_health_names_what_serves(client: aiohttp.ClientSession, shipped: Artefact) -> None:
    async with client.get("/healthz") as response:
        body = await response.json()
    assert body["status"] == "ok"
    assert body["golden"] == "ok"
    assert body["version"] == shipped.version
    assert body["sha256"] == shipped.digest


async def test_the_chance_of_each_known_model_comes_if_asked_for(
    client: aiohttp.ClientSession,
) -> None:
    answer = await ask(client, {"message": "Name three colours."}, "/classify?models=true")
    assert all(0 <= chance <= 1 for chance in answer["models"].values())
    assert "gpt-4-1106-preview" in answer["models"]
    assert set(answer) == FIELDS | {"models"}
    async with client.post("/classify?models=some", json={"message": "Hi"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == "models"


async def test_both_tiers_have_a_chance_and_the_answer_a_length(
    client: aiohttp.ClientSession,
) -> None:
    short = await ask(client, {"message": "Name three colours."})
    long = await ask(client, {"message": "Write a detailed essay on the causes of inflation."})
    assert short["tiers"]["local"] == short["score"]
    assert short["tiers"]["strong"] == pytest.approx(min(max(short["score"] + short["gain"], 0), 1))
    assert 1 <= short["length"] < long["length"]
    assert 0 <= short["sure"] <= 1
    assert short["ood"] is short["out_of_distribution"]


async def test_a_policy_can_read_the_thresholds(
    client: aiohttp.ClientSession, shipped: Artefact
) -> None:
    async with client.get("/model") as response:
        model = await response.json()
    assert model["version"] == shipped.version
    assert model["thresholds"] == sorted(model["thresholds"])
    assert len(model["thresholds"]) == 101
    assert shipped.percentile(model["thresholds"][30]) == pytest.approx(0.3, abs=0.02)
    assert set(model["domains"]) == set(DOMAINS)
