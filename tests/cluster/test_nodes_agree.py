"""Two gateways over one Redis and one PostgreSQL say the same of limits, money, rests, queue,
cache, the live feed and settings."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from tests.cluster.cluster import ADMIN, PRICE, Cluster, ask, got, key, posted, until


async def test_a_rate_is_one_for_both(one_cluster: Cluster) -> None:
    nodes = one_cluster.nodes
    told = await asyncio.gather(*(ask(nodes[n % 2], "limits", f"rate {n}") for n in range(24)))
    assert [status for status, *_ in told].count(200) == 10
    assert {status for status, *_ in told} == {200, 429}


async def test_a_budget_is_one_for_both(one_cluster: Cluster) -> None:
    nodes = one_cluster.nodes
    told = await asyncio.gather(
        *(ask(nodes[n % 2], "budget", f"budget {n}", model="lab/slow") for n in range(50))
    )
    assert {status for status, *_ in told} == {200, 429}
    answered = await one_cluster.answered("budget ")
    assert answered * PRICE <= 1
    assert answered >= 25
    for node in nodes:
        _, codes = await got(node.url + "/codes", **ADMIN)
        [used] = [one["used"] for one in codes["codes"] if one["name"] == "budget"]
        assert Decimal(used["day"]["cost"]) == answered * PRICE


async def test_what_rests_on_one_rests_on_the_other(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    for number in range(4):
        await ask(one, "work", f"ill {number}", model="lab/bad")

    assert await one_cluster.asked("ill ") >= 3

    async def rests() -> bool:
        # Asked by nobody here, and known all the same.
        _, feed = await got(other.url + "/monitoring", **ADMIN)
        found = {row["target"]: row for row in feed["targets"]}
        return "lab/bad" in found and found["lab/bad"]["breaker"] != "closed"

    await until("the other node knows that it rests", rests, 10)


async def test_an_answer_kept_by_one_is_given_by_the_other(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    _, first, headers = await ask(one, "work", "keep this", model="kept")
    assert headers["x-cache"] == "miss"

    async def hit() -> bool:
        _, again, headers = await ask(other, "work", "keep this", model="kept")
        same: bool = again["choices"] == first["choices"]
        return same and headers["x-cache"] == "hit"

    await until("the other node has it", hit, 5)


async def test_a_job_is_seen_from_both_and_its_place_is_the_same(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    body = {
        "requests": [{"model": "lab/slow", "message": f"place {number}"} for number in range(30)]
    }
    _, told, _ = await posted(one.url + "/jobs/batch", body, key("work"))
    last = told["data"][-1]["id"]
    seen = await asyncio.gather(
        *(got(f"{node.url}/jobs/{last}", **key("work")) for node in (one, other))
    )
    places = [job.get("position") or 0 for _, job in seen]
    # Jobs go on between the two looks.
    assert abs(places[0] - places[1]) <= 6, places
    assert max(places) > 6

    async def done() -> bool:
        _, job = await got(f"{other.url}/jobs/{last}", **key("work"))
        return bool(job["status"] == "completed")

    await until("the queue is empty", done, 30)
    _, whole = await got(f"{other.url}/jobs?limit=100", **key("work"))
    assert {job["status"] for job in whole["data"]} == {"completed"}


async def test_the_live_feed_of_each_has_what_both_do(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    await ask(one, "work", "seen from afar")

    async def told() -> bool:
        found: list[Any] = []
        for node in (one, other):
            _, feed = await got(node.url + "/monitoring", **ADMIN)
            found.append((feed["workers"], feed["totals"]["requests"]))
        return bool(found[0] == found[1] and found[0][0] == 2)

    await until("both feeds say the same", told, 15)


async def test_a_setting_changed_on_one_holds_on_the_other(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes

    async def line(node: Any) -> Any:
        _, told = await got(node.url + "/settings", **ADMIN)
        return told["routes"]["auto"]["threshold"]

    for wanted in (0.25, None):
        change = {"routes": {"auto": {"threshold": wanted}}}
        status, _, _ = await posted(one.url + "/settings", change, ADMIN)
        assert status == 200

        async def follows(wanted: float | None = wanted) -> bool:
            return bool(await line(other) == wanted)

        await until("the other node follows", follows, 10)


HARD = "Prove that the {} of a compact set under a continuous map is compact, for case {}."
EASY = "What is the {} of a cat called, in {} words?"


async def test_the_share_of_the_strong_holds_over_both_though_each_ranks_alone(
    one_cluster: Cluster,
) -> None:
    """Each node ranks a score among its own last ones; what both give is the share asked for."""
    strong = [0, 0]
    scored = [0, 0]

    async def some(at: int, first: int) -> None:
        node = one_cluster.nodes[at]
        for number in range(first, 100, 2):
            form = HARD if number % 3 else EASY
            words = form.format(["image", "child", "sound", "colour"][number % 4], 2 * number + at)
            body = {"model": "shared", "message": words, "stream": False}
            status, told, _ = await posted(node.url + "/complete", body, key("work"))
            assert status == 200
            # A classifier that was late says nothing of the share.
            if told["route"]["score"] is not None:
                scored[at] += 1
                strong[at] += told["route"]["tier"] == "strong"

    await asyncio.gather(*(some(at, first) for at in (0, 1) for first in (0, 1)))
    assert min(scored) >= 80
    assert 0.2 <= sum(strong) / sum(scored) <= 0.4, (strong, scored)
    for at in (0, 1):
        assert 0.15 <= strong[at] / scored[at] <= 0.45, (strong, scored)


async def test_a_code_made_on_one_opens_the_other(one_cluster: Cluster) -> None:
    one, other = one_cluster.nodes
    _, made, _ = await posted(one.url + "/codes", {"name": "New"}, ADMIN)
    bearer = {"Authorization": f"Bearer {made['code']}"}

    async def opens() -> bool:
        status, _ = await got(other.url + "/v1/models", **bearer)
        return status == 200

    await until("the new code is known", opens, 5)
