"""A row binds what is known, and nothing else."""

from __future__ import annotations

from chat.events import Usage
from chat.trace import Trace
from gateway.engine.ports import Settlement
from gateway.ledger.prices import Prices
from gateway.ledger.rows import ALWAYS, SELDOM, rows_of
from gateway.store.tables.ledger import ATTEMPTS


def test_each_column_is_always_there_or_seldom() -> None:
    nullable = [column.name for column in ATTEMPTS.columns if column.nullable]
    kept = [column.name for column in ATTEMPTS.columns if not column.nullable]
    assert sorted(SELDOM) == sorted(nullable)
    assert sorted(ALWAYS) == sorted(set(kept) - {"id", "writer"})


def test_what_is_unknown_is_not_bound_and_nothing_is_a_bool() -> None:
    trace = Trace("r", provider="easy", model="m", tier=None, route="named")
    settlement = Settlement("finished", "openai", trace, Usage(7, 2), True)
    [(names, values)] = rows_of(settlement, Prices({}), lambda _: (None, None), 1_000)
    assert len(values) == len(ALWAYS) + len(names)
    assert not [value for value in values if value is None or isinstance(value, bool)]
    row = dict(zip((*ALWAYS, *names), values, strict=True))
    assert (row["input_tokens"], row["output_tokens"], row["answered"]) == (7, 2, 1)
    assert "score" not in row
    assert "error" not in row


def test_what_is_too_long_is_cut_and_null_characters_are_left_out() -> None:
    trace = Trace("r", provider="easy", model="m" * 300, tier="a\0b", route="named")
    settlement = Settlement("finished", "openai", trace, Usage(7, 2), True)
    [(names, values)] = rows_of(settlement, Prices({}), lambda _: (None, None), 1_000)
    row = dict(zip((*ALWAYS, *names), values, strict=True))
    assert (row["model"], row["tier"]) == ("m" * 200, "ab")
