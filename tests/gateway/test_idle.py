"""A gateway that nobody asks sleeps, and whoever comes then finds it as ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from gateway.engine.pressure import CROWD, EACH, LOOK_S, Pressure
from gateway.monitor.access import FLUSH_S, AccessLog, Line, Visit
from gateway.settings import Server
from tests.accounts.processes import gateway
from tests.replay.gateway import ADMIN, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

MOST_WAKES = 25
"""A second, of all threads together: those of one that looks at everything by the clock are 130."""
SECONDS = 3.0


async def until(true: Callable[[], bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not true():
            await asyncio.sleep(0.01)


def wakes(pid: int) -> int:
    """How often its threads went to sleep until now, by themselves."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            found += int(value) if name == "voluntary_ctxt_switches" else 0
    return found


async def often(pid: int) -> float:
    """Wakes a second, in the next ones."""
    before, began = await asyncio.to_thread(wakes, pid), time.monotonic()
    await asyncio.sleep(SECONDS)
    return (await asyncio.to_thread(wakes, pid) - before) / (time.monotonic() - began)


async def test_a_gateway_that_nobody_asks_hardly_wakes(tmp_path: Path) -> None:
    async with ReplayServer(Play(openai_stream("Hello"))) as upstream:
        text = f"""
[classifier]
url = "http://127.0.0.1:9"
[store]
database = "sqlite:///{tmp_path}/pointsman.db"
[providers.easy]
kind = "openai"
base_url = "{upstream.url}/v1"
[routes.auto]
local = ["easy/m"]
strong = ["easy/m"]
"""
        async with gateway(tmp_path, text) as one, aiohttp.ClientSession() as session:
            for _ in range(2):
                # It was asked, and all that this leaves behind is done.
                async with session.post(one.url + "/complete", json={"message": "Hi"}) as answer:
                    assert answer.status == 200
                    await answer.read()
                # In some moment: on a busy machine threads wake to wait on for each other.
                async with asyncio.timeout(60):
                    while await often(one.child.pid) > MOST_WAKES:
                        pass


async def test_the_live_page_of_an_idle_gateway_shows_what_is_so_now() -> None:
    held = Play(openai_stream("never"), stall=0)
    async with ReplayServer(held) as upstream:
        given = settings(
            providers={"easy": openai_provider(upstream.url)},
            routes={"auto": {"local": ["easy/m"], "strong": ["easy/m"]}},
        )
        async with running(given) as one:

            async def in_flight() -> int:
                address = one.url + "/monitoring"
                async with one.session.get(address, headers=ADMIN) as answer:
                    assert answer.status == 200
                    return int((await answer.json())["in_flight"])

            assert await in_flight() == 0
            asking = asyncio.create_task(one.complete(message="Hi"))
            await upstream.until_received(1)
            # Nothing has ended, so nobody ticks.
            async with asyncio.timeout(10):
                while await in_flight() != 1:
                    await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def test_the_access_log_writes_what_comes_after_a_rest() -> None:
    written: list[Line] = []
    log = AccessLog(lambda at, entry: (b"%d" % entry.status, b""), written.extend)  # type: ignore[union-attr]
    for number in range(3):
        await until(lambda: log._rests)
        # It was woken by nothing.
        await asyncio.sleep(2 * FLUSH_S)
        assert log._rests
        log.visited(Visit("r", "GET", "/jobs", number, None, None, 1.0))
        await until(lambda: len(written) == number + 1)  # noqa: B023
    await until(lambda: log._rests)
    log.visited(Visit("r", "GET", "/jobs", 3, None, None, 1.0))
    await asyncio.to_thread(log.stop)
    assert written == [(b"%d" % number, b"") for number in range(4)]


@pytest.mark.parametrize("at_once", [CROWD, 1])
async def test_the_loop_is_looked_at_while_many_ask_at_once_or_one_after_the_other(
    at_once: int,
) -> None:
    pressure = Pressure(Server(max_lag_ms=100))
    pressure.start()
    for _ in range(2):
        await until(lambda: pressure._timer is None)
        for _ in range(1 if at_once == CROWD else EACH):
            pressure.begin(at_once)
        # Late twice running, as ever.
        for _ in range(2):
            await asyncio.sleep(LOOK_S / 2)
            time.sleep(0.4)  # noqa: ASYNC251 -- that is the point
        await until(lambda: pressure.tight)
        pressure.tight = False
    pressure.stop()


async def test_few_requests_wake_nobody_to_look_at_the_loop() -> None:
    pressure = Pressure(Server())
    pressure.start()
    await until(lambda: pressure._timer is None)
    pressure.begin(1)
    assert pressure._timer is not None, "the first is looked at"
    await until(lambda: pressure._timer is None)
    for _ in range(EACH - 1):
        assert pressure.turns_away(CROWD - 1) is None
        pressure.begin(CROWD - 1)
        assert pressure._timer is None
    pressure.stop()
