"""What tokens cost, by a dated table: prices.toml, and gateway.toml's [prices] over it.

Money is exact: a rate is a whole number of pico-dollars for a token, a cost is rounded once, to a
billionth of a dollar, half to even. A price that nobody knows is None, never zero.

    python -m gateway.ledger.prices refresh --from FILE|URL    writes a new table
"""

from __future__ import annotations

import fnmatch
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from chat.events import Usage
from gateway.settings import Price as PriceSettings

TABLE = Path(__file__).with_name("prices.toml")
NANO = Decimal("1e-9")
"""A billionth of a dollar: the unit in which costs are stored."""
KEPT = 4096
"""Looked-up models; callers can name any."""
BY_SETTINGS = "settings"
"""The date of a price that gateway.toml gives without one."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Pico-dollars a token, which is micro-dollars a million."""

    input: int
    cached_input: int
    cache_write: int
    output: int

    def nano(self, usage: Usage) -> int:
        """Nano-dollars. `usage.input_tokens` counts cached and written tokens too."""
        cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
        fresh = max((usage.input_tokens or 0) - cached - written, 0)
        pico = (
            fresh * self.input
            + cached * self.cached_input
            + written * self.cache_write
            + (usage.output_tokens or 0) * self.output
        )
        return rounded(pico)


@dataclass(frozen=True, slots=True)
class Price:
    """One row. `above` are the rates of a request with more input tokens than `threshold`."""

    rates: Rates
    date: str
    """When it was read at its source, YYYY-MM-DD."""
    threshold: int | None = None
    above: Rates | None = None

    @property
    def free(self) -> bool:
        rates = self.rates
        return not (rates.input or rates.output or rates.cached_input or rates.cache_write)

    def nano(self, usage: Usage) -> int:
        above = self.above
        if above is not None and (usage.input_tokens or 0) > (self.threshold or 0):
            return above.nano(usage)
        return self.rates.nano(usage)


class Prices:
    """`given` is [prices]: "provider/model" -> price."""

    def __init__(self, given: Mapping[str, PriceSettings] | None = None) -> None:
        self._found: dict[tuple[str, str], Price | None] = {}
        self.use(given or {})

    def use(self, given: Mapping[str, PriceSettings]) -> None:
        """From the next request on."""
        self._rows = [*_configured(given), *table()]
        self._found = {}

    def of(self, provider: str, model: str) -> Price | None:
        """None when nobody knows it. The first row that matches: gateway.toml's, then the
        table's; in each, a name before a pattern and a longer pattern before a shorter."""
        key = (provider, model)
        try:
            return self._found[key]
        except KeyError:
            pass
        name = f"{provider}/{model}"
        price = next((price for pattern, price in self._rows if _matches(name, pattern)), None)
        if len(self._found) >= KEPT:
            self._found.clear()
        self._found[key] = price
        return price

    def nano(self, provider: str, model: str, usage: Usage) -> int | None:
        """Nano-dollars; None when the price or the tokens are unknown. A free model costs 0
        whatever is known of its tokens."""
        price = self.of(provider, model)
        if price is None:
            return None
        if usage.input_tokens is None and usage.output_tokens is None:
            return 0 if price.free else None
        return price.nano(usage)

    def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        """Dollars, exact to nine places; None when the price or the tokens are unknown."""
        nano = self.nano(provider, model, usage)
        return None if nano is None else dollars(nano)

    def estimate(
        self, provider: str, model: str, input_tokens: float, output_tokens: float
    ) -> float | None:
        """Dollars that so many tokens cost, roughly; None when the price is unknown."""
        price = self.of(provider, model)
        if price is None:
            return None
        rates = price.rates
        if price.above is not None and input_tokens > (price.threshold or 0):
            rates = price.above
        return (input_tokens * rates.input + output_tokens * rates.output) / 1e12

    def most(
        self, provider: str, model: str, input_tokens: int, output_tokens: int
    ) -> Decimal | None:
        """The most that so many tokens may cost: no discount for cached ones, the surcharge for
        written ones and for a long input. None when the price is unknown."""
        price = self.of(provider, model)
        if price is None:
            return None
        every = [price.rates]
        if price.above is not None and input_tokens > (price.threshold or 0):
            every.append(price.above)
        dearest = max(
            input_tokens * max(rates.input, rates.cached_input, rates.cache_write)
            + output_tokens * rates.output
            for rates in every
        )
        return dollars(rounded(dearest))


def dollars(nano: int) -> Decimal:
    """1250000 -> Decimal("0.001250000")"""
    return Decimal(nano) * NANO


def rounded(pico: int) -> int:
    """Pico -> nano, half to even."""
    nano, rest = divmod(pico, 1000)
    return nano + (rest > 500 or (rest == 500 and nano & 1))


@cache
def table() -> tuple[tuple[str, Price], ...]:
    """prices.toml as (pattern, price), in the order in which they are looked through."""
    return parsed(tomllib.loads(TABLE.read_text(encoding="utf-8")))


def parsed(tree: Mapping[str, Any]) -> tuple[tuple[str, Price], ...]:
    """The rows of a table's file. Raises ValueError that names the row and the field."""
    found: list[tuple[str, Price]] = []
    for number, row in enumerate(tree.get("price", ()), 1):
        where = f"price {number}"
        try:
            models = row["models"]
            date = row["date"].isoformat()
            price = PriceSettings.model_validate(
                {name: value for name, value in row.items() if name in PriceSettings.model_fields}
                | {"date": date}
            )
            found += [(f"{row['provider']}/{model}", _price(price)) for model in models]
        except (KeyError, AttributeError, TypeError, ValueError) as fault:
            raise ValueError(f"{where}: {fault}") from None
    return _ordered(found)


def _configured(given: Mapping[str, PriceSettings]) -> tuple[tuple[str, Price], ...]:
    return _ordered([(name, _price(price)) for name, price in given.items()])


def _ordered(rows: Iterable[tuple[str, Price]]) -> tuple[tuple[str, Price], ...]:
    return tuple(sorted(rows, key=lambda row: ("*" in row[0], -len(row[0]))))


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or ("*" in pattern and fnmatch.fnmatchcase(name, pattern))


def _price(given: PriceSettings) -> Price:
    rates = _rates(given.input, given.cached_input, given.cache_write, given.output)
    above = None
    if given.above is not None:
        # What the long input's row leaves out costs what it costs below.
        above = _rates(
            _else(given.above_input, given.input),
            _else(given.above_cached_input, given.cached_input),
            _else(given.above_cache_write, given.cache_write),
            _else(given.above_output, given.output),
        )
    return Price(rates, given.date or BY_SETTINGS, given.above, above)


def _rates(
    fresh: Decimal, cached: Decimal | None, written: Decimal | None, output: Decimal
) -> Rates:
    """Dollars a million -> pico-dollars a token. Where no price of their own is documented,
    cached and written tokens cost what others cost."""
    return Rates(
        _pico(fresh), _pico(_else(cached, fresh)), _pico(_else(written, fresh)), _pico(output)
    )


def _else(value: Decimal | None, other: Decimal | None) -> Any:
    return other if value is None else value


def _pico(per_million: Decimal) -> int:
    return int((per_million * 1_000_000).to_integral_value())


if __name__ == "__main__":
    from gateway.ledger.refresh import main

    sys.exit(main())
