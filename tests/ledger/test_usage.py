"""GET /usage and /usage/savings: whose rows, which days, and money to the last place."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from chat.events import Usage
from chat.trace import Trace
from gateway.engine.ports import Caller, Settlement
from gateway.ledger.rows import DAY_MS, rows_of
from tests.replay.gateway import ADMIN, Running, running, settings

DAY = 20_000
"""2024-10-04."""
PRICES = {"easy/m": {"input": 1, "output": 2}, "hard/m": {"input": 10, "output": 20}}
APP = Caller("app1", "Flash Cards")


@pytest.fixture
async def gateway(store_url: str) -> AsyncGenerator[Running]:
    given = settings(
        store={"database": store_url},
        prices=PRICES,
        providers={
            name: {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
            for name in ("easy", "hard")
        },
    )
    async with running(given) as gateway:
        for number, (provider, tier, caller) in enumerate(
            (
                ("easy", "local", APP),
                ("easy", "local", APP),
                ("easy", "local", APP),
                ("hard", "strong", Caller("open", "open")),
                ("mystery", None, Caller("open", "open")),
            )
        ):
            note(gateway, provider, tier, caller, DAY + number % 2)
        yield gateway


def note(
    gateway: Running,
    provider: str,
    tier: str | None,
    caller: Caller,
    day: int,
    model: str = "m",
    **more: Any,
) -> None:
    trace = Trace("r", provider=provider, model=model, tier=tier, route="auto" if tier else "named")
    for name, value in more.items():
        setattr(trace, name, value)
    settlement = Settlement("finished", "openai", trace, Usage(1000, 100), True, caller=caller)
    ledger = gateway.services.ledger
    rows = rows_of(settlement, ledger._prices, ledger._ends, day * DAY_MS)
    # Without attempts nothing says what another tier had cost.
    if tier is not None and "cache" not in more:
        ends = ("local_nano", "strong_nano")
        rows = [((*names, *ends), [*row, 1_200_000, 12_000_000]) for names, row in rows]
    ledger._waiting.extend(rows)


async def got(gateway: Running, path: str, **headers: str) -> tuple[int, Any]:
    assert await gateway.services.ledger.flush()
    async with gateway.session.get(gateway.url + path, headers=headers) as response:
        return response.status, await response.json()


SPAN = "from=2024-10-01&to=2024-10-31"


async def test_the_admin_sees_all_by_day(gateway: Running) -> None:
    status, body = await got(gateway, f"/usage?{SPAN}", **ADMIN)
    assert status == 200
    assert body["total"]["requests"] == 5
    assert body["total"]["total_tokens"] == 5500
    assert body["total"]["cost"] == "0.015600000"
    assert body["total"]["unpriced"] == 1
    assert [(row["day"], row["requests"]) for row in body["rows"]] == [
        ("2024-10-05", 2),
        ("2024-10-04", 3),
    ]


async def test_a_caller_without_a_key_sees_what_was_asked_without_one(gateway: Running) -> None:
    status, body = await got(gateway, f"/usage?{SPAN}&by=app,provider")
    assert status == 200
    assert {row["app"] for row in body["rows"]} == {"open"}
    status, body = await got(gateway, f"/usage?{SPAN}&app=app1")
    assert status == 403


async def test_an_unknown_price_is_told_as_unknown(gateway: Running) -> None:
    _, body = await got(gateway, f"/usage?{SPAN}&by=provider", **ADMIN)
    costs = {row["provider"]: row["cost"] for row in body["rows"]}
    assert costs == {"easy": "0.003600000", "hard": "0.012000000", "mystery": None}


@pytest.mark.parametrize(
    "by", ["day", "app", "model", "provider", "route", "tier", "day,app,model"]
)
async def test_each_grouping_adds_up_to_the_total(gateway: Running, by: str) -> None:
    _, body = await got(gateway, f"/usage?{SPAN}&by={by}", **ADMIN)
    for name in ("requests", "attempts", "input_tokens", "output_tokens", "unpriced"):
        assert sum(row[name] for row in body["rows"]) == body["total"][name], name


async def test_csv_is_given_to_who_asks_for_it_and_runs_nothing(gateway: Running) -> None:
    note(gateway, "easy", None, APP, DAY, model="=cmd|' /C calc'!A0")
    assert await gateway.services.ledger.flush()
    texts = []
    for path, accept in (("&format=csv", "*/*"), ("", "text/csv")):
        async with gateway.session.get(
            f"{gateway.url}/usage?{SPAN}&by=model{path}", headers={**ADMIN, "Accept": accept}
        ) as response:
            assert response.content_type == "text/csv"
            texts.append(await response.text())
    assert texts[0] == texts[1]
    rows = list(csv.DictReader(io.StringIO(texts[0])))
    assert len(rows) == 4
    assert "'=cmd|' /C calc'!A0" in {row["model"] for row in rows}


async def test_savings_compare_the_routes_with_one_tier_alone(gateway: Running) -> None:
    note(gateway, "hard", "strong", APP, DAY, cache="hit")
    status, body = await got(gateway, f"/usage/savings?{SPAN}", **ADMIN)
    assert status == 200
    total = body["total"]
    assert total["answers"] == 4
    assert total["spent"] == "0.015600000"
    assert total["always_local"] == "0.004800000"
    assert total["always_strong"] == "0.048000000"
    assert total["saved"] == "0.032400000"
    assert total["saved_share"] == 0.675
    assert total["tiers"] == {
        "local": {"answers": 3, "share": 0.75},
        "strong": {"answers": 1, "share": 0.25},
    }
    assert body["routes"] == {"auto": total}
    assert body["cache"] == {"hits": 1, "saved": "0.012000000"}


async def test_nothing_used_is_nothing_and_not_unknown(gateway: Running) -> None:
    _, body = await got(gateway, "/usage?from=2001-01-01&to=2001-01-02", **ADMIN)
    assert body["rows"] == []
    assert body["total"]["cost"] == "0.000000000"
    _, body = await got(gateway, "/usage/savings?from=2001-01-01&to=2001-01-02", **ADMIN)
    assert body["total"]["saved_share"] is None


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("from=2026-13-01", "from"),
        ("from=20261121", "from"),
        ("from=2026-W01-1", "from"),
        ("from=", "from"),
        ("from=0001-01-01&to=0001-01-02", "to"),
        ("to=9999-12-31", "to"),
        ("from=2026-11-21&to=2026-11-20", "from"),
        ("from=1970-01-01&to=2026-01-01", "from"),
        ("to=2026-11-21%00", "to"),
        ("by=", "by"),
        ("by=day,secret", "by"),
        ("by=caller_id;DROP TABLE ledger", "by"),
        ("by=" + "day," * 1000 + "x", "by"),
        ("format=xml", "format"),
        ("format=csv&format=json", "format"),
        ("app=", "app"),
        ("app=" + "x" * 65, "app"),
        ("surprise=1", "surprise"),
    ],
)
async def test_a_parameter_that_cannot_be_is_named(query: str, param: str) -> None:
    async with running(settings()) as gateway:
        async with gateway.session.get(f"{gateway.url}/usage?{query}", headers=ADMIN) as response:
            assert response.status == 400
            body = await response.json()
        assert body["error"]["param"] == param


async def test_an_app_by_the_name_of_a_statement_is_only_a_name(gateway: Running) -> None:
    note(gateway, "easy", None, Caller("x' OR 1=1 --", 'Robert"); DROP TABLE ledger;--'), DAY)
    status, body = await got(gateway, f"/usage?{SPAN}&by=app&app=x' OR 1=1 --", **ADMIN)
    assert status == 200
    assert [row["requests"] for row in body["rows"]] == [1]
