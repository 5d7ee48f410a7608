"""App codes over the admin API: made, listed, changed, rotated, revoked, at once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body

JSON = "application/json"


@asynccontextmanager
async def gateway(**tree: Any) -> AsyncGenerator[tuple[Running, ReplayServer]]:
    async with ReplayServer(Play(openai_body("Hello"), content_type=JSON)) as upstream:
        given = settings(
            **{
                "providers": {"lab": openai_provider(upstream.url)},
                "routes": {"auto": {"local": ["lab/m"], "strong": []}},
                **tree,
            }
        )
        async with running(given) as one:
            yield one, upstream


async def admin(
    one: Running, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    data = None if body is None else io.BytesIO(orjson.dumps(body))
    sent = {**ADMIN, "Content-Type": JSON, **headers}
    async with one.session.request(method, one.url + path, data=data, headers=sent) as answer:
        return answer.status, await answer.json()


async def made(one: Running, **terms: Any) -> tuple[str, str]:
    """(id, code)"""
    status, told = await admin(one, "POST", "/codes", {"name": "App", **terms})
    assert status == 201, told
    return told["id"], told["code"]


async def ask(
    one: Running, code: str | None, **body: Any
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    headers = {"Authorization": f"Bearer {code}"} if code else {}
    question = {"model": "lab/m", "messages": [{"role": "user", "content": "Hi"}], **body}
    async with one.session.post(
        one.url + "/v1/chat/completions", json=question, headers=headers
    ) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_a_code_opens_the_door_from_its_making_to_its_end() -> None:
    async with gateway() as (one, upstream):
        id_, code = await made(one, name="Cards", rate_limit="100/hour", max_tokens=1000)
        assert code.startswith("pm-")
        assert (await ask(one, code))[0] == 200
        status, told = await admin(one, "GET", f"/codes/{id_}")
        assert status == 200
        assert told["name"] == "Cards"
        assert told["rate_limit"] == "100/hour"
        assert [secret["prefix"] for secret in told["secrets"]] == [code[:11]]
        assert code not in str(told)
        status, told = await admin(one, "DELETE", f"/codes/{id_}")
        assert told["revoked_at"] is not None
        status, told, _ = await ask(one, code)
        assert status == 401
        assert told["error"]["code"] == "invalid_api_key"
        assert len(upstream.received) == 1


async def test_a_rotated_code_holds_for_its_grace_only() -> None:
    async with gateway() as (one, _):
        id_, first = await made(one)
        status, told = await admin(one, "POST", f"/codes/{id_}/rotate", {"grace_s": 60})
        assert status == 200
        second = told["code"]
        assert (await ask(one, first))[0] == (await ask(one, second))[0] == 200
        third = (await admin(one, "POST", f"/codes/{id_}/rotate"))[1]["code"]
        assert (await ask(one, first))[0] == (await ask(one, second))[0] == 401
        assert (await ask(one, third))[0] == 200


async def test_a_changed_limit_is_met_by_the_next_request() -> None:
    async with gateway() as (one, _):
        id_, code = await made(one)
        assert (await ask(one, code))[0] == 200
        status, told = await admin(one, "PATCH", f"/codes/{id_}", {"rate_limit": "1/day"})
        assert (status, told["rate_limit"]) == (200, "1/day")
        assert [(await ask(one, code))[0] for _ in range(2)] == [200, 429]
        assert (await admin(one, "PATCH", f"/codes/{id_}", {"rate_limit": None}))[0] == 200
        assert (await ask(one, code))[0] == 200


async def test_without_a_code_anybody_may_ask_and_with_one_a_key_is_needed() -> None:
    async with gateway() as (one, _):
        assert (await ask(one, None))[0] == 200
        assert (await ask(one, "sk-dummy"))[0] == 200
        assert (await ask(one, "pm-wrong"))[0] == 401
        id_, _code = await made(one)
        assert (await ask(one, None))[0] == 401
        assert (await ask(one, "ollama"))[0] == 401
        # Taking the last one away opens no door.
        await admin(one, "DELETE", f"/codes/{id_}")
        assert (await ask(one, None))[0] == 401


async def test_only_the_operator_sees_codes() -> None:
    async with gateway() as (one, _):
        _, code = await made(one)
        for headers, status in (({}, 401), ({"Authorization": f"Bearer {code}"}, 403)):
            for method, path in (
                ("GET", "/codes"),
                ("POST", "/codes"),
                ("PATCH", "/codes/x"),
                ("DELETE", "/codes/x"),
                ("POST", "/codes/x/rotate"),
            ):
                async with one.session.request(
                    method, one.url + path, json={}, headers=headers
                ) as answer:
                    assert answer.status == status, (method, path)


async def test_codes_of_the_settings_hold_as_code_name_or_hash() -> None:
    codes = {
        "abc123hash": {
            "name": "FlashCards App",
            "allowed_request_types": ["generate_flashcard", "explain_concept", "create_quiz"],
            "rate_limit": "100/hour",
            "max_tokens": 1000,
        },
        "plain": {"code": "my-own-code"},
        "hashed": {"hash": hashlib.sha256(b"another-code").hexdigest()},
    }
    async with gateway(codes=codes) as (one, upstream):
        for code in ("abc123hash", "my-own-code", "another-code"):
            assert (await ask(one, code))[0] == 200
        assert upstream.received[0].body["max_tokens"] == 1000
        for wrong in ("plain", "hashed", ""):
            assert (await ask(one, wrong))[0] == 401
        found = one.services.accounts.find("abc123hash")
        assert found is not None
        assert found.takes("create_quiz")
        assert not found.takes("write_poem")
        told = (await admin(one, "GET", "/codes"))[1]["codes"]
        assert "abc123hash" not in str(told)
        by_name = {code["name"]: code for code in told}
        card = by_name["FlashCards App"]
        assert card["origin"] == "settings"
        assert (await admin(one, "PATCH", f"/codes/{card['id']}", {"priority": 1}))[0] == 409
        assert (await admin(one, "DELETE", f"/codes/{card['id']}"))[0] == 200
        assert (await ask(one, "abc123hash"))[0] == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": " " * 10_000_000}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "rate_limit": "often"}, "rate_limit"),
        ({"name": "x", "rate_limit": "0/hour"}, "rate_limit"),
        ({"name": "x", "rate_limit": 100}, "rate_limit"),
        ({"name": "x", "max_tokens": "5"}, "max_tokens"),
        ({"name": "x", "max_tokens": True}, "max_tokens"),
        ({"name": "x", "max_tokens": 0}, "max_tokens"),
        ({"name": "x", "models": "all"}, "models"),
        ({"name": "x", "models": ["a", 5]}, "models[1]"),
        ({"name": "x", "budget_day": -1}, "budget_day"),
        ({"name": "x", "budget_day": "NaN"}, "budget_day"),
        ({"name": "x", "budget_day": "1e99"}, "budget_day"),
        ({"name": "x", "expires": "soon"}, "expires"),
        ({"name": "x", "concurrency": 0}, "concurrency"),
        ({"name": "x", "tokens_day": 2**63}, "tokens_day"),
        ({"name": "x", "colour": "red"}, "colour"),
        ([], None),
        ("x", None),
    ],
)
async def test_a_wrong_body_names_its_field_and_makes_nothing(body: Any, param: str | None) -> None:
    async with gateway() as (one, _):
        status, told = await admin(one, "POST", "/codes", body)
        assert status == 400
        assert len(str(told)) < 1000
        if param is not None:
            assert param in str(told)
        assert (await admin(one, "GET", "/codes"))[1] == {"codes": []}


async def test_a_change_that_is_refused_changes_nothing() -> None:
    async with gateway() as (one, _):
        id_, _code = await made(one, rate_limit="5/hour", budget_day="1.25")
        before = (await admin(one, "GET", f"/codes/{id_}"))[1]
        wrong = {"rate_limit": "7/hour", "max_tokens": "many"}
        assert (await admin(one, "PATCH", f"/codes/{id_}", wrong))[0] == 400
        graces: list[Any] = [{"grace_s": -1}, {"grace_s": "x"}, {"grace": 1}, []]
        for wrong_body in graces:
            assert (await admin(one, "POST", f"/codes/{id_}/rotate", wrong_body))[0] == 400
        assert (await admin(one, "GET", f"/codes/{id_}"))[1] == before
        assert (await admin(one, "PATCH", "/codes/nobody", {"priority": 1}))[0] == 404
        hostile = "/codes/x'%20OR%201=1;--"
        assert (await admin(one, "DELETE", hostile))[0] == 404
