"""Decisions are counted one by one and written together."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from classifier.monitor import Tally

KEY = {"tier": "strong", "domain": "reasoning"}


def figure(name: str, labels: dict[str, str] | None = None) -> float:
    return REGISTRY.get_sample_value(f"classifier_{name}", labels) or 0.0


def test_nothing_is_written_before_it_is_time_and_then_all_of_it_once() -> None:
    tally, before = Tally(), figure("decisions_total", KEY)
    firsts = [tally.add("strong", "reasoning", False, 1e-4) for _ in range(3)]
    assert firsts == [True, False, False]
    assert figure("decisions_total", KEY) == before
    tally.write()
    tally.write()
    assert figure("decisions_total", KEY) == before + 3
    assert tally.add("strong", "reasoning", False, 1e-4), "the next writing is to be asked for"


def test_what_is_far_and_what_is_not_are_told_apart() -> None:
    tally, before = Tally(), figure("out_of_distribution_total")
    for far in (True, False, True):
        tally.add("local", "chat", far, 1e-4)
    tally.write()
    assert figure("out_of_distribution_total") == before + 2


def test_times_lie_in_the_buckets_that_each_alone_would_have_lain_in() -> None:
    tally, name = Tally(), "scoring_seconds"
    bounds = ("5e-05", "0.0001", "0.00015", "0.02", "+Inf")
    before = [figure(f"{name}_bucket", {"le": le}) for le in bounds]
    total, count = figure(f"{name}_sum"), figure(f"{name}_count")
    for seconds in (49e-6, 50e-6, 51e-6, 0.0001, 1.0):
        tally.add("local", "chat", False, seconds)
    tally.write()
    after = [figure(f"{name}_bucket", {"le": le}) for le in bounds]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 4, 4, 4, 5]
    assert figure(f"{name}_count") == count + 5
    assert figure(f"{name}_sum") - total == pytest.approx(1.00025)
