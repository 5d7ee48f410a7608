"""One application that may call, as the hot path reads it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from gateway.engine.ports import Caller
from gateway.terms import Rate, Terms

NANOS = 10**9
"""The unit of account is a billionth of the prices' currency: whole numbers, that a Redis adds up
without loss, too."""


def nanos(money: Decimal) -> int:
    """Rounded up, so that many small costs are never nothing."""
    return int((money * NANOS).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class App:
    """What an app code stands for. Money is in nanos; None is without a limit."""

    id: str
    name: str
    caller: Caller
    allowed_request_types: tuple[str, ...]
    """Empty: any."""
    models: tuple[str, ...]
    """Patterns; empty: any."""
    max_tokens: int | None
    priority: int
    concurrency: int | None
    requests: Rate | None
    tokens: Rate | None
    budget_day: int | None
    budget_month: int | None
    tokens_day: int | None
    tokens_month: int | None
    limited: bool
    """Anything is counted for it at all."""
    reserves: bool
    """Tokens or money are set aside before a call."""
    spends: bool
    """Money is."""

    def takes(self, request_type: str) -> bool:
        return not self.allowed_request_types or request_type in self.allowed_request_types

    @classmethod
    def of(cls, id_: str, terms: Terms) -> App:
        requests = Rate.parse(terms.rate_limit) if terms.rate_limit else None
        tokens = Rate.parse(terms.token_limit) if terms.token_limit else None
        day, month = terms.budget_day, terms.budget_month
        spends = day is not None or month is not None
        reserves = (
            spends
            or tokens is not None
            or terms.tokens_day is not None
            or terms.tokens_month is not None
        )
        return cls(
            id=id_,
            name=terms.name,
            caller=Caller(id_, terms.name, priority=terms.priority),
            allowed_request_types=terms.allowed_request_types,
            models=terms.models,
            max_tokens=terms.max_tokens,
            priority=terms.priority,
            concurrency=terms.concurrency,
            requests=requests,
            tokens=tokens,
            budget_day=None if day is None else nanos(day),
            budget_month=None if month is None else nanos(month),
            tokens_day=terms.tokens_day,
            tokens_month=terms.tokens_month,
            limited=reserves or requests is not None or terms.concurrency is not None,
            reserves=reserves,
            spends=spends,
        )
