"""While the Redis is gone: each process counts alone, or nobody with limits passes; and what a
dead process held is freed."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from chat.errors import QueueFull
from gateway.accounts import meters_redis, outcome
from gateway.accounts.app import App
from gateway.accounts.meter import NOTHING, Need
from gateway.accounts.meters import Meters
from gateway.accounts.meters_redis import RedisMeters
from gateway.settings import Access
from gateway.terms import Terms
from tests.ports import free_port
from tests.store import servers


def app(**terms: object) -> App:
    return App.of("app", Terms.model_validate({"name": "App", **terms}))


async def test_each_process_counts_alone_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters_redis, "REST_S", 0.05)
    one, port = app(rate_limit="2/hour", budget_day=1), free_port()
    told: list[str] = []

    async def back() -> None:
        told.append("back")

    redis = Redis.from_url(f"redis://127.0.0.1:{port}/0", socket_connect_timeout=1)
    counts = RedisMeters(redis, Meters(), Access, back)
    need = Need(400_000_000, 1, 1)
    with ExitStack() as stack:
        stack.enter_context(servers.redis(tmp_path / "first", port=port))
        assert (await counts.admit(one, 1)).requests_used == 1
        assert (await counts.reserve(one, 1, need)).code == outcome.OK
    # It is gone, with what it knew.
    assert [(await counts.admit(one, id_)).code for id_ in (2, 3, 4)] == [0, 0, outcome.REQUESTS]
    assert (await counts.reserve(one, 2, need)).code == outcome.OK
    counts.settle(one, 2, need, NOTHING, 0)
    assert told == []
    with servers.redis(tmp_path / "second", port=port):
        async with asyncio.timeout(10):
            while (await counts.admit(one, 5)).requests_used != 1:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        assert told == ["back"]
        await counts.close()
        await redis.aclose()


async def test_a_steady_stream_of_requests_does_not_put_its_return_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters_redis, "REST_S", 0.3)
    one, port = app(rate_limit="2/hour"), free_port()
    redis = Redis.from_url(f"redis://127.0.0.1:{port}/0", socket_connect_timeout=1)
    counts = RedisMeters(redis, Meters(), Access)
    told = [(await counts.admit(one, id_)).code for id_ in (1, 2, 3)]
    assert told == [outcome.OK, outcome.OK, outcome.REQUESTS]
    with servers.redis(tmp_path, port=port):
        async with asyncio.timeout(10):
            # No request of theirs passes here, so none of them is settled either.
            while (await counts.admit(one, 4)).code != outcome.OK:
                await asyncio.sleep(0.02)
        assert (await counts.standing("app")).running == 3
        await counts.close()
        await redis.aclose()


async def test_or_nobody_passes_where_the_settings_say_so() -> None:
    redis = Redis.from_url("redis://127.0.0.1:9/0", socket_connect_timeout=1)
    counts = RedisMeters(redis, Meters(), lambda: Access(without_redis="refuse"))
    for id_ in (1, 2):
        with pytest.raises(QueueFull) as caught:
            await counts.admit(app(concurrency=1), id_)
        assert caught.value.status == 503
        assert caught.value.retry_after is not None
    await redis.aclose()


async def test_what_a_dead_process_held_is_freed_and_counts_as_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.redis(tmp_path) as url:
        redis = Redis.from_url(url)
        one = app(concurrency=1, budget_day=1)
        monkeypatch.setattr(meters_redis, "LEASE_S", 0.2)
        dead = RedisMeters(redis, Meters(), Access)
        assert (await dead.admit(one, 1)).code == outcome.OK
        assert (await dead.reserve(one, 1, Need(600_000_000, 9, 9))).code == outcome.OK
        monkeypatch.setattr(meters_redis, "LEASE_S", 60.0)
        alive = RedisMeters(redis, Meters(), Access)
        assert (await alive.admit(one, 2)).code == outcome.CONCURRENCY
        await asyncio.sleep(0.3)
        assert (await alive.admit(one, 3)).code == outcome.OK
        told = await alive.standing("app")
        assert (told.running, told.day.money) == (1, 600_000_000)
        # Were it only slow, its late settlement counts nothing twice.
        dead.settle(one, 1, Need(600_000_000, 9, 9), Need(1, 0, 1), 0)
        await dead.close()
        assert (await alive.standing("app")).day.money == 600_000_000
        await redis.aclose()


async def test_a_lease_is_renewed_while_its_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters_redis, "LEASE_S", 0.6)
    monkeypatch.setattr(meters_redis, "RENEW_S", 0.1)
    with servers.redis(tmp_path) as url:
        redis = Redis.from_url(url)
        counts = RedisMeters(redis, Meters(), Access)
        counts.start()
        assert (await counts.admit(app(concurrency=1), 1)).code == outcome.OK
        await asyncio.sleep(1.5)
        assert (await counts.admit(app(concurrency=1), 2)).code == outcome.CONCURRENCY
        counts.settle(app(concurrency=1), 1, None, NOTHING, 0)
        await asyncio.sleep(0.1)
        assert (await counts.admit(app(concurrency=1), 3)).code == outcome.OK
        await counts.close()
        await redis.aclose()


async def test_nothing_is_held_without_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters_redis, "LEASE_S", 0.2)
    with servers.redis(tmp_path) as url:
        redis = Redis.from_url(url)
        counts, one = RedisMeters(redis, Meters(), Access), app(concurrency=1, budget_day=1)
        await counts.admit(one, 1)
        counts.settle(one, 1, None, NOTHING, 0)
        await counts.close()
        # A caller left while this was on its way.
        assert (await counts.reserve(one, 1, Need(5, 1, 1))).code == outcome.OK
        await asyncio.sleep(0.3)
        assert (await counts.admit(one, 2)).code == outcome.OK
        assert (await counts.standing("app")).running == 1
        await redis.aclose()
