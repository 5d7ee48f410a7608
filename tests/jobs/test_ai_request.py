"""POST /ai_request and GET /get_request/{id}: every field, status and code of seed 002."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import orjson
import pytest

from tests.jobs.lab import CODE, OTHER, lab, stalled
from tests.replay.gateway import Running
from tests.replay.server import Play, openai_error, openai_stream

ASKED = {"app_code": CODE, "request_type": "generate_flashcard", "request": "The Krebs cycle"}


async def ask(gateway: Running, body: Any) -> tuple[int, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    async with gateway.session.post(
        gateway.url + "/ai_request",
        data=io.BytesIO(raw),
        headers={"Content-Type": "application/json"},
    ) as answer:
        return answer.status, await answer.json()


async def look(gateway: Running, name: str) -> tuple[int, dict[str, Any]]:
    async with gateway.session.get(f"{gateway.url}/get_request/{name}") as answer:
        return answer.status, await answer.json()


async def until(gateway: Running, name: str, *states: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            status, told = await look(gateway, name)
            assert status == 200
            if told["status"] in states:
                return told
            await asyncio.sleep(0.02)


async def test_a_request_is_queued_answered_and_told_as_the_seed_says() -> None:
    async with lab() as (gateway, upstream):
        status, told = await ask(gateway, ASKED)
        assert status == 200
        assert told == {
            "status": "success",
            "request_id": told["request_id"],
            "message": "Request queued successfully",
        }
        done = await until(gateway, told["request_id"], "completed", "error")
        moment = done["response"].pop("completion_time")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
        assert done == {
            "status": "completed",
            "response": {
                "ai_response": "Hello there",
                "model_used": "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
                "token_usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            },
        }
        sent = upstream.received[0].body
        assert sent["messages"] == [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "The Krebs cycle"},
        ]
        # The template's temperature; the application's ceiling under the default of 1000.
        assert (sent["temperature"], sent["max_tokens"]) == (0.2, 800)


async def test_a_waiting_request_is_told_its_true_place_and_wait() -> None:
    async with lab(stalled(), jobs={"workers": 1}) as (gateway, upstream):
        names = []
        for _ in range(4):
            _, told = await ask(gateway, ASKED)
            names.append(told["request_id"])
            if len(names) == 1:
                await upstream.until_received(1)
        assert await look(gateway, names[0]) == (
            200,
            {"status": "processing", "message": "Request is currently being processed"},
        )
        for place, name in enumerate(names[1:], 1):
            status, told = await look(gateway, name)
            assert status == 200
            words = told.pop("estimated_wait_time")
            assert re.search(r"\d+ (second|minute)s?$", words)
            # The only worker is busy, also where it was idle when it was last looked.
            assert words != "less than 1 second"
            assert told == {
                "status": "queued",
                "position": place,
                "message": "Request is in queue",
            }
        async with gateway.session.get(gateway.url + "/health") as answer:
            health = await answer.json()
        assert health["status"] == "healthy"
        assert health["active_workers"] == 1
        assert health["queue_size"] == 3
        assert isinstance(health["uptime"], str)
        assert health["together_ai_status"] in ("connected", "checking")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"app_code": "wrong"}, 401, "INVALID_APP_CODE"),
        ({"app_code": "' OR 1=1 --"}, 401, "INVALID_APP_CODE"),
        ({"app_code": "\0"}, 401, "INVALID_APP_CODE"),
        ({"app_code": "x" * 100_000}, 401, "INVALID_APP_CODE"),
        ({"app_code": None}, 400, "INVALID_REQUEST"),
        ({"app_code": 7}, 400, "INVALID_REQUEST"),
        ({"app_code": ""}, 400, "INVALID_REQUEST"),
        ({"request_type": "write_poem"}, 403, "UNSUPPORTED_REQUEST_TYPE"),
        ({"request_type": "everyone"}, 403, "UNSUPPORTED_REQUEST_TYPE"),
        ({"request_type": "generate_flashcard\0"}, 403, "UNSUPPORTED_REQUEST_TYPE"),
        ({"request_type": "x" * 100_000}, 403, "UNSUPPORTED_REQUEST_TYPE"),
        ({"app_code": OTHER, "request_type": "made_up"}, 403, "UNSUPPORTED_REQUEST_TYPE"),
        ({"request_type": []}, 400, "INVALID_REQUEST"),
        ({"request_type": None}, 400, "INVALID_REQUEST"),
        ({"request": None}, 400, "INVALID_REQUEST"),
        ({"request": {"a": 1}}, 400, "INVALID_REQUEST"),
        ({"request": ""}, 400, "INVALID_REQUEST"),
        ({"request": " " * 10_000_000}, 400, "INVALID_REQUEST"),
        ({"request": "x" * 400_001}, 400, "INVALID_REQUEST"),
        ({"extra": 1}, 400, "INVALID_REQUEST"),
    ],
)
async def test_a_wrong_field_is_told_in_the_seeds_shape_and_nothing_is_queued(
    change: dict[str, Any], status: int, code: str
) -> None:
    async with lab() as (gateway, upstream):
        found, told = await ask(gateway, {**ASKED, **change})
        assert (found, told["status"], told["error_code"]) == (status, "error", code)
        assert set(told) == {"status", "error_code", "message"}
        assert len(told["message"]) < 500
        assert (await gateway.services.jobs.queue.stats()).waiting == 0
        assert not upstream.received


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"null", b'"x"', b"\xff\xfe", b" " * 10_000_000])
async def test_a_body_that_is_no_object_is_an_invalid_request(raw: bytes) -> None:
    async with lab() as (gateway, _):
        status, told = await ask(gateway, raw)
        assert (status, told["status"], told["error_code"]) == (400, "error", "INVALID_REQUEST")


@pytest.mark.parametrize("name", ["unknown", "0" * 32, "%00", "..%2f..", "';--", "x" * 3000])
async def test_an_unknown_request_is_not_found(name: str) -> None:
    async with lab() as (gateway, _):
        assert await look(gateway, name) == (
            404,
            {
                "status": "error",
                "error_code": "REQUEST_NOT_FOUND",
                "message": "Request ID not found",
            },
        )


async def test_a_full_queue_says_so() -> None:
    async with lab(jobs={"workers": 0, "capacity": 2}) as (gateway, _):
        for _ in range(2):
            assert (await ask(gateway, ASKED))[0] == 200
        status, told = await ask(gateway, ASKED)
        assert (status, told["status"], told["error_code"]) == (503, "error", "QUEUE_FULL")


async def test_an_upstream_that_fails_is_an_ai_service_error() -> None:
    async with lab(openai_error(500), attempts={"per_target": 1}) as (gateway, upstream):
        _, told = await ask(gateway, ASKED)
        done = await until(gateway, told["request_id"], "completed", "error")
        assert done["error_code"] == "AI_SERVICE_ERROR"
        assert done["retry_possible"] is True
        assert set(done) == {"status", "error_code", "message", "retry_possible"}
        # The primary model first, its fallback behind it.
        assert [one.body["model"] for one in upstream.received] == [
            "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
            "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        ]


async def test_a_fallback_model_answers_where_the_primary_does_not() -> None:
    plays = (openai_error(500), Play(openai_stream("Saved")))
    async with lab(
        *plays, attempts={"per_target": 1}, jobs={"fallback_models": ["easy/spare"]}
    ) as (gateway, _):
        _, told = await ask(gateway, ASKED)
        done = await until(gateway, told["request_id"], "completed", "error")
        assert done["response"]["ai_response"] == "Saved"
        assert done["response"]["model_used"] == "spare"


async def test_a_request_that_takes_too_long_is_a_timeout() -> None:
    async with lab(stalled(), jobs={"workers": 1, "timeout_s": 0.6}) as (gateway, upstream):
        _, first = await ask(gateway, ASKED)
        await upstream.until_received(1)
        _, second = await ask(gateway, ASKED)
        ran = await until(gateway, first["request_id"], "error")
        assert (ran["error_code"], ran["retry_possible"]) == ("TIMEOUT", True)
        waited = await until(gateway, second["request_id"], "error")
        assert (waited["error_code"], waited["retry_possible"]) == ("TIMEOUT", True)


async def test_a_request_that_the_upstream_calls_wrong_is_an_invalid_request() -> None:
    async with lab(openai_error(400, "too long")) as (gateway, _):
        _, told = await ask(gateway, ASKED)
        done = await until(gateway, told["request_id"], "error")
        assert (done["error_code"], done["retry_possible"]) == ("INVALID_REQUEST", False)


async def test_a_type_without_a_template_of_its_own_gets_the_defaults() -> None:
    async with lab() as (gateway, upstream):
        _, told = await ask(gateway, {**ASKED, "request_type": "explain_concept"})
        await until(gateway, told["request_id"], "completed")
        sent = upstream.received[0].body
        assert sent["temperature"] == 0.7
        assert [message["role"] for message in sent["messages"]] == ["user"]


async def test_an_app_without_a_list_may_ask_every_type_that_has_a_template() -> None:
    async with lab() as (gateway, upstream):
        body = {**ASKED, "app_code": OTHER, "request_type": "everyone"}
        status, told = await ask(gateway, body)
        assert status == 200
        await until(gateway, told["request_id"], "completed")
        assert (upstream.received[0].body["model"], upstream.received[0].body["max_tokens"]) == (
            "m",
            50,
        )


async def test_another_method_is_told_in_the_seeds_shape() -> None:
    async with lab() as (gateway, _), gateway.session.get(gateway.url + "/ai_request") as answer:
        assert answer.status == 405
        assert (await answer.json())["status"] == "error"
