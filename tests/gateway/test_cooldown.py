"""Rests, by a clock that the test turns."""

from __future__ import annotations

import pytest

from chat.errors import Broken, Denied, Limit, Rejected, Timeout
from gateway.engine.cooldown import MAX_TARGETS, CooldownTable
from gateway.settings import Cooldown


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def table() -> tuple[CooldownTable, Clock]:
    clock = Clock()
    return CooldownTable(Cooldown(failures=3, rest_s=5, max_s=60), clock), clock


def rests(found: CooldownTable, target: str = "a/m") -> float:
    rest = found.resting(target)
    return rest.seconds if rest else 0.0


def opened(found: CooldownTable) -> None:
    for _ in range(3):
        found.failed("a/m", Broken("no"))
    assert rests(found) > 0


def probe(found: CooldownTable) -> int:
    ticket = found.enter("a/m")
    assert ticket
    return ticket


def test_a_target_rests_after_a_few_failures() -> None:
    found, _ = table()
    for expected in (0.0, 0.0, 5.0):
        found.failed("a/m", Broken("no"))
        assert rests(found) == expected
    assert rests(found, "b/m") == 0.0


def test_failures_further_apart_than_the_window_do_not_add_up() -> None:
    found, clock = table()
    for _ in range(10):
        found.failed("a/m", Broken("no"))
        clock.now += 16
    assert rests(found) == 0.0


def test_a_target_that_mostly_answers_does_not_rest() -> None:
    found, _ = table()
    for _ in range(20):
        found.failed("a/m", Timeout("slow"))
        found.succeeded("a/m")
        found.succeeded("a/m")
    assert rests(found) == 0.0


def test_a_target_that_fails_every_other_time_rests() -> None:
    found, _ = table()
    for _ in range(3):
        found.failed("a/m", Broken("no"))
        found.succeeded("a/m")
    assert rests(found) == 5.0


def test_after_the_rest_exactly_one_probe_finds_out() -> None:
    found, clock = table()
    opened(found)
    assert found.enter("a/m") is None
    clock.now += 5
    ticket = probe(found)
    assert found.enter("a/m") is None
    assert rests(found) > 0
    found.answered("a/m", ticket)
    assert [found.enter("a/m") for _ in range(3)] == [0, 0, 0]
    found.succeeded("a/m")
    assert found.calm()


def test_a_probe_that_is_given_up_frees_its_place_for_the_next() -> None:
    found, clock = table()
    opened(found)
    clock.now += 5
    for _ in range(3):
        found.left("a/m", probe(found))
    found.failed("a/m", Rejected("bad"), probe(found))
    assert probe(found)


def test_each_failed_probe_rests_twice_as_long_until_the_limit() -> None:
    found, clock = table()
    opened(found)
    seen = [rests(found)]
    for _ in range(5):
        clock.now += rests(found)
        found.failed("a/m", Broken("no"), probe(found))
        seen.append(rests(found))
    assert seen == [5, 10, 20, 40, 60, 60]


def test_a_probe_that_begins_well_and_is_cut_rests_again_at_once() -> None:
    found, clock = table()
    opened(found)
    clock.now += 5
    found.answered("a/m", probe(found))
    found.failed("a/m", Broken("cut"))
    assert rests(found) == 10


def test_attempts_from_before_the_rest_neither_lengthen_nor_end_it() -> None:
    found, _ = table()
    opened(found)
    for _ in range(5):
        found.failed("a/m", Broken("no"))
    found.succeeded("a/m")
    assert rests(found) == 5


def test_when_nobody_else_is_left_a_rest_of_our_own_caution_is_probed_early() -> None:
    found, _ = table()
    opened(found)
    assert found.enter("a/m", early=True)
    assert found.enter("a/m", early=True) is None
    found.failed("b/m", Limit("slow down", retry_after=7))
    assert found.enter("b/m", early=True) is None


@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422, 425, 499])
def test_no_4xx_but_a_limit_and_a_refused_key_counts(status: int) -> None:
    found, _ = table()
    for _ in range(50):
        found.failed("a/m", Timeout("no", upstream_status=status))
    assert found.calm()


def test_a_limit_rests_at_once_for_what_the_upstream_said() -> None:
    found, clock = table()
    found.failed("a/m", Limit("slow down", retry_after=7))
    rest = found.resting("a/m")
    assert rest is not None
    assert rest.firm
    assert rest.seconds == 7
    clock.now += 7
    assert rests(found) == 0.0
    found.failed("a/m", Limit("slow down"))
    assert rests(found) == 10


def test_an_absurd_wait_is_bounded() -> None:
    found, _ = table()
    found.failed("a/m", Limit("slow down", retry_after=1e12))
    assert rests(found) == 3600
    found.failed("b/m", Limit("slow down", retry_after=-5))
    assert rests(found, "b/m") == 0.0


def test_a_refused_key_rests_long() -> None:
    found, _ = table()
    found.failed("a/m", Denied("no"))
    assert rests(found) == 300


def test_a_callers_mistake_never_counts() -> None:
    found, _ = table()
    for _ in range(50):
        found.failed("a/m", Rejected("bad"))
    assert found.calm()


def test_made_up_targets_do_not_fill_the_memory() -> None:
    found, _ = table()
    for n in range(MAX_TARGETS + 100):
        found.failed(f"a/{n}", Broken("no"))
    assert len(found._states) == MAX_TARGETS
