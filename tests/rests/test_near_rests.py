"""Rests that the workers of one machine share in memory, without a Redis."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chat.errors import Broken, Denied, Limit
from gateway.engine.cooldown import CooldownTable
from gateway.rests.near import PROBES, SLOTS, NearRests, RestsBoard
from gateway.rests.near_tally import TARGETS
from gateway.settings import Cooldown
from tests.accounts.processes import gateway
from tests.faults.seen import toml
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream

SETTINGS = Cooldown(failures=3, rest_s=10, max_s=600)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def workers(count: int = 2) -> tuple[Clock, RestsBoard, list[NearRests]]:
    clock, board = Clock(), RestsBoard(8)
    return clock, board, [worker(board, number, clock) for number in range(count)]


def worker(board: RestsBoard, number: int, clock: Clock) -> NearRests:
    return NearRests(board, number, CooldownTable(SETTINGS, clock), clock)


def fail(rests: NearRests, target: str = "a/m") -> None:
    for _ in range(3):
        rests.failed(target, Broken("no"))


def test_a_rest_is_a_rest_for_all() -> None:
    clock, _, (one, two) = workers()
    assert two.calm()
    one.failed("a/m", Limit("slow down", retry_after=7))
    clock.now += 2
    assert not two.calm()
    rest = two.resting("a/m")
    assert rest is not None
    assert rest.firm
    assert rest.seconds == 5
    assert isinstance(rest.error, Limit)
    assert rest.error.message == "slow down"
    assert two.enter("a/m") is None
    assert two.enter("b/m") == 0


def test_a_half_open_target_has_one_probe_over_all_workers() -> None:
    clock, _, three = workers(3)
    fail(three[0])
    clock.now += SETTINGS.rest_s + 1
    tickets = [one.enter("a/m") for one in three * 3]
    assert [ticket for ticket in tickets if ticket] == tickets[:1]
    # It failed: all rest twice as long.
    ticket = tickets[0]
    assert ticket
    three[0].failed("a/m", Broken("no"), ticket)
    for one in three:
        rest = one.resting("a/m")
        assert rest is not None
        assert rest.seconds == 2 * SETTINGS.rest_s
    clock.now += 2 * SETTINGS.rest_s + 1
    # The next one is another's, and its first event closes the breaker for all.
    ticket = three[1].enter("a/m")
    assert ticket
    assert three[0].enter("a/m") is None
    three[1].answered("a/m", ticket)
    assert [one.enter("a/m") for one in three] == [0, 0, 0]
    three[1].succeeded("a/m")
    assert all(one.calm() for one in three)


def test_failures_of_all_workers_add_up_to_the_limit() -> None:
    _, board, three = workers(3)
    for one in three:
        assert one.resting("a/m") is None
        one.failed("a/m", Broken("no"))
    assert all(one.resting("a/m") for one in three)
    # What was counted is forgotten with it.
    assert not board.tallies.numbers[0]


def test_answers_of_all_workers_count_beside_the_failures_of_one() -> None:
    clock, _, (one, two) = workers()
    one.failed("a/m", Broken("no"))
    for _ in range(10):
        assert not two.calm()
        two.succeeded("a/m")
    for _ in range(8):
        one.failed("a/m", Broken("no"))
        assert one.resting("a/m") is None
    one.failed("a/m", Broken("no"))
    assert one.resting("a/m") is not None
    assert two.resting("a/m") is not None
    clock.now += SETTINGS.window_s + 1
    two.failed("b/m", Broken("no"))
    clock.now += SETTINGS.window_s + 1
    for _ in range(2):
        one.failed("b/m", Broken("no"))
    # The one of long ago counts no more.
    assert one.resting("b/m") is None


def test_failures_of_a_worker_that_died_go_on_counting() -> None:
    clock, board, (one, two) = workers()
    one.failed("a/m", Broken("no"))
    one.failed("a/m", Broken("no"))
    late = worker(board, 0, clock)
    assert late.resting("a/m") is None
    late.failed("a/m", Broken("no"))
    assert two.resting("a/m") is not None


def test_more_failing_targets_than_fit_are_counted_by_each_worker() -> None:
    clock, _, (one, two) = workers()
    for number in range(TARGETS + 1):
        one.failed(f"a/{number}", Broken("no"))
    last = f"a/{TARGETS}"
    two.failed(last, Broken("no"))
    one.failed(last, Broken("no"))
    assert one.resting(last) is None
    one.failed(last, Broken("no"))
    assert two.resting(last) is not None
    # There is room again when what was counted says nothing any more.
    clock.now += SETTINGS.window_s + 1
    for one_of_them in (one, two, one):
        one_of_them.failed("b/m", Broken("no"))
    assert two.resting("b/m") is not None


@examples(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(("fails", "answers", "answers", "is limited", "time passes")),
            st.integers(1, 12),
        ),
        max_size=60,
    )
)
def test_several_workers_are_one_breaker(steps: list[tuple[int, str, int]]) -> None:
    """Whoever of them is asked: what one table alone would say."""
    clock, _, three = workers(3)
    alone = CooldownTable(SETTINGS, clock)
    for at, what, seconds in steps:
        one = three[at]
        if what == "time passes":
            clock.now += seconds
            continue
        tickets = (0, 0)
        if not alone.calm():
            assert not one.calm()
            found, wanted = one.enter("a/m"), alone.enter("a/m")
            assert (found is None) == (wanted is None)
            assert bool(found) == bool(wanted)
            if found is None or wanted is None:
                continue
            tickets = found, wanted
        both: tuple[tuple[NearRests | CooldownTable, int], ...]
        both = (one, tickets[0]), (alone, tickets[1])
        for rests, ticket in both:
            if what == "fails":
                rests.failed("a/m", Broken("no"), ticket)
            elif what == "is limited":
                rests.failed("a/m", Limit("slow", retry_after=seconds), ticket)
            else:
                if ticket:
                    rests.answered("a/m", ticket)
                if not rests.calm():
                    rests.succeeded("a/m")
        wanted_rest = alone.resting("a/m")
        for other in three:
            rest = other.resting("a/m")
            assert (rest and rest.seconds) == (wanted_rest and wanted_rest.seconds)


def test_a_probe_that_is_given_up_frees_its_place_everywhere() -> None:
    clock, _, (one, two) = workers()
    fail(one)
    clock.now += SETTINGS.rest_s + 1
    ticket = one.enter("a/m")
    assert ticket
    assert two.enter("a/m") is None
    one.left("a/m", ticket)
    assert two.enter("a/m")


def test_a_worker_that_is_replaced_knows_who_rests_and_frees_its_probes() -> None:
    clock, board, (one, two) = workers()
    fail(one)
    fail(one, "b/m")
    two.failed("c/m", Denied("no", upstream_status=401))
    clock.now += SETTINGS.rest_s + 1
    assert one.enter("a/m")
    late = worker(board, 0, clock)
    assert late.resting("c/m") is not None
    # Its own probe died with it; another's goes on.
    assert two.enter("b/m")
    assert late.enter("a/m")
    assert late.enter("b/m") is None


def test_more_words_and_probes_than_fit_lose_the_oldest_and_stop_nobody() -> None:
    clock, board, (one, two) = workers()
    targets = [f"a/{number}" for number in range(max(SLOTS, PROBES) + 50)]
    for target in targets:
        fail(one, target)
    assert two.resting(targets[-1]) is not None
    assert two.resting(targets[0]) is None
    clock.now += SETTINGS.rest_s + 1
    assert all(one.enter(target) for target in targets)
    fail(one, "a/" + "x" * 5000)
    assert worker(board, 5, clock).enter("a/none") == 0


def test_forks_see_what_the_others_say() -> None:
    clock, board, (one,) = workers(1)
    child = os.fork()
    if not child:
        found = worker(board, 1, clock)
        found.failed("a/m", Limit("slow down", retry_after=7))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert one.resting("a/m") is not None


async def test_a_gateways_workers_ask_a_limited_target_once_between_them(tmp_path: Path) -> None:
    limited = openai_error(429, **{"Retry-After": "60"})
    async with ReplayServer(limited) as upstream:
        text = toml(upstream.url, database=f"sqlite:///{tmp_path / 'p.db'}")
        async with gateway(tmp_path, text, "--workers", "3") as one:
            statuses = []
            for _ in range(30):
                # A connection of its own: the kernel deals them out.
                async with (
                    aiohttp.ClientSession() as session,
                    session.post(
                        one.url + "/complete", json={"message": "hello", "stream": False}
                    ) as answer,
                ):
                    statuses.append(answer.status)
            assert statuses == [429] * 30
            assert len(upstream.received) == 1


async def ask(url: str) -> int:
    """On a connection of its own: the kernel deals them out."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/complete", json={"message": "hello", "model": "lab/m"}) as answer,
    ):
        await answer.read()
        return answer.status


async def test_a_gateways_workers_count_failures_together_and_probe_once(tmp_path: Path) -> None:
    limit = 7
    more = f"[cooldown]\nfailures = {limit}\nrest_s = 2\n"
    async with ReplayServer(openai_error(500)) as upstream:
        text = toml(upstream.url, database=f"sqlite:///{tmp_path / 'p.db'}", more=more)
        text = text.replace("[attempts]", "[attempts]\nper_target = 1")
        async with gateway(tmp_path, text, "--workers", "3") as one:
            statuses = [await ask(one.url) for _ in range(limit)]
            assert statuses == [502] * limit
            # A target that rests may be asked once, early, as there is no other.
            upstream.play(Play(openai_stream("good"), before_s=1.0))
            statuses = await asyncio.gather(*(ask(one.url) for _ in range(12)))
            assert sorted(statuses) == [200] + [503] * 11
            assert len(upstream.received) == limit + 1
