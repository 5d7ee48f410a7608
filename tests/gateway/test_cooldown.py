"""Rests, by a clock that the test turns."""

from __future__ import annotations

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


def test_a_target_rests_after_failures_in_a_row() -> None:
    found, _ = table()
    for expected in (0.0, 0.0, 5.0):
        found.failed("a/m", Broken("no"))
        assert rests(found) == expected
    assert rests(found, "b/m") == 0.0


def test_a_success_between_failures_starts_the_count_again() -> None:
    found, _ = table()
    for _ in range(5):
        found.failed("a/m", Timeout("slow"))
        found.failed("a/m", Broken("no"))
        found.succeeded("a/m")
    assert rests(found) == 0.0


def test_each_rest_is_twice_as_long_until_the_limit() -> None:
    found, clock = table()
    seen = []
    for _ in range(2):
        found.failed("a/m", Broken("no"))
    for _ in range(6):
        found.failed("a/m", Broken("no"))
        seen.append(rests(found))
        clock.now += rests(found) + 1
        assert rests(found) == 0.0
    assert seen == [5, 10, 20, 40, 60, 60]


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
    assert rests(found) == 0.0


def test_made_up_targets_do_not_fill_the_memory() -> None:
    found, _ = table()
    for n in range(MAX_TARGETS + 100):
        found.failed(f"a/{n}", Broken("no"))
    assert len(found._states) == MAX_TARGETS
