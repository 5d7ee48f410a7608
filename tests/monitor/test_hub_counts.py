"""A request counts the same where it ran and where it is only told of."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as some

from chat.events import Usage
from chat.trace import Trace
from gateway.engine.attempt import Attempt
from gateway.engine.names import Target
from gateway.engine.ports import OPEN, Provider, Settlement
from gateway.monitor.hub import Hub, Sources
from gateway.monitor.row import row_of
from gateway.monitor.window import seen_of_row

TARGETS = ("easy/m", "hard/m", "far/m")
SOURCES = Sources(
    lambda caller: 0,
    lambda: (),
    lambda name: None,
    lambda: None,
    lambda caller: None,
    lambda s: None,
)
milliseconds = some.none() | some.integers(0, 10**8).map(lambda hundredths: hundredths / 100)
tokens = some.none() | some.integers(0, 9)


@given(
    outcome=some.sampled_from(("finished", "failed", "cancelled")),
    first=milliseconds,
    total=milliseconds,
    tier=some.sampled_from((None, "local", "strong")),
    route=some.sampled_from(("", "auto")),
    target=some.sampled_from(("", *TARGETS)),
    score=some.none() | some.floats(0, 1),
    input_tokens=tokens,
    output_tokens=tokens,
    tried=some.lists(
        some.tuples(some.sampled_from(TARGETS), some.sampled_from(("finished", "timeout", "kept"))),
        max_size=4,
    ),
)
def test_where_it_ran_a_request_counts_as_its_row_does_elsewhere(
    outcome: str,
    first: float | None,
    total: float | None,
    tier: str | None,
    route: str,
    target: str,
    score: float | None,
    input_tokens: int | None,
    output_tokens: int | None,
    tried: list[tuple[str, str]],
) -> None:
    if len(tried) == 1:
        # Who alone was asked is the one that the request is told of.
        target = tried[0][0]
    trace = Trace("r1", target=target, route=route)
    trace.tier, trace.score, trace.first_token_ms, trace.total_ms = tier, score, first, total
    attempts = tuple(
        Attempt(Target(cast(Provider, None), "m", name), 1.0, ended=2.0, outcome=how)
        for name, how in tried
    )
    settlement = Settlement(
        outcome,
        "openai",
        trace,
        Usage(input_tokens, output_tokens),
        True,
        caller=OPEN,
        attempts=attempts,
    )
    here, there = Hub(SOURCES), Hub(SOURCES)
    here.settled([(1000.25, settlement)])
    row = row_of(1000.25, settlement, None)
    there.add(row)
    assert here._seen == {("open", 1000): [seen_of_row(row)]}
    assert (here.scores, here.decided) == (there.scores, there.decided)
