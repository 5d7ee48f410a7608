"""GET/POST /profile: each caller's own, and nobody another's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.replay.gateway import ADMIN, Running, running, settings

NOTHING = {"display_name": "", "email": "", "theme": "", "language": ""}
ADA = {
    "display_name": "Ada Løvelace",
    "email": "ada@example.org",
    "theme": "dark",
    "language": "en-GB",
}


async def read(gateway: Running, headers: dict[str, str]) -> tuple[int, Any]:
    async with gateway.session.get(gateway.url + "/profile", headers=headers) as response:
        return response.status, await response.json()


async def write(gateway: Running, headers: dict[str, str], body: Any) -> tuple[int, Any]:
    address = gateway.url + "/profile"
    async with gateway.session.post(address, json=body, headers=headers) as response:
        return response.status, await response.json()


async def code(gateway: Running, name: str) -> dict[str, str]:
    address = gateway.url + "/codes"
    async with gateway.session.post(address, json={"name": name}, headers=ADMIN) as response:
        return {"Authorization": f"Bearer {(await response.json())['code']}"}


async def test_a_profile_is_kept_field_by_field(store_url: str) -> None:
    async with running(settings(store={"database": store_url})) as gateway:
        assert await read(gateway, ADMIN) == (200, NOTHING)
        assert await write(gateway, ADMIN, ADA) == (200, ADA)
        assert await write(gateway, ADMIN, {}) == (200, ADA)
        assert await write(gateway, ADMIN, {"email": ""}) == (200, {**ADA, "email": ""})
    async with running(settings(store={"database": store_url})) as gateway:
        assert await read(gateway, ADMIN) == (200, {**ADA, "email": ""})


async def test_fields_that_are_written_at_once_are_all_kept(store_url: str) -> None:
    async with running(settings(store={"database": store_url})) as gateway:
        one_by_one = [{name: value} for name, value in ADA.items()] * 4
        told = await asyncio.gather(*(write(gateway, ADMIN, one) for one in one_by_one))
        assert {status for status, _ in told} == {200}
        assert await read(gateway, ADMIN) == (200, ADA)


async def test_each_code_has_a_profile_of_its_own(store_url: str) -> None:
    async with running(settings(store={"database": store_url})) as gateway:
        mine, theirs = await code(gateway, "mine"), await code(gateway, "theirs")
        assert await write(gateway, mine, ADA) == (200, ADA)
        assert await read(gateway, theirs) == (200, NOTHING)
        assert await read(gateway, ADMIN) == (200, NOTHING)
        grace = {"display_name": "Grace"}
        assert await write(gateway, theirs, grace) == (200, {**NOTHING, **grace})
        assert await read(gateway, mine) == (200, ADA)
        # There is no way to name somebody else.
        for field in ("caller_id", "id", "app"):
            status, body = await write(gateway, theirs, {field: "mine"})
            assert (status, body["error"]["param"]) == (400, field)


async def test_who_has_not_signed_in_has_none() -> None:
    async with running(settings(access={"open": True})) as gateway:
        assert (await read(gateway, {}))[0] == 401
        status, body = await write(gateway, {}, ADA)
        assert status == 401
        assert "sign in" in body["error"]["message"]
        assert (await read(gateway, {"Authorization": "Bearer nobody"}))[0] == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"display_name": 5}, "display_name"),
        ({"display_name": "a\0b"}, "display_name"),
        ({"display_name": "x" * 201}, "display_name"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@b\nBcc: c@d"}, "email"),
        ({"email": "x" * 300 + "@example.org"}, "email"),
        ({"theme": "pink"}, "theme"),
        ({"language": "de_DE"}, "language"),
        ({"language": "x" * 60}, "language"),
        ({"surprise": ""}, "surprise"),
    ],
)
async def test_a_field_that_cannot_be_is_named_and_nothing_is_kept(
    body: Any, param: str | None
) -> None:
    async with running(settings()) as gateway:
        status, answer = await write(gateway, ADMIN, body)
        assert (status, answer["error"].get("param")) == (400, param)
        assert await read(gateway, ADMIN) == (200, NOTHING)
