"""App codes in the database, SQLite and PostgreSQL, and how other processes learn of a change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.accounts import secret
from gateway.accounts.accounts import Accounts, is_loopback
from gateway.accounts.bell import Bell, Bells
from gateway.accounts.codebook import Code, CodeBook
from gateway.settings import Settings, SettingsError
from gateway.store.database import Database
from gateway.store.watch import Watch
from gateway.terms import SeedTerms, Terms
from tests.accounts.processes import gateway
from tests.store import servers

CARDS = Terms(name="Cards", rate_limit="100/hour")


@asynccontextmanager
async def accounts(
    url: str, redis: Redis | None = None, bell: Bell | None = None, **tree: Any
) -> AsyncGenerator[Accounts]:
    """One process's."""
    database = Database(url)
    await database.open()
    watch = Watch(database)
    found = Accounts(Settings.model_validate(tree), CodeBook(database), watch, redis, bell=bell)
    try:
        await found.start()
        watch.start()
        yield found
    finally:
        await found.close()
        await watch.close()
        await database.close()


async def until(true: Callable[[], bool], limit_s: float) -> float:
    """Seconds until it was so."""
    began = time.monotonic()
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_another_process_learns_of_every_change_in_a_second(store_url: str) -> None:
    async with accounts(store_url) as one, accounts(store_url) as other:
        code, given = await one.book.create(CARDS)
        await one.changed()
        assert one.find(given) is not None
        await until(lambda: other.find(given) is not None, 3)
        assert other.required
        rotated = await one.book.rotate(code.id, 0, lambda code: None)
        assert rotated is not None
        await until(lambda: other.find(given) is None, 3)
        await until(lambda: other.find(rotated[1]) is not None, 3)
        await other.book.revoke(code.id)
        # It need not have heard of the new secret before.
        await until(lambda: one.app(code.id) is None, 3)
        assert one.find(rotated[1]) is None


async def test_another_worker_is_rung_for(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody looks by himself.
    monkeypatch.setattr("gateway.store.watch.LOOK_S", 10**9)
    bells = Bells(3)
    async with (
        accounts(store_url, bell=bells.of(0)) as one,
        accounts(store_url, bell=bells.of(1)) as two,
        accounts(store_url, bell=bells.of(2)) as three,
    ):
        code, given = await one.book.create(CARDS)
        await one.changed()
        await until(lambda: all(each.find(given) for each in (one, two, three)), 5)
        await three.book.revoke(code.id)
        await three.changed()
        await until(lambda: not any(each.find(given) for each in (one, two, three)), 5)
    # One that comes in the place of another hears what it was rung for.
    _, given = await one_more(store_url, bells)
    async with accounts(store_url, bell=bells.of(1)) as again:
        assert again.find(given)


async def one_more(store_url: str, bells: Bells) -> tuple[Code, str]:
    async with accounts(store_url, bell=bells.of(0)) as one:
        made = await one.book.create(CARDS)
        await one.changed()
        return made


async def test_a_revoked_code_is_refused_by_all_workers_at_once(tmp_path: Path) -> None:
    text = '[access]\nadmin_token = "the-tests-own-token-of-the-operator"\n'
    admin = {"Authorization": "Bearer the-tests-own-token-of-the-operator"}
    times = []
    async with gateway(tmp_path, text, "--workers", "3") as one:

        async def sent(method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
            # A connection of its own: the kernel deals them out.
            async with (
                aiohttp.ClientSession() as session,
                session.request(method, one.url + path, headers=headers, json=body) as answer,
            ):
                return answer.status, await answer.json()

        async def welcome(key: dict[str, str]) -> set[int]:
            seen = await asyncio.gather(*(sent("GET", "/v1/models", key) for _ in range(12)))
            return {status for status, _ in seen}

        for _ in range(7):
            status, made = await sent("POST", "/codes", admin, {"name": "Cards"})
            assert status == 201, made
            key = {"Authorization": f"Bearer {made['code']}"}
            async with asyncio.timeout(5):
                while await welcome(key) != {200}:
                    pass
            status, _ = await sent("DELETE", f"/codes/{made['id']}", admin)
            assert status == 200
            began = time.monotonic()
            async with asyncio.timeout(5):
                while await welcome(key) != {401}:
                    pass
            times.append(time.monotonic() - began)
    # Who only looks each second is quicker now and then, but not most of the time.
    assert sorted(times)[4] < 0.45, times


async def test_with_a_redis_it_learns_at_once(tmp_path: Path) -> None:
    with servers.redis(tmp_path / "redis") as address:
        redis = Redis.from_url(address)
        url = f"sqlite:///{tmp_path}/pointsman.db"
        async with accounts(url, redis) as one, accounts(url, redis) as other:
            # Both listen already, when a change is heard faster than anybody looks.
            times = []
            for _ in range(8):
                _, given = await one.book.create(CARDS)
                await one.changed()
                times.append(await until(lambda: other.find(given) is not None, 3))  # noqa: B023
            assert min(times) < 0.5
        await redis.aclose()


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


async def test_only_hashes_are_kept(tmp_path: Path) -> None:
    async with accounts(f"sqlite:///{tmp_path}/pointsman.db") as one:
        _, given = await one.book.create(CARDS)
        assert one.fresh_admin_token is not None
        kept = await asyncio.to_thread(everything, tmp_path)
        assert secret.digest(given).hex().encode() in kept
        for told in (given, one.fresh_admin_token):
            assert told.encode() not in kept
            assert told.removeprefix("pm-")[9:].encode() not in kept
        assert len(given) > 40


async def test_many_changes_at_once_lose_none(store_url: str) -> None:
    async with accounts(store_url) as one, accounts(store_url) as other:
        made = await asyncio.gather(
            *(book.create(CARDS) for book in (one.book, other.book) for _ in range(10))
        )
        ids = [code.id for code, _ in made]
        await asyncio.gather(
            *(
                book.change(id_, lambda code: CARDS.model_copy(update={"priority": 3}))
                for id_, book in zip(ids, [one.book, other.book] * 10, strict=True)
            )
        )
        book = await one.book.read()
        assert set(ids) == set(book.codes)
        assert all(code.terms.priority == 3 for code in book.codes.values())
        assert book.version >= 40


async def test_processes_that_start_together_make_one_admin_token(store_url: str) -> None:
    database = Database(store_url)
    await database.open()
    await database.close()
    async with accounts(store_url) as one, accounts(store_url) as two, accounts(store_url) as three:
        every = (one, two, three)
        fresh = [found.fresh_admin_token for found in every if found.fresh_admin_token]
        assert len(fresh) == 1
        assert fresh[0].startswith("pm-admin-")
        assert {found.admin_digest for found in every} == {secret.digest(fresh[0])}
        await two.book.set_admin(secret.digest("pm-admin-new"), replace_it=True)
        await until(lambda: one.admin_digest == secret.digest("pm-admin-new"), 3)


async def test_the_settings_codes_come_change_and_go(store_url: str) -> None:
    def seeds(**tree: Any) -> dict[str, SeedTerms]:
        return {name: SeedTerms.model_validate(row) for name, row in tree.items()}

    async with accounts(store_url, codes={"abc123hash": {"name": "Cards"}}) as one:
        app = one.find("abc123hash")
        assert app is not None
        assert not await one.book.seed(seeds(abc123hash={"name": "Cards"}))
        assert await one.book.seed(seeds(abc123hash={"name": "Cards", "max_tokens": 5}))
        await one.read()
        changed = one.find("abc123hash")
        assert changed is not None
        assert (changed.id, changed.max_tokens) == (app.id, 5)
        assert await one.book.seed({})
        await one.read()
        assert one.find("abc123hash") is None
        assert one.required
        assert await one.book.seed(seeds(abc123hash={}))
        await one.read()
        assert one.find("abc123hash") is not None
        await one.book.revoke(app.id)
        assert not await one.book.seed(seeds(abc123hash={}))
        await one.read()
        assert one.find("abc123hash") is None
        with pytest.raises(SettingsError, match=r"codes\.twin"):
            await one.book.seed(seeds(first={"code": "x1"}, twin={"code": "x1"}))
        codes = (await one.book.read()).codes.values()
        assert [code.terms.name for code in codes] == ["abc123hash"]


async def test_a_code_expires_by_itself(tmp_path: Path) -> None:
    database = Database("")
    await database.open()
    now = [1_000_000_000.0]
    one = Accounts(Settings(), CodeBook(database), Watch(database), now=lambda: now[0])
    await one.start()
    terms = Terms.model_validate({"name": "x", "expires": "2001-09-09T02:00:00Z"})
    _, given = await one.book.create(terms)
    await one.changed()
    assert one.find(given) is not None
    now[0] += 800
    assert one.find(given) is None
    await one.close()
    await database.close()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("gateway.example", False),
    ],
)
def test_only_a_loopback_address_is_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
