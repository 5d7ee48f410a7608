"""Secrets are planted, and then all that is kept and told afterwards is searched for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from tests.doors.upstreams import HELLO, play, provider
from tests.replay.gateway import ADMIN, running, settings
from tests.replay.server import Play, ReplayServer

KEY = "sk-canary-provider-key-0004"
STORED = "sk-canary-stored-key-0005"
TOKEN = ADMIN["Authorization"].removeprefix("Bearer ")
WEBHOOK = "canary-webhook-secret-0006"
METRICS = "canary-metrics-token-0007"
REFUSED = Play(
    orjson.dumps({"error": {"message": f"Incorrect API key provided: {KEY}.", "code": KEY}}),
    401,
    "application/json",
)
TOLD = (
    "/settings",
    "/profile",
    "/codes",
    "/jobs",
    "/usage",
    "/usage/savings",
    "/monitoring",
    "/monitoring/requests",
    "/routing",
    "/health",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/feedback/export",
)


def contents(folder: Path) -> list[bytes]:
    """Of the database's files; the key that seals them is none of theirs."""
    return [file.read_bytes() for file in folder.iterdir() if file.suffix != ".key"]


async def test_no_secret_stands_in_what_is_kept_or_told_afterwards(tmp_path: Path) -> None:
    seen: list[bytes] = []
    async with ReplayServer(REFUSED) as ill, ReplayServer(play("openai", HELLO, False)) as well:
        given: dict[str, Any] = {
            "providers": {
                "ill": provider("openai", ill.url, api_key=KEY),
                "well": provider("openai", well.url, api_key=KEY),
            },
            "store": {"database": f"sqlite:///{tmp_path / 'canary.db'}"},
            "jobs": {"webhook_secret": WEBHOOK},
            "access": {"metrics_token": METRICS},
            "feedback": {"capture": True},
        }
        async with running(settings(**given)) as gateway:

            async def ask(method: str, path: str, body: Any = None) -> Any:
                async with gateway.session.request(
                    method, gateway.url + path, json=body, headers=ADMIN
                ) as response:
                    raw = await response.read()
                    seen.extend((raw, repr(dict(response.headers)).encode()))
                    return orjson.loads(raw) if raw[:1] in (b"{", b"[") else None

            await ask("POST", "/settings", {"providers": {"well": {"api_key": STORED}}})
            code = await ask("POST", "/codes", {"name": "A"})
            # A code is told to whoever makes it, and never again.
            seen.clear()
            for name in ("ill", "well"):
                question = {"message": "Hi", "model": f"{name}/m", "stream": False}
                await ask("POST", "/complete", question)
                job = await ask("POST", "/jobs", question)
                async with asyncio.timeout(20):
                    while (await ask("GET", f"/jobs/{job['id']}"))["ended_at"] is None:
                        await asyncio.sleep(0.05)
                await ask("GET", f"/jobs/{job['id']}/events")
                await ask("POST", "/settings/test", {"provider": name})
            for path in TOLD:
                await ask("GET", path)
            assert ill.received
            assert well.received[-1].headers["authorization"] == f"Bearer {STORED}"
    kept = contents(tmp_path)
    assert any(kept)
    secrets = (KEY, STORED, TOKEN, WEBHOOK, METRICS, code["code"])
    for secret in secrets:
        for raw in (*seen, *kept):
            assert secret.encode() not in raw, (secret, raw[:300])


async def test_the_page_stands_in_no_frame_and_says_nothing_of_where_it_was(
    tmp_path: Path,
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>Pointsman</title>")
    async with running(settings(web={"dist": str(tmp_path)})) as gateway:
        for path in ("/", "/docs"):
            async with gateway.session.get(
                gateway.url + path, headers={"Accept": "text/html"}
            ) as response:
                # Without the page's files /docs says how to build them, under the same policy.
                assert response.status == (200 if path == "/" else 404)
                policy = response.headers["Content-Security-Policy"].split("; ")
                assert "default-src 'self'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "base-uri 'none'" in policy
                assert "unsafe-eval" not in "".join(policy)
                assert response.headers["X-Frame-Options"] == "DENY"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
