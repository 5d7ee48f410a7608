"""`make prices`: a new price table from a cost map in the shape that litellm publishes.

    {"gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06,
                "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06}, ...}

Prices there are dollars a token. The map is looked through whole before anything is written: an
entry that cannot be stops it, and the old table stays. A model without a price, or with a price
of nothing, is left out: unknown is unknown.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from gateway.ledger.prices import TABLE, parsed

PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "together_ai": "together",
    "groq": "groq",
    "openrouter": "openrouter",
}
"""The map's name of a provider -> the catalogue's."""
OWN = ("ollama", "local", "llamacpp", "vllm")
"""A machine of your own sends no bill."""
MODES = (None, "chat", "completion", "responses", "embedding")
FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
MAX_BYTES = 64 * 2**20
TIMEOUT_S = 30
HEAD = """\
# Dollars for a million tokens. `make prices` writes this file anew; [prices] in gateway.toml wins
# over it. A model that is not here has an unknown price, which is not zero.
"""


class CostMapError(ValueError):
    """The map cannot be; says which model and which field."""


def main(given: Sequence[str] | None = None) -> int:
    """0 when the table was written; 1, and the old one stays, when the map cannot be."""
    parser = argparse.ArgumentParser(prog="python -m gateway.ledger.prices")
    commands = parser.add_subparsers(required=True)
    refresh = commands.add_parser("refresh", help="write a new dated table from a cost map")
    refresh.add_argument("--from", dest="source", required=True, metavar="FILE|URL")
    refresh.add_argument("--to", type=Path, default=TABLE, metavar="FILE")
    refresh.add_argument(
        "--date", type=datetime.date.fromisoformat, default=None, help="default: today, UTC"
    )
    asked = parser.parse_args(given)
    date = asked.date or datetime.datetime.now(datetime.UTC).date()
    try:
        rows = converted(_read(asked.source))
        text = written(rows, date, _named(asked.source))
        before = _known(asked.to)
        after = dict(parsed(tomllib.loads(text)))
    except (CostMapError, OSError) as fault:
        sys.stderr.write(f"prices: {fault}\n")
        return 1
    fresh = asked.to.with_name(asked.to.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(asked.to)
    changed = [name for name in after if name in before and after[name].rates != before[name].rates]
    sys.stdout.write(
        f"{asked.to}: {len(after)} prices, {len(after.keys() - before.keys())} new, "
        f"{len(changed)} changed, {len(before.keys() - after.keys())} gone\n"
    )
    return 0


def converted(tree: Any) -> list[dict[str, Any]]:
    """The map's models of the catalogue's providers, as rows. Raises CostMapError."""
    if not isinstance(tree, dict):
        raise CostMapError("the cost map must be a JSON object of models")
    rows = [
        row
        for name, entry in sorted(tree.items())
        if name != "sample_spec" and (row := _row(name, entry)) is not None
    ]
    if not rows:
        raise CostMapError(f"no model of {', '.join(PROVIDERS)} has a price in the cost map")
    return rows


def written(rows: Sequence[Mapping[str, Any]], date: datetime.date, source: str) -> str:
    """The table's text."""
    free = [
        {"provider": name, "models": ["*"], "input": Decimal(0), "output": Decimal(0)}
        for name in OWN
    ]
    parts = [HEAD]
    for row in [*free, *rows]:
        own = row["provider"] in OWN
        lines = ["[[price]]", f"provider = {json.dumps(row['provider'])}"]
        lines.append(f"models = {json.dumps(row['models'])}")
        lines += [
            f"{name} = {value:f}" if isinstance(value, Decimal) else f"{name} = {value}"
            for name, value in row.items()
            if name not in ("provider", "models")
        ]
        lines.append(f"date = {date.isoformat()}")
        lines.append(f"source = {json.dumps('your own machine' if own else source)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _row(name: str, entry: Any) -> dict[str, Any] | None:
    if not isinstance(entry, dict):
        raise CostMapError(f"{name[:100]}: must be an object")
    provider = PROVIDERS.get(str(entry.get("litellm_provider")))
    if provider is None or entry.get("mode") not in MODES:
        return None
    model = name.removeprefix(f"{entry['litellm_provider']}/")
    # Fine-tuned ones carry their owner's name behind them.
    if not MODEL.fullmatch(model) or model.startswith("ft:"):
        return None
    prices = {field: _price(entry, key, name) for field, key in FIELDS.items()}
    if prices["output"] is None and entry.get("mode") == "embedding":
        prices["output"] = Decimal(0)
    if prices["input"] is None or prices["output"] is None:
        return None
    if not prices["input"] and not prices["output"]:
        return None
    row: dict[str, Any] = {"provider": provider, "models": [model]}
    row |= {field: value for field, value in prices.items() if value is not None}
    lines = sorted(int(found[1]) for key in entry if (found := ABOVE.fullmatch(key)))
    if lines:
        row["above"] = lines[0] * 1000
        for field, key in FIELDS.items():
            value = _price(entry, f"{key}_above_{lines[0]}k_tokens", name)
            if value is not None:
                row[f"above_{field}"] = value
    return row


def _price(entry: Mapping[str, Any], key: str, name: str) -> Decimal | None:
    """Dollars a token -> dollars a million, to a millionth of a dollar."""
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        _wrong(name, key, "must be a number")
    million = Decimal(value) * 1_000_000
    if not million.is_finite() or million < 0 or million > 1_000_000:
        _wrong(name, key, "must be from 0 to 1 dollar a token")
    exact = round(million, 6)
    return exact.normalize() if exact else Decimal(0)


def _wrong(name: str, key: str, message: str) -> NoReturn:
    raise CostMapError(f"{name[:100]}: {key} {message}")


def _read(source: str) -> Any:
    """Raises CostMapError and OSError."""
    if source.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(source, timeout=TIMEOUT_S) as answer:  # noqa: S310
                raw = answer.read(MAX_BYTES + 1)
        except urllib.error.URLError as fault:
            if isinstance(fault, urllib.error.HTTPError):
                fault.close()  # It holds the answer open.
            raise CostMapError(f"{source}: {fault.reason}") from None
    else:
        with Path(source).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise CostMapError(f"{source}: has more than {MAX_BYTES} bytes")
    try:
        # A float would make 1.25e-06 something else.
        return json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError) as fault:
        raise CostMapError(f"{source}: is not JSON: {fault}") from None


def _known(path: Path) -> dict[str, Any]:
    try:
        return dict(parsed(tomllib.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError):
        return {}


def _named(source: str) -> str:
    """The source in words: a file's name, or an address without what may be a key in it."""
    if source.startswith(("http://", "https://")):
        return f"the cost map at {source.partition('?')[0]}"
    return f"the cost map {Path(source).name}"
