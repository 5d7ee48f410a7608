"""One contract, kept by the queue on SQLite, on PostgreSQL and in Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from gateway.jobs.job import Search
from gateway.jobs.queue import FullError, KeyReusedError, Queue
from tests.jobs import queues
from tests.jobs.queues import job, put


@pytest.fixture(scope="module", params=queues.KINDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with queues.store(request.param, tmp_path_factory.mktemp(request.param)) as url:
        asyncio.run(queues.prepare(url))
        yield url


@pytest.fixture
async def queue(url: str) -> AsyncGenerator[Queue]:
    async with queues.queue(url) as found:
        # Whatever an earlier test left.
        while (left := await found.claim("sweeper", 60)) is not None:
            await found.finish(left.id, "sweeper", "error", None, None)
        yield found


async def test_the_first_comes_first_and_each_knows_his_place(queue: Queue) -> None:
    ids = [(await put(queue, job(app=f"app{n}")))[0] for n in range(5)]
    assert [await queue.position(one) for one in ids] == [1, 2, 3, 4, 5]
    taken = await queue.claim("w1", 60)
    assert taken is not None
    assert taken.id == ids[0]
    assert taken.status == "processing"
    assert [await queue.position(one) for one in ids] == [None, 1, 2, 3, 4]


async def test_a_place_is_what_counting_says(queue: Queue) -> None:
    chance = random.Random(7)
    ids: list[str] = []
    for _ in range(120):
        ids += await put(
            queue,
            job(app=f"app{chance.randrange(9)}", priority=chance.randrange(-3, 4)),
            spread=chance.choice([0.01, 1.0, 300.0]),
        )
    for _ in range(30):
        assert await queue.cancel(ids.pop(chance.randrange(len(ids)))) == "queued"
    places = {await queue.position(one): one for one in ids}
    assert set(places) == set(range(1, len(ids) + 1))
    for place in range(1, len(ids) + 1):
        taken = await queue.claim(f"w{place}", 60)
        assert taken is not None
        assert taken.id == places[place]
    assert await queue.claim("last", 60) is None
    assert (await queue.stats()).waiting == 0


async def test_a_flood_of_one_application_leaves_room_for_the_others(queue: Queue) -> None:
    flood = await put(queue, *(job(app="flood") for _ in range(50)), spread=1.0)
    (late,) = await put(queue, job(app="late"), spread=1.0)
    assert await queue.position(late) == 2
    assert await queue.position(flood[-1]) == 51


async def test_a_higher_priority_goes_first_but_not_before_one_who_waited_long(
    queue: Queue,
) -> None:
    (low,) = await put(queue, job(app="low"))
    (high,) = await put(queue, job(app="high", priority=1))
    assert (await queue.position(high), await queue.position(low)) == (1, 2)
    # A step is worth 60 s of waiting; here it is worth nothing, so whoever came first is first.
    await queue.enqueue([job(app="z", priority=9)], capacity=99, spread=0.0, boost=0.0)
    assert (await queue.position(high), await queue.position(low)) == (1, 2)


async def test_a_full_queue_takes_all_or_none(queue: Queue) -> None:
    await put(queue, *(job() for _ in range(3)), capacity=4)
    with pytest.raises(FullError) as caught:
        await put(queue, job(), job(), capacity=4)
    assert caught.value.waiting == 3
    assert (await queue.stats()).waiting == 3
    await put(queue, job(), capacity=4)
    assert (await queue.stats()).waiting == 4


async def test_callers_at_once_never_overfill_the_queue(queue: Queue) -> None:
    found = await asyncio.gather(
        *(put(queue, job(app=f"x{n}"), capacity=10) for n in range(30)), return_exceptions=True
    )
    assert sum(isinstance(one, list) for one in found) == 10
    assert (await queue.stats()).waiting == 10


async def test_the_same_key_gives_the_same_job_and_another_question_is_refused(
    queue: Queue,
) -> None:
    first = job(app="idem", idem_key="k1", digest="d1")
    (name,) = await put(queue, first)
    again = await queue.enqueue(
        [job(app="idem", idem_key="k1", digest="d1")], capacity=99, spread=0, boost=0
    )
    assert again == [(name, False)]
    with pytest.raises(KeyReusedError):
        await put(queue, job(app="idem", idem_key="k1", digest="d2"))
    (other,) = await put(queue, job(app="idem2", idem_key="k1", digest="d2"))
    assert other != name
    # Also when they come at once.
    names = await asyncio.gather(
        *(put(queue, job(app="idem", idem_key="k9", digest="d")) for _ in range(8))
    )
    assert len({one[0] for one in names}) == 1


async def test_events_come_in_order_and_only_from_whoever_has_the_lease(queue: Queue) -> None:
    (name,) = await put(queue, job())
    assert await queue.claim("mine", 60) is not None
    assert await queue.append(name, "mine", [("token", '{"text":"a"}'), ("token", '{"text":"b"}')])
    assert not await queue.append(name, "other", [("token", "{}")])
    assert not await queue.finish(name, "other", "completed", "{}", None)
    seen = await queue.events(name, 0)
    assert [(one.n, one.kind) for one in seen] == [(1, "processing"), (2, "token"), (3, "token")]
    assert [one.data for one in await queue.events(name, 2)] == ['{"text":"b"}']
    assert await queue.finish(name, "mine", "completed", '{"x":1}', None)
    assert not await queue.finish(name, "mine", "completed", '{"x":2}', None)
    found = await queue.get(name)
    assert found is not None
    assert (found.status, found.result) == ("completed", '{"x":1}')
    kind, seconds = (await queue.durations())[0]
    assert kind == "t"
    assert 0 <= seconds < 5


async def test_a_lost_lease_is_given_back_and_its_worker_is_not_heard(queue: Queue) -> None:
    (name,) = await put(queue, job(app="lost"))
    assert await queue.claim("dead", 0.05) is not None
    await asyncio.sleep(0.1)
    assert not await queue.finish(name, "dead", "completed", "late", None)
    assert await queue.renew(["dead"], 60) == set()
    assert (name, "queued") in await queue.reap(max_claims=5, retention_s=9e9)
    assert await queue.position(name) == 1
    taken = await queue.claim("alive", 60)
    assert taken is not None
    assert taken.claims == 2
    assert [one.kind for one in await queue.events(name, 0)] == ["processing", "restarted"]
    assert not await queue.append(name, "dead", [("token", "{}")])
    assert await queue.renew(["alive", "dead"], 60) == {"alive"}


async def test_a_job_that_kills_its_workers_ends_as_an_error(queue: Queue) -> None:
    (name,) = await put(queue, job())
    for number in range(2):
        assert await queue.claim(f"victim{number}", 0.01) is not None
        await asyncio.sleep(0.05)
        await queue.reap(max_claims=2, retention_s=9e9)
    found = await queue.get(name)
    assert found is not None
    assert found.status == "error"
    assert "worker_lost" in (found.error or "")


async def test_what_is_given_back_has_its_old_place(queue: Queue) -> None:
    first, second = await put(queue, job(app="a")) + await put(queue, job(app="b"))
    taken = await queue.claim("w", 60)
    assert taken is not None
    assert await queue.release(first, "w")
    assert (await queue.position(first), await queue.position(second)) == (1, 2)
    assert not await queue.release(first, "w")
    again = await queue.claim("w2", 60)
    assert again is not None
    assert (again.id, again.claims) == (first, 1)
    # Whoever reads along learns that what came before is void.
    assert [one.kind for one in await queue.events(first, 0)] == ["processing", "restarted"]


async def test_what_a_limit_holds_waits_in_nobodys_way_and_comes_back_in_its_place(
    queue: Queue,
) -> None:
    first, second = await put(queue, job(app="over"), job(app="over", type="quiz"), spread=0.001)
    (other,) = await put(queue, job(app="other"))
    assert await queue.claim("w", 60) is not None
    assert not await queue.hold(first, "nobody", 5.0)
    assert await queue.hold(first, "w", 1.0)
    assert not await queue.hold(first, "w", 1.0)
    # Nobody heard of it, and the others of its application wait with it.
    found = await queue.get(first)
    assert found is not None
    assert (found.status, found.held, found.claims, found.started_at) == ("queued", True, 0, None)
    assert await queue.events(first, 0) == []
    held = await queue.held(first)
    assert held is not None
    assert 0.5 < held.left_s <= 1.0
    assert held.before == 0
    taken = await queue.claim("w2", 60)
    assert taken is not None
    assert taken.id == other
    assert await queue.finish(other, "w2", "completed", "{}", None)
    assert await queue.claim("w3", 60) is None
    held = await queue.held(second)
    assert held is not None
    assert held.before == 1
    (last,) = await put(queue, job(app="other"))
    (new,) = await put(queue, job(app="over"))
    assert await queue.position(new) == 4
    assert await queue.cancel(new) == "queued"
    assert [await queue.position(one) for one in (first, second, last)] == [1, 2, 1]
    stats = await queue.stats()
    assert (stats.waiting, stats.types) == (3, {"t": 2, "quiz": 1})
    assert {one.id for one in await queue.search(Search(status="queued"))} == {first, second, last}
    async with asyncio.timeout(10):
        while (first, "queued") not in await queue.reap(max_claims=5, retention_s=9e9):
            await asyncio.sleep(0.05)
    assert await queue.held(second) is None
    assert [await queue.position(one) for one in (first, second, last)] == [1, 2, 3]
    for name in (first, second, last):
        again = await queue.claim(f"again{name}", 60)
        assert again is not None
        assert (again.id, again.claims, again.held) == (name, 1, False)
        assert [one.kind for one in await queue.events(name, 0)] == ["processing"]
        assert await queue.finish(name, f"again{name}", "completed", "{}", None)
    assert (await queue.stats()).waiting == 0


async def test_what_a_limit_holds_leaves_others_the_room_that_it_would_in_the_line(
    queue: Queue,
) -> None:
    (first,) = await put(queue, job(app="a"))
    assert await queue.claim("w", 60) is not None
    assert await queue.hold(first, "w", 0.3)
    held = [(await put(queue, job(app="a"), spread=30.0))[0] for _ in range(2)]
    (other,) = await put(queue, job(app="b"), spread=30.0)
    back: set[str] = set()
    async with asyncio.timeout(10):
        while not back >= {first, *held}:
            await asyncio.sleep(0.05)
            back |= {name for name, _ in await queue.reap(max_claims=5, retention_s=9e9)}
    for name in (first, other, *held):
        taken = await queue.claim("w", 60)
        assert taken is not None
        assert taken.id == name
        assert await queue.finish(name, "w", "completed", "{}", None)


async def test_what_a_limit_holds_expires_and_is_cancelled_as_what_waits(queue: Queue) -> None:
    first, late, gone = await put(
        queue,
        *(job(app="h"), job(app="h", timeout_s=0.2), job(app="h")),
        capacity=3,
        spread=0.001,
    )
    assert await queue.claim("w", 60) is not None
    assert await queue.hold(first, "w", 60.0)
    await queue.reap(max_claims=5, retention_s=9e9)
    with pytest.raises(FullError):
        await put(queue, job(app="x"), capacity=3)
    assert await queue.cancel(gone) == "queued"
    assert await queue.held(gone) is None
    await asyncio.sleep(0.25)
    assert (late, "expired") in await queue.reap(max_claims=5, retention_s=9e9)
    stats = await queue.stats()
    assert (stats.waiting, stats.types) == (1, {"t": 1})
    assert await queue.position(first) == 1
    assert await queue.cancel(first) == "queued"
    assert (await queue.stats()).waiting == 0


async def test_a_flood_over_its_limit_comes_through_in_order(queue: Queue) -> None:
    """More than one sweep takes."""
    ids = await put(queue, *(job(app="flood2") for _ in range(700)), spread=0.001)
    taken = await queue.claim("w", 60)
    assert taken is not None
    assert await queue.hold(taken.id, "w", 0.3)
    (other,) = await put(queue, job(app="beside"))
    beside = await queue.claim("w2", 60)
    assert beside is not None
    assert beside.id == other
    assert await queue.finish(other, "w2", "completed", "{}", None)
    assert await queue.claim("w3", 60) is None
    await asyncio.sleep(0.35)
    for _ in range(3):
        await queue.reap(max_claims=5, retention_s=9e9)
    assert [await queue.position(one) for one in (ids[0], ids[600], ids[-1])] == [1, 601, 700]
    for n, name in enumerate(ids):
        one = await queue.claim(f"f{n}", 60)
        assert one is not None
        assert one.id == name
        await queue.finish(name, f"f{n}", "completed", "{}", None)
    for _ in range(3):
        await queue.reap(max_claims=5, retention_s=0.0)


async def test_who_waits_too_long_expires_and_never_runs(queue: Queue) -> None:
    (name,) = await put(queue, job(timeout_s=0.05))
    await asyncio.sleep(0.1)
    assert await queue.claim("w", 60) is None
    assert (name, "expired") in await queue.reap(max_claims=5, retention_s=9e9)
    found = await queue.get(name)
    assert found is not None
    assert found.status == "expired"
    assert (await queue.stats()).waiting == 0


async def test_cancelling_frees_the_place_and_fences_the_worker(queue: Queue) -> None:
    waits, runs = await put(queue, job(app="a")) + await put(queue, job(app="b"))
    assert await queue.cancel(waits) == "queued"
    taken = await queue.claim("w", 60)
    assert taken is not None
    assert taken.id == runs
    assert await queue.cancel(runs) == "processing"
    assert await queue.renew(["w"], 60) == set()
    assert not await queue.finish(runs, "w", "completed", "{}", None)
    assert await queue.cancel(runs) == "cancelled"
    assert await queue.cancel("nothing") is None


async def test_the_history_is_searched_and_forgotten_in_time(queue: Queue) -> None:
    name = f"h{random.random()}"
    ids = await put(
        queue,
        job(app=name, question="Flowers of Java"),
        job(app=name, question="100% of 'x'; DROP TABLE jobs; --"),
        job(app=name, question="under_score"),
    )
    await queue.cancel(ids[2])
    every = await queue.search(Search(app_id=name))
    assert [one.id for one in every] == ids[::-1]

    async def found(**given: object) -> list[str]:
        return [one.id for one in await queue.search(Search(app_id=name, **given))]  # type: ignore[arg-type]

    assert await found(text="flowers") == [ids[0]]
    assert await found(text="100%") == [ids[1]]
    assert await found(text="%") == [ids[1]]
    assert await found(text="'x'; DROP") == [ids[1]]
    assert await found(text="r_s") == [ids[2]]
    assert await found(status="cancelled") == [ids[2]]
    assert await found(limit=1) == [ids[2]]
    assert await found(before=every[0].seq) == [ids[1], ids[0]]
    await asyncio.sleep(0.05)
    await queue.reap(max_claims=5, retention_s=0.01)
    assert await found() == [ids[1], ids[0]]
    assert await queue.get(ids[2]) is None


async def test_a_webhook_is_told_until_it_was(queue: Queue) -> None:
    (name,) = await put(queue, job(webhook="https://x.example/"))
    assert await queue.due_hooks(9) == []
    await queue.cancel(name)
    due = await queue.due_hooks(9)
    assert [(one.id, one.hook_tries, one.hook_state) for one in due] == [(name, 1, "pending")]
    # Whoever took it has time for it.
    assert await queue.due_hooks(9) == []
    await queue.hook_told(name, "pending", 0.0)
    assert [one.hook_tries for one in await queue.due_hooks(9)] == [2]
    await queue.hook_told(name, "delivered", None)
    assert await queue.due_hooks(9) == []


async def test_workers_that_live_are_counted(queue: Queue) -> None:
    await queue.beat("p1", 4, 1)
    await queue.beat("p2", 2, 2)
    stats = await queue.stats()
    assert (stats.slots, stats.busy) == (6, 3)
    await queue.beat("p1", 0, 0)
    await queue.beat("p2", 0, 0)
    assert (await queue.stats()).slots == 0


async def test_what_waits_is_counted_by_type(queue: Queue) -> None:
    await put(queue, job(type="quiz"), job(type="quiz"), job(type="O'Reilly \\ %"))
    stats = await queue.stats()
    assert stats.types == {"quiz": 2, "O'Reilly \\ %": 1}
    assert stats.waiting == 3
    assert 0 <= stats.oldest_s < 30


async def test_any_text_comes_back_as_it_was(queue: Queue, tmp_path: Path) -> None:
    body = '{"message":"\\u0000 \U0001f600 \'; -- \\\\"}'
    (name,) = await put(queue, job(body=body))
    found = await queue.get(name)
    assert found is not None
    assert found.body == body
