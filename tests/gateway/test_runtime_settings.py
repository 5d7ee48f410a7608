"""GET/POST /settings: keys masked and sealed, changes validated whole, at once and
everywhere."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.sealing import Sealer
from gateway.settings import Store
from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

KEY = "sk-test-0123456789-wxyz"


SECRET = "a secret of the tests, long enough"


def given(url: str = "", **more: Any) -> Any:
    return settings(store={"database": url, "secret_key": SECRET}, **more)


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest",
        "http://10.0.0.7/v1",
        "http://[::ffff:192.168.1.1]/v1",
        "https://no-such-host.invalid/v1",
    ],
)
async def test_an_address_of_our_own_network_is_refused(address: str) -> None:
    async with running(settings()) as gateway:
        for path, body in (
            ("/settings", {"openai_base_url": address}),
            ("/settings", {"providers": {"openai": {"base_url": address}}}),
            ("/settings/test", {"provider": "openai", "api_key": KEY, "base_url": address}),
        ):
            status, told = await post(gateway, path, body)
            assert status == 400, (path, told)
            assert told["error"]["param"].endswith("base_url")
        assert (await get(gateway, "/settings"))["version"] == 0


async def test_one_that_the_operators_file_has_is_his_own() -> None:
    upstream = ReplayServer(Play(openai_stream("yes")))
    async with upstream:
        given = settings(providers={"lab": openai_provider(upstream.url)})
        async with running(given) as gateway:
            there = {"providers": {"lab": {"base_url": upstream.url + "/v1/other"}}}
            assert (await post(gateway, "/settings", there))[0] == 200


async def test_a_name_that_moves_to_our_network_later_is_not_followed() -> None:
    """What `localhost` was when it was looked at counts for nothing: each connection is."""
    upstream = ReplayServer(Play(openai_stream("yes")))
    async with upstream, running(given()) as gateway:
        change = {"openai_api_key": KEY, "openai_base_url": upstream.url + "/v1"}
        assert (await post(gateway, "/settings", change))[0] == 200
        client = gateway.services.client
        [origin] = client.guarded
        assert (await gateway.complete(message="Hi", model="openai/gpt-4o")).text == "yes"
        client.guarded[origin] = ()
        # The look that the change set off may be connecting still, to what was looked at before.
        await asyncio.sleep(0.3)
        await client.close()
        answer = await gateway.complete(message="Hi", model="openai/gpt-4o")
        assert "yes" not in answer.raw.decode()
        assert len(upstream.received) == 1


async def test_an_address_is_held_to_on_other_processes_and_after_a_restart(store_url: str) -> None:
    upstream = ReplayServer(Play(openai_stream("yes")))
    async with upstream, running(given(store_url)) as one:
        change = {"openai_api_key": KEY, "openai_base_url": upstream.url + "/v1"}
        async with running(given(store_url)) as other:
            assert not other.services.client.guarded
            assert (await post(one, "/settings", change))[0] == 200
            async with asyncio.timeout(10):
                while not other.services.client.guarded:
                    await asyncio.sleep(0.05)
            assert other.services.client.guarded == one.services.client.guarded
        async with running(given(store_url)) as again:
            assert again.services.client.guarded.keys() == one.services.client.guarded.keys()


async def test_a_redirect_of_an_upstream_is_not_followed() -> None:
    inside = ReplayServer(Play(openai_stream("secret")))
    async with inside:
        away = Play(b"", 302, headers={"Location": inside.url + "/v1/chat/completions"})
        async with ReplayServer(away) as upstream:
            lab = {"lab": openai_provider(upstream.url)}
            async with running(settings(providers=lab)) as gateway:
                answer = await gateway.complete(message="Hi", model="lab/m")
                assert b"secret" not in answer.raw
                assert inside.received == []


async def post(gateway: Running, path: str, body: Any) -> tuple[int, Any]:
    async with gateway.session.post(gateway.url + path, json=body, headers=ADMIN) as response:
        return response.status, await response.json()


async def get(gateway: Running, path: str) -> Any:
    async with gateway.session.get(gateway.url + path, headers=ADMIN) as response:
        assert response.status == 200
        return await response.json()


async def test_a_key_that_is_set_turns_its_provider_on_and_is_never_told(store_url: str) -> None:
    upstream = ReplayServer(Play(openai_stream("yes")))
    async with upstream, running(given(store_url)) as gateway:
        before = await get(gateway, "/settings")
        assert before["openai_api_key"] is None
        status, body = await post(
            gateway, "/settings", {"openai_api_key": KEY, "openai_base_url": upstream.url + "/v1"}
        )
        assert status == 200, body
        assert body["openai_api_key"] == "••••wxyz"
        assert body["openai_base_url"] == upstream.url + "/v1"
        assert KEY not in str(body)
        answer = await gateway.complete(message="hello", model="openai/gpt-4o")
        assert answer.text == "yes"
        assert upstream.received[-1].headers["authorization"] == f"Bearer {KEY}"
        # The page sends back what it was told.
        status, again = await post(gateway, "/settings", {"openai_api_key": "••••wxyz"})
        assert status == 200
        assert again["openai_api_key"] == "••••wxyz"
    async with running(given(store_url)) as gateway:
        # Stored, and in use after the next start.
        body = await get(gateway, "/settings")
        assert body["openai_api_key"] == "••••wxyz"
        status, body = await post(
            gateway, "/settings", {"providers": {"openai": {"api_key": None}}}
        )
        assert body["openai_api_key"] is None


async def test_a_change_is_in_use_on_the_other_processes_too(store_url: str) -> None:
    async with running(given(store_url)) as one, running(given(store_url)) as other:
        status, _ = await post(one, "/settings", {"routes": {"auto": {"threshold": 0.25}}})
        assert status == 200
        assert one.services.settings.routes["auto"].threshold == 0.25
        async with asyncio.timeout(10):
            while other.services.settings.routes["auto"].threshold != 0.25:
                await asyncio.sleep(0.05)
        status, _ = await post(
            other, "/settings", {"routes": {"auto": {"target_strong_share": 0.4}}}
        )
        assert status == 200
        async with asyncio.timeout(10):
            while one.services.settings.routes["auto"].target_strong_share != 0.4:
                await asyncio.sleep(0.05)
        assert one.services.settings.routes["auto"].threshold is None


async def test_changes_at_once_from_two_processes_are_all_kept(store_url: str) -> None:
    names = [f"p{number}" for number in range(6)]
    rows = {name: openai_provider("http://127.0.0.1:9") for name in names}
    async with (
        running(given(store_url, providers=rows)) as one,
        running(given(store_url, providers=rows)) as other,
    ):
        done = await asyncio.gather(
            *(
                post(
                    (one, other)[n % 2], "/settings", {"providers": {name: {"api_key": KEY + name}}}
                )
                for n, name in enumerate(names)
            )
        )
        assert [status for status, _ in done] == [200] * 6
        body = await get(one, "/settings")
        async with asyncio.timeout(10):
            while sum(bool(body["providers"][name]["changed"]) for name in names) < 6:
                await asyncio.sleep(0.1)
                body = await get(one, "/settings")


async def test_keys_lie_sealed_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "pointsman.db"
    async with running(settings(store={"database": f"sqlite:///{path}"})) as gateway:
        status, _ = await post(gateway, "/settings", {"openai_api_key": KEY})
        assert status == 200
    files = [tmp_path / f"pointsman.db{end}" for end in ("", "-wal")]
    raw = b"".join(file.read_bytes() for file in files if file.exists())
    assert KEY.encode() not in raw
    key = tmp_path / "pointsman.db.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as connection:
        paths = [row[0] for row in connection.execute("SELECT path FROM overrides WHERE secret")]
    assert paths == ["providers/openai/api_key"]
    # With another key the gateway starts, and says what it cannot read.
    key.unlink()
    async with running(settings(store={"database": f"sqlite:///{path}"})) as gateway:
        assert "providers/openai/api_key" in gateway.services.warnings["overrides"]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    store = Store(database=f"sqlite:///{tmp_path}/p.db")
    assert Sealer(store).open(Sealer(store).seal("x")) == "x"
    (tmp_path / "p.db.key").chmod(0o644)
    with pytest.raises(ValueError, match="others"):
        Sealer(store).seal("x")
    with pytest.raises(ValueError, match="16 characters"):
        Sealer(Store(secret_key="short")).seal("x")


async def test_only_the_admin_reads_and_writes(store_url: str) -> None:
    async with running(given(store_url)) as gateway:
        async with gateway.session.get(gateway.url + "/settings") as response:
            assert response.status == 401
        for path in ("/settings", "/settings/test"):
            async with gateway.session.post(gateway.url + path, json={}) as response:
                assert response.status == 401


async def test_a_connection_is_tried_without_being_stored() -> None:
    upstream = ReplayServer(Play(b""))
    upstream.answers["/v1/models"] = b'{"data": [{"id": "a"}, {"id": "b"}]}'
    async with upstream, running(given()) as gateway:
        asked = {"provider": "openai", "api_key": KEY, "base_url": upstream.url + "/v1"}
        status, body = await post(gateway, "/settings/test", asked)
        assert status == 200
        assert body["ok"] is True
        assert body["models"] == 2
        upstream.look_status = 401
        status, body = await post(gateway, "/settings/test", asked)
        assert body["ok"] is False
        assert KEY not in str(body)
        asked["base_url"] = "http://127.0.0.1:9/v1"
        status, body = await post(gateway, "/settings/test", asked)
        assert body["ok"] is False
        assert (await get(gateway, "/settings"))["openai_api_key"] is None
        status, body = await post(gateway, "/settings/test", {"provider": "openai"})
        assert "off" in body["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/settings", [], 400, None),
        ("/settings", {"surprise": 1}, 400, "surprise"),
        ("/settings", {"openai_api_key": 5}, 400, "openai_api_key"),
        ("/settings", {"openai_api_key": "a\r\nHost: evil"}, 400, "openai_api_key"),
        ("/settings", {"openai_api_key": "k" * 5000}, 400, "openai_api_key"),
        ("/settings", {"openai_api_key": "k\0y"}, 400, "openai_api_key"),
        ("/settings", {"openai_api_key": "schlüssel"}, 400, "openai_api_key"),
        ("/settings", {"openai_api_key": " " * 900_000}, 400, "openai_api_key"),
        ("/settings", {"openai_base_url": "ftp://x"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "http://"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "http://u:p@host"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "http://host:99999"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "http://host/?a=b"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "http://host/#a"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "http://[::1"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "http://h/\nx"}, 400, "openai_base_url"),
        ("/settings", {"openai_base_url": "h" * 3000}, 400, "openai_base_url"),
        ("/settings", {"providers": []}, 400, "providers"),
        ("/settings", {"providers": {"nobody": {}}}, 404, "providers.nobody"),
        ("/settings", {"providers": {"openai": 1}}, 400, "providers.openai"),
        ("/settings", {"providers": {"openai": {"kind": "x"}}}, 400, "providers.openai.kind"),
        ("/settings", {"routes": {"none": {}}}, 404, "routes.none"),
        ("/settings", {"routes": {"auto": {"threshold": 2}}}, 400, "routes.auto.threshold"),
        ("/settings", {"routes": {"auto": {"threshold": "x"}}}, 400, "routes.auto.threshold"),
        ("/settings", {"routes": {"auto": {"local": []}}}, 400, "routes.auto.local"),
        (
            "/settings",
            {"routes": {"auto": {"threshold": 0.1, "target_strong_share": 0.1}}},
            400,
            "routes.auto",
        ),
        ("/settings/test", {}, 400, "provider"),
        ("/settings/test", {"provider": "nobody"}, 404, "provider"),
        ("/settings/test", {"provider": "openai", "x": 1}, 400, "x"),
    ],
)
async def test_a_field_that_cannot_be_is_named_and_nothing_is_changed(
    path: str, body: Any, status: int, param: str | None
) -> None:
    async with running(given()) as gateway:
        found, answer = await post(gateway, path, body)
        assert (found, answer["error"]["param"]) == (status, param)
        assert gateway.services.overrides.values == {}
        assert gateway.services.overrides.version == 0
