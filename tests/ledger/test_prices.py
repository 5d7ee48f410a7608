"""What tokens cost: exact, dated, and unknown where nobody knows."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.events import Usage
from gateway.ledger import prices as module
from gateway.ledger.prices import Prices, rounded
from gateway.ledger.refresh import main
from gateway.settings import Price, Settings
from providers.registry import catalog

TOKENS = st.integers(0, 10_000_000)


def test_a_known_model_costs_what_its_table_says() -> None:
    cost = Prices().cost("openai", "gpt-4o", Usage(1000, 500))
    assert cost == Decimal("0.0075")


def test_cached_and_written_tokens_have_prices_of_their_own() -> None:
    usage = Usage(input_tokens=1000, output_tokens=10, cached_tokens=600, cache_write_tokens=300)
    cost = Prices().cost("anthropic", "claude-sonnet-4-5", usage)
    assert cost == (100 * 3 + 600 * Decimal("0.30") + 300 * Decimal("3.75") + 10 * 15) / 1_000_000


def test_a_long_input_has_the_long_inputs_price() -> None:
    prices = Prices()
    short = prices.cost("gemini", "gemini-2.5-pro", Usage(200_000, 0))
    long = prices.cost("gemini", "gemini-2.5-pro", Usage(200_001, 0))
    assert short == Decimal("0.25")
    assert long == Decimal("0.5000025")


def test_an_unknown_price_is_unknown_and_not_zero() -> None:
    prices = Prices()
    assert prices.cost("a4f", "provider-1/gpt-4o", Usage(1, 1)) is None
    assert prices.most("a4f", "provider-1/gpt-4o", 1, 1) is None
    assert prices.cost("openai", "gpt-4o", Usage()) is None


def test_a_machine_of_your_own_sends_no_bill() -> None:
    for provider in ("ollama", "local", "llamacpp", "vllm"):
        assert Prices().cost(provider, "any/thing:1b", Usage(5, 5)) == 0
        assert Prices().cost(provider, "any/thing:1b", Usage()) == 0


def test_the_settings_win_over_the_table() -> None:
    tree = {"prices": {"openai/gpt-4o": {"input": "1", "output": 2.5}, "lab/*": _free()}}
    prices = Prices(Settings.model_validate(tree).prices)
    assert prices.cost("openai", "gpt-4o", Usage(1_000_000, 1_000_000)) == Decimal("3.5")
    assert prices.cost("lab", "llama/8b", Usage(7, 7)) == 0
    found = prices.of("openai", "gpt-4o")
    assert found is not None
    assert found.date == "settings"


def test_a_name_wins_over_a_pattern_and_a_longer_pattern_over_a_shorter() -> None:
    given = {
        "x/*": Price(input=Decimal(1), output=Decimal(0)),
        "x/big-*": Price(input=Decimal(2), output=Decimal(0)),
        "x/big-1": Price(input=Decimal(3), output=Decimal(0)),
    }
    prices = Prices(given)
    million = Usage(1_000_000, 0)
    assert [prices.cost("x", name, million) for name in ("small", "big-2", "big-1")] == [1, 2, 3]


@pytest.mark.parametrize(
    "price",
    [
        {"input": -1, "output": 1},
        {"input": 1},
        {"input": "nan", "output": 1},
        {"input": "inf", "output": 1},
        {"input": 1, "output": 1, "surprise": 1},
        {"input": "0.0000001", "output": 1},
        {"input": 1, "output": 1, "above": 0},
    ],
)
def test_a_price_that_cannot_be_is_refused(price: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="prices"):
        Settings.model_validate({"prices": {"openai/gpt-4o": price}})


@given(TOKENS, TOKENS, TOKENS, TOKENS)
def test_no_answer_costs_more_than_the_most(fresh: int, cached: int, wrote: int, out: int) -> None:
    prices = Prices()
    usage = Usage(fresh + cached + wrote, out, cached, wrote)
    for provider, model in (("anthropic", "claude-sonnet-4-5"), ("gemini", "gemini-2.5-pro")):
        cost = prices.cost(provider, model, usage)
        most = prices.most(provider, model, fresh + cached + wrote, out)
        assert cost is not None
        assert most is not None
        assert 0 <= cost <= most


@given(st.integers(0, 10**18))
def test_costs_are_rounded_half_to_even_once(pico: int) -> None:
    assert rounded(pico) == int((Decimal(pico) / 1000).to_integral_value())


def test_every_default_model_of_the_catalogue_has_a_price_or_is_known_to_have_none() -> None:
    prices = Prices()
    without = {
        name
        for name, row in catalog().items()
        if row.get("default_model") and prices.of(name, row["default_model"]) is None
    }
    assert without == {"a4f"}


def test_callers_who_name_many_models_fill_no_memory() -> None:
    prices = Prices()
    for number in range(module.KEPT * 2):
        prices.of("openai", f"made-up-{number}")
    assert len(prices._found) <= module.KEPT


def _free() -> dict[str, int]:
    return {"input": 0, "output": 0}


MAP = {
    "sample_spec": {"input_cost_per_token": 0},
    "gpt-4o": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06,
    },
    "gemini/gemini-2.5-pro": {
        "litellm_provider": "gemini",
        "mode": "chat",
        "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 1e-05,
        "input_cost_per_token_above_200k_tokens": 2.5e-06,
        "output_cost_per_token_above_200k_tokens": 1.5e-05,
    },
    "text-embedding-3-small": {
        "litellm_provider": "openai",
        "mode": "embedding",
        "input_cost_per_token": 2e-08,
    },
    "mystery": {"litellm_provider": "openai", "mode": "chat"},
    "gratis": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 0.0,
        "output_cost_per_token": 0.0,
    },
    "dall-e": {"litellm_provider": "openai", "mode": "image_generation"},
    "elsewhere": {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": 1},
}


WITH = '{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": %s}}'


def refreshed(tmp_path: Path, source: str) -> tuple[int, Path]:
    target = tmp_path / "prices.toml"
    return main(["refresh", "--from", source, "--to", str(target), "--date", "2026-11-20"]), target


def test_a_refresh_writes_a_dated_table_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    code, target = refreshed(tmp_path, str(tmp_path / "map.json"))
    assert code == 0
    assert "7 prices" in capsys.readouterr().out
    monkeypatch.setattr(module, "TABLE", target)
    module.table.cache_clear()
    try:
        prices = Prices()
        assert prices.cost("openai", "gpt-4o", Usage(1000, 500, 200)) == Decimal("0.00725")
        assert prices.cost("gemini", "gemini-2.5-pro", Usage(300_000, 0)) == Decimal("0.75")
        assert prices.cost("openai", "text-embedding-3-small", Usage(100)) == Decimal("0.000002")
        assert prices.cost("local", "x", Usage(1, 1)) == 0
        for name in ("mystery", "gratis", "dall-e", "elsewhere"):
            assert prices.of("openai", name) is None
        found = prices.of("openai", "gpt-4o")
        assert found is not None
        assert found.date == "2026-11-20"
    finally:
        module.table.cache_clear()


def test_a_refresh_reads_an_address(tmp_path: Path) -> None:
    class Serve(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if "map" in self.path else 404)
            self.end_headers()
            self.wfile.write(json.dumps(MAP).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        code, target = refreshed(tmp_path, f"{base}/map.json?key=secret")
        assert code == 0
        assert "secret" not in target.read_text()
        before = target.read_text()
        assert refreshed(tmp_path, f"{base}/nothing") == (1, target)
        assert target.read_text() == before
        server.shutdown()


def test_without_a_network_the_old_table_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    code, target = refreshed(tmp_path, str(tmp_path / "map.json"))
    assert code == 0
    before = target.read_bytes()
    for address in ("http://127.0.0.1:9/map.json", "https://prices.example.invalid/map.json"):
        assert refreshed(tmp_path, address) == (1, target)
        assert address in capsys.readouterr().err
        assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("[]", "JSON object"),
        ("{", "not JSON"),
        ("{}", "no model"),
        ('{"gpt-4o": 5}', "gpt-4o: must be an object"),
        (WITH % "null", "no model"),
        (WITH % '"1"', "input_cost_per_token must be a number"),
        (WITH % "true", "input_cost_per_token must be a number"),
        (WITH % "-1", "from 0 to 1"),
        (WITH % "5", "from 0 to 1"),
        (WITH % "1e999", "from 0 to 1"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_cost_map_that_cannot_be_leaves_the_old_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], raw: str, said: str
) -> None:
    (tmp_path / "map.json").write_text(raw)
    code, target = refreshed(tmp_path, str(tmp_path / "map.json"))
    assert code == 1
    assert said in capsys.readouterr().err
    assert not target.exists()
