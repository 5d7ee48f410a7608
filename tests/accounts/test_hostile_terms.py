"""Whatever is written as the terms of a code: they are taken whole, or refused with the field's
name and nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequest
from gateway.accounts.app import App
from gateway.accounts.codebook import CodeBook
from gateway.accounts.terms_of import changed, terms_of, words
from gateway.store.database import Database
from gateway.terms import Rate, Terms

FIELDS = tuple(Terms.model_fields)
HOSTILE = (
    "'; DROP TABLE codes; --",
    "a\0b",
    "\u202eevil",
    " " * 100_000,
    "100/hour\n",
    "1e309",
    "9" * 400,
    "${ADMIN_TOKEN}",
    "<script>alert(1)</script>",
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(HOSTILE)
)
values = scalars | st.lists(scalars, max_size=4) | st.dictionaries(st.text(max_size=5), scalars)
bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=20), values, max_size=6)


def taken(body: dict[str, Any]) -> tuple[Terms | None, BadRequest | None]:
    try:
        return terms_of(body), None
    except BadRequest as fault:
        return None, fault


@given(bodies)
def test_any_body_is_taken_or_refused_with_its_field(body: dict[str, Any]) -> None:
    terms, fault = taken({"name": "App", **body})
    if fault is not None:
        named = {*(name[:50] for name in body), "name"}
        # A place in a list is written behind its field.
        param = fault.param or ""
        assert param in named or param.partition("[")[0] in named
        assert len(fault.message) < 700
        return
    assert terms is not None
    assert set(body) <= set(FIELDS)
    # What was taken can be kept, read again and used.
    assert Terms.model_validate_json(terms.model_dump_json(exclude_defaults=True)) == terms
    assert changed(terms, {}) == terms
    assert terms_of(words(terms)) == terms
    app = App.of("id", terms)
    assert app.name.isprintable()
    for budget in (app.budget_day, app.budget_month):
        assert budget is None or budget >= 0


@given(st.text(max_size=30))
def test_any_rate_is_one_or_is_refused(text: str) -> None:
    try:
        rate = Rate.parse(text)
    except ValueError:
        return
    assert rate.count >= 1
    assert rate.seconds in (1, 60, 3600, 86_400)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/hour", Rate(100, 3600)),
        ("20000/minute", Rate(20_000, 60)),
        ("5 / s", Rate(5, 1)),
        ("7/Days", Rate(7, 86_400)),
        ("9/min", Rate(9, 60)),
    ],
)
def test_rates_are_written_as_people_do(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


async def test_hostile_names_are_kept_as_they_are(tmp_path: Any) -> None:
    database = Database(f"sqlite:///{tmp_path}/pointsman.db")
    await database.open()
    book = CodeBook(database)
    for name in ("'; DROP TABLE codes; --", "Ünïcødé 🚂", '"}{'):
        code, _ = await book.create(terms_of({"name": name}))
        assert (await book.read()).codes[code.id].terms.name == name
    await database.close()
