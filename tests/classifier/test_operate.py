"""The operator's routes of a real service, and the gateway's page routes over them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.classifier.candidates import candidate, flip_a_byte
from tests.classifier.service import SHIPPED, running
from tests.replay.gateway import ADMIN, settings
from tests.replay.gateway import running as gateway_running


async def ask(method: str, url: str, **more: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **more) as response,
    ):
        return response.status, await response.json()


async def version(url: str, wanted: str) -> None:
    """Waits until every worker serves it: each looks at the shelf now and again."""
    for _ in range(100):
        seen = {(await ask("GET", url + "/healthz"))[1]["version"] for _ in range(8)}
        if seen == {wanted}:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{seen} serve, not {wanted}")


async def test_the_page_promotes_and_rolls_back_through_the_gateway(tmp_path: Path) -> None:
    shadow = candidate(tmp_path / "candidate", "2-new")
    shipped = json.loads((SHIPPED / "card.json").read_text())["version"]
    with running(
        CLASSIFIER_MODELS=str(tmp_path / "models"), CLASSIFIER_SHADOW=str(shadow)
    ) as service:
        assert (await ask("GET", service.url + "/card"))[1]["version"] == shipped
        given = settings(classifier={"url": service.url})
        async with gateway_running(given) as gateway:
            status, told = await ask("GET", gateway.url + "/routing", headers=ADMIN)
            assert status == 200
            assert told["card"]["version"] == shipped
            assert told["curve"]
            status, told = await ask("POST", gateway.url + "/routing/promote", headers=ADMIN)
            assert (status, told["status"]) == (200, "promoted"), told
            await version(service.url, "2-new")
            status, told = await ask("POST", gateway.url + "/routing/rollback", headers=ADMIN)
            assert (status, told["status"]) == (200, "rolled back"), told
            await version(service.url, shipped)
            status, told = await ask("POST", gateway.url + "/routing/rollback", headers=ADMIN)
            assert status == 409
            status, _ = await ask("POST", gateway.url + "/routing/promote")
            assert status == 401


async def test_a_page_or_a_strange_body_changes_nothing(tmp_path: Path) -> None:
    shadow = candidate(tmp_path / "candidate", "2-new")
    with running(
        CLASSIFIER_MODELS=str(tmp_path / "models"), CLASSIFIER_SHADOW=str(shadow)
    ) as service:
        strange: tuple[dict[str, Any], ...] = (
            {"headers": {"Origin": "https://evil.example"}},
            {"data": b"{"},
            {"json": []},
            {"json": {"candidate": "/etc"}},
            {"json": {"force": 3}},
            {"json": {"force": "x" * 501}},
        )
        for more in strange:
            for path in ("/promote", "/rollback"):
                status, told = await ask("POST", service.url + path, **more)
                assert status == 400, told
        flip_a_byte(shadow)
        status, told = await ask("POST", service.url + "/promote", json={"force": "I want it"})
        assert status == 409
        assert "Not promoted" in told["error"]["message"]
        assert (await ask("GET", service.url + "/healthz"))[1]["version"] != "2-new"
