"""Every field of every body and query of the doors of callers, jobs and money, made from their own
description: missing, of a wrong type, too long, unknown or hostile, it is answered in the shape of
its door with the field's name, and nothing is written."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from yarl import URL

from gateway.accounts.board import Board
from gateway.routes.settings import ROUTE_FIELDS
from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body

CODE = "abc123hash"
SPACES = " " * 10_000_000
STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    7,
    -1,
    1.5,
    1e308,
    2**63,
    "x",
    [],
    [None],
    {},
    {"a": 1},
)
HOSTILE = (
    "'; DROP TABLE codes; --",
    "a\0b",
    "${ADMIN_TOKEN}",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\u202eevil\u0000",
    "../../etc/passwd",
    "%00",
    "9" * 400,
    "x" * 100_000,
    SPACES,
)
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/ai_request"): {"app_code": CODE, "request_type": "quiz", "request": "Hi"},
    ("POST", "/jobs"): {"message": "Hi", "model": "easy/m", "dialect": "complete"},
    ("POST", "/codes"): {"name": "App"},
    ("PATCH", "/codes/{id}"): {},
    ("POST", "/codes/{id}/rotate"): {"grace_s": 600},
    ("POST", "/settings"): {},
    ("POST", "/settings/test"): {"provider": "easy"},
    ("POST", "/profile"): {"display_name": "Ann"},
    ("POST", "/feedback"): {"request_id": "one", "value": "good"},
}
QUERIES = ("/usage", "/usage/savings", "/jobs")
OPEN = {"/settings/test", "/profile", "/settings", "/jobs"}
"""Doors whose description does not say that there are no other fields."""


def given(upstream: str, store: str) -> Any:
    return settings(
        providers={"easy": openai_provider(upstream)},
        store={"database": store, "secret_key": "a key of the tests, long enough"},
        codes={"mine": {"code": CODE}},
        request_types={"quiz": {"model": "easy/m"}},
        jobs={"workers": 0, "webhook_secret": "the secret of the webhooks"},
        access={"admin_token": ADMIN["Authorization"].removeprefix("Bearer ")},
    )


def properties(spec: dict[str, Any], method: str, path: str) -> tuple[dict[str, Any], list[str]]:
    """Field -> its description, and those that must be there."""
    body = spec["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
    name = body["schema"]["$ref"].rpartition("/")[2]
    schema = spec["components"]["schemas"][name]
    found = dict(schema["properties"])
    if name == "JobRequest":
        found = {**spec["components"]["schemas"]["Complete"]["properties"], **found}
    return found, list(schema.get("required", ()))


def fits(value: Any, schema: dict[str, Any]) -> bool | None:
    """Whether the description allows the type; None where it says nothing of it."""
    if value is None:
        # Whoever leaves a field out may as well send null.
        return None
    if "enum" in schema:
        return value.strip() in schema["enum"] if isinstance(value, str) else False
    kinds = schema.get("type")
    if kinds is None:
        return None
    kinds = [kinds] if isinstance(kinds, str) else kinds
    actual = {
        bool: {"boolean"},
        int: {"integer", "number"},
        float: {"number"},
        str: {"string"},
        list: {"array"},
        dict: {"object"},
    }[type(value)]
    return bool(actual & set(kinds))


def spoiled(
    base: dict[str, Any], fields: dict[str, Any], required: list[str], closed: bool
) -> Iterator[tuple[str, Any, bool | None]]:
    """Field, body, and whether it may be taken (None: as the door thinks)."""
    for name in required:
        yield name, {key: value for key, value in base.items() if key != name}, False
    for name, schema in fields.items():
        for value in STRANGE:
            yield name, {**base, name: value}, None if fits(value, schema) is not False else False
        for text in HOSTILE:
            most = schema.get("maxLength")
            wrong = fits(text, schema) is False or (most is not None and len(text.strip()) > most)
            yield name, {**base, name: text}, False if wrong else None
        if "maxLength" in schema:
            yield name, {**base, name: "x" * (schema["maxLength"] + 1)}, False
    for name in ("no_such_field", "__proto__", "'; DROP TABLE jobs; --", "a\0b", "x" * 10_000):
        yield name, {**base, name: 1}, False if closed else None
    if "routes" in fields:
        for name in (*ROUTE_FIELDS, "no_such_field"):
            for value in (*STRANGE, *HOSTILE):
                yield "routes", {"routes": {"auto": {name: value}}}, None
    if "providers" in fields:
        for name in ("api_key", "base_url", "no_such_field"):
            for value in (*STRANGE, *HOSTILE):
                yield "providers", {"providers": {"easy": {name: value}}}, None


def told(path: str, raw: bytes) -> tuple[str, str]:
    """Whom and what the answer names; in the door's own shape."""
    answer = orjson.loads(raw)
    if path == "/ai_request":
        assert set(answer) == {"status", "error_code", "message"}, answer
        assert answer["status"] == "error"
        return "", answer["message"]
    error = answer["error"]
    assert {"message", "type"} <= set(error), answer
    return error.get("param") or "", error["message"]


async def state(gateway: Running) -> list[Any]:
    """All that these doors write."""
    found: list[Any] = []
    for path in ("/codes", "/settings", "/profile", "/jobs?limit=200", "/feedback/export"):
        async with gateway.session.get(gateway.url + path, headers=ADMIN) as answer:
            assert answer.status == 200, path
            raw = await answer.read()
        if path == "/codes":
            codes = orjson.loads(raw)["codes"]
            for code in codes:
                # Older secrets end by themselves.
                code["secrets"] = [one for one in code["secrets"] if one["ends_at"] is None]
            raw = orjson.dumps(codes)
        found.append(raw)
    return found


async def sent(gateway: Running, method: str, url: str, raw: bytes) -> tuple[int, bytes]:
    headers = {**ADMIN, "Content-Type": "application/json"}
    async with gateway.session.request(
        method, url, data=io.BytesIO(raw), headers=headers
    ) as answer:
        return answer.status, await answer.read()


def brief(value: Any) -> str:
    return repr(value)[:120]


async def one_code(gateway: Running) -> str:
    body = {"name": "to be changed"}
    async with gateway.session.post(gateway.url + "/codes", json=body, headers=ADMIN) as answer:
        name: str = (await answer.json())["id"]
        return name


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_every_field_of_a_body(method: str, path: str, store_url: str) -> None:
    base = BODIES[method, path]
    hello = Play(openai_body("hello"), content_type="application/json")
    wrong: list[str] = []
    async with (
        ReplayServer(hello) as upstream,
        running(given(upstream.url, store_url)) as gateway,
    ):
        async with gateway.session.get(gateway.url + "/openapi.json") as answer:
            spec = await answer.json()
        code = await one_code(gateway)
        async with gateway.session.post(
            gateway.url + "/complete",
            json={"message": "Hi", "model": "easy/m", "stream": False},
            headers={**ADMIN, "X-Request-Id": "one"},
        ) as answer:
            assert answer.status == 200
        fields, required = properties(spec, method, path)
        assert fields
        before = await state(gateway)
        field, refused = "", list[str]()
        url = gateway.url + path.replace("{id}", code)
        for name, body, may in spoiled(copy.deepcopy(base), fields, required, path not in OPEN):
            status, raw = await sent(gateway, method, url, orjson.dumps(body))
            what = f"{name}: {brief(body)} -> {status} {raw[:160]!r}"
            if status >= 500 or len(raw) > 20_000:
                wrong.append(what)
            elif status < 300:
                if may is False:
                    wrong.append("taken: " + what)
                before, refused = await state(gateway), []
            else:
                param, words = told(path, raw)
                if name[:50] not in param and name[:50] not in words and path != "/settings":
                    wrong.append("not named: " + what)
                if path == "/settings" and not (param or words):
                    wrong.append("not told: " + what)
                refused.append(what)
            if name != field:
                # Looked at once for each field: five questions after each would take minutes.
                if refused and await state(gateway) != before:
                    wrong.append(f"written: {refused}")
                    before = await state(gateway)
                field, refused = name, []
        for raw_body in (SPACES.encode(), b"", b"[]", b'"x"', b"null", b"{" * 100_000, b"\xff\xfe"):
            status, raw = await sent(gateway, method, url, raw_body)
            if status < 300 and path.endswith("/rotate") and not raw_body.strip():
                # It may come without a body.
                before = await state(gateway)
            elif status not in (400, 413):
                wrong.append(f"{brief(raw_body)} -> {status} {raw[:160]!r}")
            else:
                told(path, raw)
        assert await state(gateway) == before
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", QUERIES)
async def test_every_field_of_a_query(path: str, store_url: str) -> None:
    wrong: list[str] = []
    async with running(given("http://127.0.0.1:9", store_url)) as gateway:
        async with gateway.session.get(gateway.url + "/openapi.json") as answer:
            spec = await answer.json()
        names = [
            one["name"] for one in spec["paths"][path]["get"]["parameters"] if one["in"] == "query"
        ]
        assert names
        before = await state(gateway)
        values = [str(one) for one in (*STRANGE, *HOSTILE) if len(str(one)) < 5000]
        for name in (*names, "no_such_field", "a\0b"):
            for value in (*values, "", "x" * 5000, "2026-13-01", "9999-12-31", "0000-00-00"):
                url = URL(gateway.url + path).with_query({name: value})
                async with gateway.session.get(url, headers=ADMIN) as answer:
                    raw = await answer.read()
                what = f"{name}={brief(value)} -> {answer.status} {raw[:160]!r}"
                if answer.status >= 500:
                    wrong.append(what)
                elif answer.status >= 300:
                    param, words = told(path, raw)
                    if name not in param and name not in words:
                        wrong.append("not named: " + what)
        assert await state(gateway) == before
    assert not wrong, "\n".join(wrong)


async def test_an_id_in_a_path_may_be_anything(store_url: str) -> None:
    wrong: list[str] = []
    async with running(given("http://127.0.0.1:9", store_url)) as gateway:
        await one_code(gateway)
        before = await state(gateway)
        ids = [
            "%00",
            "a%00b",
            "%ED%A0%80",
            "'--",
            "..%2F..",
            "%F0%9F%98%80",
            "x" * 3000,
            "%20",
            "*",
        ]
        for method, path in (
            ("GET", "/codes/{id}"),
            ("PATCH", "/codes/{id}"),
            ("DELETE", "/codes/{id}"),
            ("POST", "/codes/{id}/rotate"),
            ("GET", "/jobs/{id}"),
            ("DELETE", "/jobs/{id}"),
            ("GET", "/jobs/{id}/events"),
            ("GET", "/get_request/{id}"),
            ("DELETE", "/feedback/{id}"),
            ("DELETE", "/feedback?caller={id}"),
        ):
            for one in ids:
                url = URL(gateway.url + path.replace("{id}", one), encoded=True)
                body = b"{}" if method in ("PATCH", "POST") else b""
                headers = {**ADMIN, "Content-Type": "application/json"}
                async with gateway.session.request(
                    method, url, data=body, headers=headers
                ) as answer:
                    raw = await answer.read()
                if not 400 <= answer.status < 500 and "feedback" not in path:
                    wrong.append(f"{method} {path} {one[:20]} -> {answer.status} {raw[:160]!r}")
                if answer.status >= 500:
                    wrong.append(f"{method} {path} {one[:20]} -> {answer.status} {raw[:160]!r}")
        assert await state(gateway) == before
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("longest", [10**12, 2**63 - 1, 2**63, 1e19, 1e308])
async def test_the_longest_answer_that_can_be_written_breaks_no_budget(longest: float) -> None:
    """What is set aside for it is counted in 64 bits, on a board that workers share."""
    hello = Play(openai_body("hello"), content_type="application/json")
    async with ReplayServer(hello) as upstream:
        terms = {"code": CODE, "budget_day": "1"}
        free = {"easy/m": {"input": 0, "output": 0}}
        whole = settings(
            providers={"easy": openai_provider(upstream.url)}, codes={"mine": terms}, prices=free
        )
        async with running(whole, board=Board(2)) as gateway:
            body = {"message": "Hi", "model": "easy/m", "stream": False, "max_tokens": longest}
            for _ in range(3):
                async with gateway.session.post(
                    gateway.url + "/complete",
                    json=body,
                    headers={"Authorization": f"Bearer {CODE}"},
                ) as answer:
                    told = await answer.json()
                if longest < 2**63:
                    assert answer.status == 200, told
                else:
                    assert (answer.status, told["error"]["param"]) == (400, "max_tokens")


async def test_one_bad_request_of_a_batch_is_told_and_the_others_are_queued(store_url: str) -> None:
    """The fields are those of POST /jobs; what is the batch's own is its list."""
    async with running(given("http://127.0.0.1:9", store_url)) as gateway:
        good = BODIES["POST", "/jobs"]
        items: list[Any] = [
            {**good, field: value}
            for field in ("dialect", "webhook", "model", "message", "max_tokens")
            for value in (*STRANGE, *HOSTILE[:-1])
        ]
        items = [*items, *STRANGE, good]
        async with gateway.session.post(
            gateway.url + "/jobs/batch", json={"requests": items}, headers=ADMIN
        ) as answer:
            found = await answer.json()
        assert answer.status == 202, found
        rows = found["data"]
        assert [row["index"] for row in rows] == list(range(len(items)))
        assert all(("id" in row) != ("error" in row) for row in rows)
        assert all(row["error"]["message"] for row in rows if "error" in row)
        assert "id" in rows[-1]
        async with gateway.session.get(gateway.url + "/jobs?limit=200", headers=ADMIN) as answer:
            kept = await answer.json()
        assert {one["id"] for one in kept["data"]} == {row["id"] for row in rows if "id" in row}
        assert found["queued"] == len(kept["data"]) > 0
        lists: tuple[Any, ...] = (
            {"requests": []},
            {"requests": {}},
            {"requests": None},
            {},
            [],
            1,
            {"x": [good]},
        )
        for whole in lists:
            async with gateway.session.post(
                gateway.url + "/jobs/batch", json=whole, headers=ADMIN
            ) as answer:
                assert answer.status == 400, whole
                assert (await answer.json())["error"]["message"]
