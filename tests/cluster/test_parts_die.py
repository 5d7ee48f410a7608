"""Any process is killed, Redis and PostgreSQL are killed and started again, a node is cut off:
no accepted job is lost or ends twice, no budget is overrun, and nobody has to lend a hand."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp

from tests.cluster.cluster import (
    ADMIN,
    PRICE,
    Cluster,
    Node,
    ask,
    got,
    key,
    posted,
    until,
)


async def put(node: Node, words: str, count: int) -> list[str]:
    """Ids of jobs that were accepted."""
    body = {"requests": [{"model": "lab/slow", "message": f"{words} {n}"} for n in range(count)]}
    status, told, _ = await posted(node.url + "/jobs/batch", body, key("work"))
    assert status == 202
    return [row["id"] for row in told["data"]]


async def all_done(node: Node, ids: list[str], limit_s: float = 60) -> None:
    """Each of them completed, with one end."""

    async def done() -> bool:
        states = Counter[str]()
        for one in ids:
            try:
                status, job = await got(f"{node.url}/jobs/{one}", **key("work"))
            except aiohttp.ClientError:
                return False
            states[job["status"] if status == 200 else f"{status}"] += 1
        assert not states.keys() & {"error", "expired", "404"}, states
        return states["completed"] == len(ids)

    await until("all jobs are completed", done, limit_s)
    for one in ids:
        assert await ends(node, one) == ["done"]


async def ends(node: Node, job_id: str) -> list[str]:
    limit = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.get(f"{node.url}/jobs/{job_id}/events", headers=key("work")) as told,
    ):
        text = await told.text()
    names = [line.removeprefix("event: ") for line in text.splitlines() if line[:6] == "event:"]
    return [name for name in names if name in ("done", "error", "expired", "cancelled")]


async def spend(cluster: Cluster, code: str, count: int) -> Counter[int]:
    told = await asyncio.gather(
        *(
            ask(cluster.nodes[n % 2], code, f"{code}: {n}", model="lab/slow", limit_s=20)
            for n in range(count)
        )
    )
    return Counter(status for status, *_ in told)


async def well(node: Node, limit_s: float = 30) -> None:
    async def answers() -> bool:
        status, *_ = await ask(node, "work", "are you well", limit_s=5)
        return status == 200

    await until("the node answers", answers, limit_s)


async def test_a_killed_gateway_loses_no_job_and_no_budget(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    ids = await put(one, "killed", 16) + await put(other, "killed too", 8)
    paying = asyncio.create_task(spend(one_cluster, "budget-killed", 50))
    await asyncio.sleep(0.6)
    one.gateway.kill()
    await paying
    await asyncio.to_thread(one.gateway.start)
    await asyncio.sleep(0.5)
    other.gateway.kill()
    await asyncio.to_thread(other.gateway.start)
    await all_done(one, ids)
    for _ in range(2):
        await spend(one_cluster, "budget-killed", 20)
    assert await one_cluster.asked("budget-killed: ") * PRICE <= 1
    assert await one_cluster.answered("budget-killed: ") > 0


async def test_a_killed_classifier_costs_no_answer(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes

    one.classifier.kill()
    for number in range(5):
        status, *_ = await ask(one, "work", f"without it {number}", model="auto")
        assert status == 200
    status, *_ = await ask(other, "work", "with it", model="auto")
    assert status == 200
    assert await decided(one, "failure") >= 5
    await asyncio.to_thread(one.classifier.start)
    before = await decided(one, "classifier")

    async def asked_again() -> bool:
        await ask(one, "work", f"with it again {time.monotonic()}", model="auto")
        return await decided(one, "classifier") > before

    await until("the classifier is asked again", asked_again, 15)


async def decided(node: Node, source: str) -> float:
    """How many tiers were chosen so."""
    async with aiohttp.ClientSession() as session, session.get(node.url + "/metrics") as told:
        lines = (await told.text()).splitlines()
    wanted = f'source="{source}"'
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("pointsman_decisions_total") and wanted in line
    )


async def test_a_redis_that_starts_anew_loses_no_job_and_no_budget(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    ids = await put(one, "redis", 16)
    paying = asyncio.create_task(spend(one_cluster, "budget-redis", 10))
    await asyncio.sleep(0.6)
    one_cluster.redis.kill()
    await paying
    # `local`: each counts alone meanwhile, from what the ledger knew at its start.
    told = [(await ask(one, "alone", f"alone {n}"))[0] for n in range(6)]
    assert told == [200] * 4 + [429] * 2
    one.settings('without_redis = "local"', 'without_redis = "refuse"')

    async def refuses() -> bool:
        status, *_ = await ask(one, "alone", "refused")
        return status == 503

    await until("who has limits is refused", refuses, 10)
    # Who has none passes.
    assert (await ask(one, "work", "no limits"))[0] == 200
    await asyncio.to_thread(one_cluster.redis.start)
    await all_done(other, ids)
    await well(one)

    async def counted() -> bool:
        status, *_ = await ask(one, "budget-redis", "budget-redis: once more", model="lab/slow")
        return status in (200, 429)

    await until("limits are counted again", counted, 15)
    one.settings('without_redis = "refuse"', 'without_redis = "local"')
    for _ in range(3):
        await spend(one_cluster, "budget-redis", 20)
    assert await one_cluster.answered("budget-redis: ") * PRICE <= 1


async def test_a_database_that_starts_anew_loses_no_row(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    before = await requests(one)
    ids = await put(one, "database", 8)
    for number in range(5):
        assert (await ask(one, "work", f"before {number}"))[0] == 200
    one_cluster.postgres.kill()
    for number in range(10):
        node = one_cluster.nodes[number % 2]
        assert (await ask(node, "work", f"without {number}"))[0] == 200
    await asyncio.sleep(2)
    await asyncio.to_thread(one_cluster.postgres.start)
    await all_done(other, ids)

    async def whole() -> bool:
        return bool(await requests(other) >= before + 15 + len(ids))

    await until("the ledger has what was asked meanwhile", whole, 40)
    status, _, _ = await posted(
        other.url + "/settings", {"routes": {"auto": {"threshold": None}}}, ADMIN
    )
    assert status == 200


async def requests(node: Node) -> int:
    async def flushed() -> Any:
        status, told = await got(node.url + "/usage", **ADMIN)
        assert status == 200
        return told["total"]["requests"]

    await asyncio.sleep(0.6)
    return int(await flushed())


async def test_a_node_that_was_cut_off_comes_back_by_itself(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    ids = await put(one, "cut", 16) + await put(other, "cut too", 8)
    paying = asyncio.create_task(spend(one_cluster, "budget-cut", 30))
    await asyncio.sleep(0.6)
    one.cut()
    try:
        change: dict[str, Any] = {"routes": {"auto": {"threshold": 0.4}}}
        assert (await posted(other.url + "/settings", change, ADMIN))[0] == 200
        # What it had claimed is taken by the other.
        await all_done(other, ids)
        assert (await ask(other, "work", "alone now"))[0] == 200
        told = await paying
    finally:
        one.back()
    await well(one, 60)

    async def follows() -> bool:
        _, told = await got(one.url + "/settings", **ADMIN)
        return bool(told["routes"]["auto"]["threshold"] == 0.4)

    await until("it has the settings that were changed meanwhile", follows, 60)
    change = {"routes": {"auto": {"threshold": None}}}
    assert (await posted(one.url + "/settings", change, ADMIN))[0] == 200
    for _ in range(2):
        told += await spend(one_cluster, "budget-cut", 30)
    assert told[200] * PRICE <= 1
    # Who was cut off and left before his answer began paid nothing for it.
    assert (await one_cluster.asked("budget-cut: ") - told[0]) * PRICE <= 1
    # Nothing that it did while it was away is heard twice.
    for job in ids:
        assert await ends(one, job) == ["done"]
