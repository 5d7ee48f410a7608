"""The books are written for a few requests at a time, and none is lost or late for a reader."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from chat.events import Usage
from chat.trace import Trace
from gateway.engine.ports import Settlement
from gateway.monitor.metrics import SECONDS, Metrics, observe
from gateway.monitor.recorder import TOGETHER, WAIT_S, MetricsRecorder, Settled


def settlement(number: int, outcome: str = "finished") -> Settlement:
    trace = Trace(f"id{number}", "named", "lab/m", "lab", "m", total_ms=12.0, first_token_ms=5.0)
    return Settlement(outcome, "complete", trace, Usage(3, 2), True)


def recorder() -> tuple[MetricsRecorder, list[int], Metrics]:
    """Also how many were written each time."""
    metrics = Metrics(lambda provider, model: True)
    found, written = MetricsRecorder(metrics, now=lambda: 7.0), list[int]()

    def book(some: object) -> None:
        assert isinstance(some, list)
        assert all(at == 7.0 for at, _ in some)
        written.append(len(some))

    found.books.append(book)
    return found, written, metrics


async def test_one_waits_a_moment_for_others_and_many_do_not() -> None:
    found, written, _ = recorder()
    found.settle(settlement(0))
    assert written == []
    await asyncio.sleep(3 * WAIT_S)
    assert written == [1]
    for number in range(TOGETHER + 3):
        found.settle(settlement(number))
    assert written == [1, TOGETHER]
    found.write()
    found.write()
    assert written == [1, TOGETHER, 3]


async def test_a_book_that_fails_keeps_no_other_from_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found, written, _ = recorder()

    def broken(some: list[Settled]) -> None:
        raise RuntimeError("a full page")

    found.books.insert(0, broken)  # type: ignore[arg-type]
    found.settle(settlement(0))
    with caplog.at_level(logging.ERROR):
        found.write()
    assert written == [1]
    assert "could not be written down" in caplog.text


async def test_what_is_counted_together_is_counted_as_if_alone() -> None:
    found, _, metrics = recorder()
    for number in range(5):
        found.attempt("lab", "m", "finished")
        found.settle(settlement(number))
    found.settle(settlement(6, "cancelled"))
    found.write()

    def value(name: str, **more: str) -> float | None:
        labels = {"provider": "lab", "model": "m", **more}
        return metrics.registry.get_sample_value(name, labels)

    assert value("pointsman_requests_total", route="named", outcome="finished") == 5
    assert value("pointsman_requests_total", route="named", outcome="cancelled") == 1
    assert value("pointsman_attempts_total", outcome="finished") == 5
    assert value("pointsman_tokens_total", route="named", direction="input") == 18
    assert value("pointsman_tokens_total", route="named", direction="output") == 12
    assert value("pointsman_first_token_seconds_count", route="named") == 6
    assert value("pointsman_first_token_seconds_sum", route="named") == pytest.approx(0.03)


@given(st.lists(st.one_of(st.sampled_from(SECONDS), st.floats(0, 500)), max_size=50))
def test_many_values_at_once_fall_into_the_buckets_of_each(values: list[float]) -> None:
    registry = CollectorRegistry()
    alone = Histogram("alone", "One by one.", buckets=SECONDS, registry=registry)
    together = Histogram("together", "At once.", buckets=SECONDS, registry=registry)
    for value in values:
        alone.observe(value)
    observe(together, values)
    for bound in (*map(float, SECONDS), float("inf")):
        label = {"le": "+Inf" if bound == float("inf") else str(bound)}
        one = registry.get_sample_value("alone_bucket", label)
        assert one is not None
        assert registry.get_sample_value("together_bucket", label) == one
    assert registry.get_sample_value("together_sum") == pytest.approx(
        registry.get_sample_value("alone_sum")
    )
