"""What the live page's ten minutes cost in memory."""

from __future__ import annotations

import tracemalloc

from gateway.monitor.window import POINT_S, POINTS, Seen, Tally, Window

TARGETS = 20
TIMES = 40


def filled(targets: bool) -> tuple[Window, int]:
    """Ten busy minutes at many targets, and the bytes that they hold."""
    tracemalloc.start()
    try:
        window = Window(0, targets)
        for second in range(POINTS * POINT_S):
            tally = Tally(second)
            for number in range(TARGETS):
                for time in range(0, TIMES, 7):
                    seen = Seen(second, False, False, 1, 1, time, time, "tier", f"lab/{number}")
                    tally.add((seen,))
            window.add(tally)
        return window, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_what_is_over_is_kept_without_its_targets() -> None:
    window, size = filled(targets=True)
    now = POINTS * POINT_S - 1
    assert len(window.last(now).targets) == TARGETS
    assert sum(point["requests"] for point in window.points(now)) == 600 * TARGETS * 6
    # A minute of seconds is the larger part of it.
    assert size < 1_500_000


def test_one_callers_window_tells_no_targets_apart() -> None:
    window, size = filled(targets=False)
    assert not window.last(POINTS * POINT_S - 1).targets
    assert size < 400_000
