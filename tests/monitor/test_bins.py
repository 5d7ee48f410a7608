"""Times are kept in bins that grow by 8 %."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.monitor.window import BOUNDS, GROWTH, LEAST, Bins, bin_of, percentile

WEEK_MS = 7 * 86_400_000.0


@given(some.floats(0.0, WEEK_MS))
def test_a_time_is_in_the_bin_of_its_logarithm(milliseconds: float) -> None:
    exact = math.log(max(milliseconds, 0.01)) / GROWTH
    found = bin_of(milliseconds)
    assert found is not None
    # At a bound itself the logarithm may be rounded to either side.
    assert found == math.floor(exact) or abs(exact - round(exact)) < 1e-9


def test_what_is_too_short_or_too_long_has_a_bin_all_the_same() -> None:
    assert bin_of(0.0) == bin_of(-1.0) == LEAST
    assert bin_of(BOUNDS[-1] * 100) == LEAST + len(BOUNDS)
    assert bin_of(None) is None


@pytest.mark.parametrize("milliseconds", [0.5, 3.0, 42.0, 1234.5, 60_000.0])
def test_a_percentile_is_right_to_four_percent(milliseconds: float) -> None:
    number = bin_of(milliseconds)
    assert number is not None
    told = percentile(Bins({number: 10}), 0.5)
    assert told is not None
    assert abs(told / milliseconds - 1) < 0.04 or abs(told - milliseconds) <= 0.05
