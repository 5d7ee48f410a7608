"""Rests that two processes share over a real Redis, and what happens while it is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from chat.errors import Broken, Denied, Limit
from gateway.engine.cooldown import Change, CooldownTable
from gateway.rests.shared import COUNTS, PROBE, SharedRests
from gateway.rests.words import read, written
from gateway.settings import Cooldown
from gateway.store.redis import connect
from tests.accounts.processes import gateway
from tests.ports import free_port
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream
from tests.store import servers

SETTINGS = Cooldown(failures=3, rest_s=0.3, max_s=60)


async def until(holds: Callable[[], bool], limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def processes(url: str, count: int = 2) -> AsyncGenerator[list[SharedRests], None]:
    """Tables as processes have them, each with a connection of its own."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            redis = connect(url)
            assert isinstance(redis, Redis)
            stack.push_async_callback(redis.aclose)
            rests = SharedRests(CooldownTable(SETTINGS, time.monotonic), redis)
            rests.start()
            stack.push_async_callback(rests.close)
            found.append(rests)
        await until(lambda: all(rests.connected for rests in found))
        yield found


def fail(rests: SharedRests, target: str = "a/m") -> None:
    for _ in range(3):
        rests.failed(target, Broken("no"))


async def entered(rests: SharedRests, target: str = "a/m") -> int | None:
    probe = rests.enter(target)
    return probe if probe is None or isinstance(probe, int) else await probe


async def test_a_rest_is_a_rest_for_all(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url) as (one, two):
            assert two.calm()
            one.failed("a/m", Limit("slow down", retry_after=7))
            one.failed("b/m", Denied("no", upstream_status=401))
            await until(lambda: two.resting("b/m") is not None)
            rest = two.resting("a/m")
            assert rest is not None
            assert rest.firm
            assert 6 < rest.seconds <= 7
            assert isinstance(rest.error, Limit)
            assert rest.error.message == "slow down"
            assert await entered(two) is None


async def test_a_half_open_target_has_one_probe_over_all_processes(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url, 3) as all_of_them:
            fail(all_of_them[0])
            await until(lambda: all(rests.resting("a/m") for rests in all_of_them))
            await asyncio.sleep(SETTINGS.rest_s + 0.1)
            tickets = await asyncio.gather(*(entered(rests) for rests in all_of_them * 3))
            probes = [ticket for ticket in tickets if ticket is not None]
            assert len(probes) == 1
            at = tickets.index(probes[0]) % 3
            # It failed: all rest twice as long.
            all_of_them[at].failed("a/m", Broken("no"), probes[0])
            await until(lambda: all(rests.resting("a/m") for rests in all_of_them))
            for rests in all_of_them:
                rest = rests.resting("a/m")
                assert rest is not None
                assert rest.seconds > SETTINGS.rest_s
            await asyncio.sleep(2 * SETTINGS.rest_s + 0.1)
            # The next one may be another's, and its first event closes the breaker for all.
            other = all_of_them[(at + 1) % 3]
            ticket = await entered(other)
            assert ticket
            other.answered("a/m", ticket)
            await asyncio.sleep(0.2)
            assert [await entered(rests) for rests in all_of_them] == [0, 0, 0]
            other.succeeded("a/m")
            await until(lambda: all(rests.calm() for rests in all_of_them))


async def test_failures_of_all_processes_add_up_to_the_limit(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url, 3) as three:
            for rests in three:
                assert all(one.resting("a/m") is None for one in three)
                rests.failed("a/m", Broken("no"))
                await until(lambda: not any(one.calm() for one in three))
                await asyncio.sleep(0.2)
            await until(lambda: all(one.resting("a/m") for one in three))


async def test_failures_at_one_moment_open_the_breaker_though_nobody_saw_all(
    tmp_path: Path,
) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url, 3) as three:
            for rests in three:
                rests.failed("a/m", Broken("no"))
            assert not any(rests.resting("a/m") for rests in three)
            await until(lambda: all(one.resting("a/m") for one in three), SETTINGS.rest_s)


async def test_answers_of_other_processes_count_and_are_told_together(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url) as (one, two):
            redis = connect(url)
            assert isinstance(redis, Redis)

            async def told() -> int:
                return int((await redis.info("commandstats"))["cmdstat_publish"]["calls"])

            one.failed("a/m", Broken("no"))
            await until(lambda: not two.calm())
            before = await told()
            for _ in range(500):
                assert not two.calm()
                two.succeeded("a/m")
            await asyncio.sleep(1.5)
            assert await told() - before <= 3
            for _ in range(20):
                one.failed("a/m", Broken("no"))
            assert one.resting("a/m") is None
            await asyncio.sleep(0.3)
            assert two.resting("a/m") is None
            await redis.aclose()


async def test_of_a_target_that_does_not_fail_nothing_is_told(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url) as (one, _):
            redis = connect(url)
            assert isinstance(redis, Redis)
            for _ in range(100):
                one.succeeded("a/m")
            await asyncio.sleep(1.3)
            assert "cmdstat_publish" not in await redis.info("commandstats")
            await redis.aclose()


async def test_a_probe_that_is_given_up_frees_its_place_everywhere(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url) as (one, two):
            fail(one)
            await until(lambda: two.resting("a/m") is not None)
            await asyncio.sleep(SETTINGS.rest_s + 0.1)
            ticket = await entered(one)
            assert ticket
            assert await entered(two) is None
            one.left("a/m", ticket)
            await asyncio.sleep(0.2)
            assert await entered(two)


async def test_a_process_that_starts_later_knows_who_rests(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url, 1) as (one,):
            one.failed("a/m", Limit("slow down", retry_after=9))
            await asyncio.sleep(0.2)
            async with processes(url, 1) as (late,):
                rest = late.resting("a/m")
                assert rest is not None
                assert 7 < rest.seconds <= 9


async def test_while_the_redis_is_gone_each_goes_on_alone_and_catches_up(tmp_path: Path) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        with servers.redis(tmp_path / "first", port=port) as url:
            one, two = await stack.enter_async_context(processes(url))
        await until(lambda: not one.connected and not two.connected)
        fail(one)
        assert one.resting("a/m") is not None
        assert two.calm()
        await asyncio.sleep(SETTINGS.rest_s + 0.1)
        # Nobody can be asked: this process decides alone, at once.
        began = time.monotonic()
        ticket = await entered(one)
        assert ticket
        assert time.monotonic() - began < 1
        one.failed("a/m", Limit("slow down", retry_after=30), ticket)
        with servers.redis(tmp_path / "second", port=port):
            await until(lambda: one.connected and two.connected, 10)
            await until(lambda: two.resting("a/m") is not None)


async def test_nonsense_on_the_channel_is_not_heard(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url) as (one, two):
            redis = connect(url)
            assert redis is not None
            for nonsense in (b"{", b"7", b"{}", b'{"from": 1, "target": 2, "error": 3}'):
                await redis.publish("pointsman:rests", nonsense)
                await redis.publish(COUNTS, nonsense)
            for nonsense in (b'{"from": 1, "rows": [["a/m"]]}', b'{"from": 1, "rows": [1]}'):
                await redis.publish(COUNTS, nonsense)
            await redis.aclose()
            fail(one)
            await until(lambda: two.resting("a/m") is not None)


async def test_a_probe_of_a_dead_process_is_not_for_ever(tmp_path: Path) -> None:
    with servers.redis(tmp_path) as url:
        async with processes(url, 1) as (one,):
            redis = connect(url)
            assert redis is not None
            await redis.set(PROBE + "a/m", "the dead", nx=True, px=300)
            fail(one)
            await asyncio.sleep(SETTINGS.rest_s + 0.1)
            await asyncio.sleep(0.1)
            assert await entered(one)
            await redis.aclose()


@asynccontextmanager
async def two_gateways(
    tmp_path: Path, cooldown: str
) -> AsyncGenerator[tuple[ReplayServer, Callable[[int], Awaitable[int]]]]:
    """Processes over one Redis before an upstream that fails, and what asks one of them: its number
    -> the status."""
    with servers.redis(tmp_path / "redis") as url:
        async with ReplayServer(openai_error(500)) as upstream, AsyncExitStack() as stack:
            toml = (
                f'[store]\ndatabase = ""\nredis = "{url}"\n'
                f'[providers.lab]\nkind = "openai"\nbase_url = "{upstream.url}/v1"\n'
                f"[attempts]\nper_target = 1\n[cooldown]\n{cooldown}"
            )
            found = [
                await stack.enter_async_context(gateway(tmp_path, toml, name=name))
                for name in ("one", "two")
            ]
            session = await stack.enter_async_context(aiohttp.ClientSession())

            async def ask(at: int) -> int:
                body = {"message": "Hi", "model": "lab/m"}
                async with session.post(found[at].url + "/complete", json=body) as response:
                    await response.read()
                    return response.status

            yield upstream, ask


async def test_two_gateway_processes_count_failures_together(tmp_path: Path) -> None:
    limit = 5
    async with two_gateways(tmp_path, f"failures = {limit}\nrest_s = 2\n") as (upstream, ask):
        for number in range(limit):
            assert await ask(number % 2) == 502
            await asyncio.sleep(0.3)
        # Both rest. As there is no other target one of all that ask finds out, early.
        upstream.play(Play(openai_stream("good"), before_s=1.0))
        statuses = await asyncio.gather(*(ask(number % 2) for number in range(10)))
        assert sorted(statuses) == [200] + [503] * 9
        assert len(upstream.received) == limit + 1


@pytest.mark.parametrize("error", [Broken("x"), Limit("y", retry_after=3), Denied("z"), None])
def test_words_are_read_as_they_were_written(error: Broken | Limit | Denied | None) -> None:
    change = Change("a/m", 3.5, error, firm=True, rests=2, trusted=error is None)
    sender, found = read(written(change, "me"))
    assert sender == "me"
    assert (found.target, found.seconds, found.firm, found.rests) == ("a/m", 3.5, True, 2)
    assert type(found.error) is type(error)


async def test_two_gateway_processes_spare_a_target_together(tmp_path: Path) -> None:
    async with two_gateways(tmp_path, "failures = 3\nrest_s = 1\n") as (upstream, ask):
        assert [await ask(0) for _ in range(3)] == [502] * 3
        await asyncio.sleep(0.3)
        # The second process never failed, and does not ask to find out.
        assert await ask(1) == 503 or len(upstream.received) == 4
        asked = len(upstream.received)
        await asyncio.sleep(1.2)
        upstream.play(Play(openai_stream("good"), before_s=0.5))
        both = await asyncio.gather(*(ask(at % 2) for at in range(8)))
        assert sorted(both) == [200] + [503] * 7
        assert len(upstream.received) == asked + 1
