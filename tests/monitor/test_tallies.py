"""Requests are counted many at once; what comes out is what each by itself would make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from gateway.monitor.window import Seen, Tally

TARGETS = ("", "easy/m", "hard/m", "far/m", "new/m")
bins = some.none() | some.integers(-3, 3)
ended = some.builds(
    Seen,
    at=some.just(7),
    failed=some.booleans(),
    cancelled=some.booleans(),
    input_tokens=some.integers(0, 9),
    output_tokens=some.integers(0, 9),
    first=bins,
    total=bins,
    line=some.sampled_from(("", "local", "strong", "auto")),
    target=some.sampled_from(TARGETS),
    failed_before=some.lists(some.sampled_from(TARGETS[1:]), max_size=2).map(tuple),
)


@given(some.lists(ended, max_size=12))
def test_a_tally_of_many_is_the_sum_of_each(all_of_them: list[Seen]) -> None:
    at_once, one_by_one = Tally(7), Tally(7)
    at_once.add(all_of_them)
    for seen in all_of_them:
        one_by_one.add((seen,))
    assert at_once == one_by_one
    count = sum(seen.failed for seen in all_of_them)
    assert (at_once.requests, at_once.errors) == (len(all_of_them), count)
    assert sum(at_once.first.values()) == sum(seen.first is not None for seen in all_of_them)
    assert sum(at_once.tiers.values()) == sum(seen.line != "" for seen in all_of_them)
    for name, target in at_once.targets.items():
        mine = [seen for seen in all_of_them if seen.target == name]
        before = [1 for seen in all_of_them for other in seen.failed_before if other == name]
        assert target.requests == len(mine) + len(before)
        assert target.errors == sum(seen.failed for seen in mine) + len(before)
        assert sum(target.first.values()) == sum(seen.first is not None for seen in mine)


def test_no_more_targets_are_told_apart_than_there_is_room_for() -> None:
    tally = Tally(7, most_targets=2)
    tally.add([Seen(7, False, False, 0, 0, 1, 1, "auto", name) for name in TARGETS])
    assert list(tally.targets) == ["easy/m", "hard/m"]
    assert tally.requests == len(TARGETS)
