"""From a settled request to the ledger's rows: one for each attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import compress
from operator import is_not
from typing import Any

from chat.events import Usage
from gateway.engine.attempt import Attempt
from gateway.engine.estimate import estimate
from gateway.engine.ports import Settlement
from gateway.ledger.prices import Price, Prices

Row = tuple[tuple[str, ...], list[Any]]
"""Which columns of SELDOM it has, and the values of ALWAYS and of those. What is unknown is not
bound: Python's SQLite looks for an adapter of each None and each bool that it is given, which was
half of what it costs to write a row."""
ALWAYS = (
    *("at", "day", "request_id", "number", "answered", "caller_id", "caller_name", "door"),
    *("route", "tier", "provider", "model", "outcome", "hedge", "cache_hit", "reason"),
    "estimated",
)
"""Those that are true or false are 1 or 0."""
SELDOM = (
    *("error", "input_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("output_tokens", "cost_nano", "priced_on", "saved_nano", "local_nano", "strong_nano"),
    *("first_ms", "total_ms", "score", "classifier_version", "propensity"),
)
NOTHING = (None,) * len(SELDOM)
Ends = tuple[tuple[str, str] | None, tuple[str, str] | None]
"""(provider, model) of the first target of a route's weakest tier and of its strongest."""
EndsOf = Callable[[str], Ends]
"""By the route's name."""

DAY_MS = 86_400_000
NOBODY = (None, None)
MOST_TOKENS = 2**53
"""More is nonsense of an upstream, and would not fit."""
NOT_BILLED = frozenset(("upstream_refused", "rate_limited", "bad_request", "upstream_auth"))
"""Kinds of errors of an upstream that answered nothing and said so."""


def rows_of(settlement: Settlement, prices: Prices, ends: EndsOf, at: int) -> list[Row]:
    """`at`: now, milliseconds since 1970. A request that reached nobody has no rows."""
    attempts = settlement.attempts
    trace = settlement.trace
    if not attempts:
        return [_alone(settlement, prices, ends, at)] if trace.provider else []
    if len(attempts) == 1:
        only = attempts[0]
        answered = settlement.outcome == only.outcome == "finished"
        return [_of_attempt(settlement, 1, only, answered, prices, ends, at)]
    answer = None
    if settlement.outcome == "finished":
        answer = next((one for one in reversed(attempts) if one.outcome == "finished"), None)
    return [
        _of_attempt(settlement, number, attempt, attempt is answer, prices, ends, at)
        for number, attempt in enumerate(attempts, 1)
    ]


def _of_attempt(
    settlement: Settlement,
    number: int,
    attempt: Attempt,
    answered: bool,
    prices: Prices,
    ends: EndsOf,
    at: int,
) -> Row:
    told, target, began = attempt.usage, attempt.target, attempt.began
    outcome, error, usage = attempt.outcome, None, told
    if outcome != "finished":
        if outcome != "cancelled":
            # One that was still running when its request ended was cut off with it.
            outcome, error = ("failed", outcome) if outcome else ("cancelled", None)
        usage = _estimated(settlement, attempt)
    provider = target.provider.name
    price = prices.of(provider, target.model)
    cost = None if price is None else _cost(price, usage)
    if cost is None and error in NOT_BILLED and attempt.first_at is None:
        cost = 0
    routed = answered and settlement.trace.tier is not None
    return _row(
        settlement,
        at,
        number,
        answered,
        provider,
        target.model,
        outcome,
        error,
        attempt.hedge,
        usage,
        price,
        cost,
        None,
        _others(settlement, usage, prices, ends) if routed else NOBODY,
        None if attempt.first_at is None else (attempt.first_at - began) * 1000,
        None if attempt.ended is None else (attempt.ended - began) * 1000,
        usage is not told,
    )


def _estimated(settlement: Settlement, attempt: Attempt) -> Usage:
    """What an answer that broke off used, where its upstream could not tell any more: the question
    by its length, a token for each piece that came."""
    usage = attempt.usage
    known = usage.input_tokens is not None and usage.output_tokens is not None
    if known or attempt.first_at is None:
        return usage
    came, went = usage.input_tokens, usage.output_tokens
    if came is None and settlement.request is not None:
        came = estimate(settlement.request)
    return replace(usage, input_tokens=came, output_tokens=attempt.seen if went is None else went)


def _alone(settlement: Settlement, prices: Prices, ends: EndsOf, at: int) -> Row:
    """Without attempts: an answer from the cache, or vectors."""
    trace, usage = settlement.trace, settlement.usage
    price = prices.of(trace.provider, trace.model)
    worth = _cost(price, usage)
    hit = trace.cache == "hit"
    if not hit and worth is None and settlement.error in NOT_BILLED:
        worth = 0
    return _row(
        settlement,
        at,
        1,
        settlement.outcome == "finished",
        trace.provider,
        trace.model,
        settlement.outcome,
        settlement.error,
        False,
        usage,
        price,
        0 if hit else worth,
        worth if hit else None,
        NOBODY,
        trace.first_token_ms,
        trace.total_ms,
        False,
    )


def _row(
    settlement: Settlement,
    at: int,
    number: int,
    answered: bool,
    provider: str,
    model: str,
    outcome: str,
    error: str | None,
    hedge: bool,
    usage: Usage,
    price: Price | None,
    cost: int | None,
    saved: int | None,
    others: tuple[int | None, int | None],
    first_ms: float | None,
    total_ms: float | None,
    estimated: bool,
) -> Row:
    """By place, as seventeen names are looked for one by one."""
    trace, caller = settlement.trace, settlement.caller
    came, went = usage.input_tokens, usage.output_tokens
    named, route, tier, reason = caller.name, trace.route, trace.tier or "", trace.reason
    if (
        len(named) > 200
        or len(route) > 100
        or len(tier) > 40
        or len(model) > 200
        or len(reason) > 300
        or "\0" in f"{named}{route}{tier}{model}{reason}"
    ):
        named, route, tier = _text(named, 200), _text(route, 100), _text(tier, 40)
        model, reason = _text(model, 200), _text(reason, 300)
    values = [
        at,
        at // DAY_MS,
        trace.request_id,
        number,
        1 if answered else 0,
        caller.id,
        named,
        settlement.door,
        route,
        tier,
        provider,
        model,
        outcome,
        1 if hedge else 0,
        1 if trace.cache == "hit" else 0,
        reason,
        1 if estimated else 0,
    ]
    seldom = (
        error,
        came if came is None or 0 <= came < MOST_TOKENS else None,
        # Most upstreams count but two of them: no call is made for what is not there.
        usage.cached_tokens and _count(usage.cached_tokens),
        usage.cache_write_tokens and _count(usage.cache_write_tokens),
        usage.reasoning_tokens and _count(usage.reasoning_tokens),
        went if went is None or 0 <= went < MOST_TOKENS else None,
        cost,
        price.date if price is not None else None,
        saved,
        *others,
        first_ms,
        total_ms,
        trace.score,
        trace.classifier_version,
        trace.propensity,
    )
    there = tuple(map(is_not, seldom, NOTHING))
    values += compress(seldom, there)
    return tuple(compress(SELDOM, there)), values


def saved_in(row: Row) -> int:
    """Billionths of a dollar that an answer which was kept did not cost."""
    names, values = row
    return values[len(ALWAYS) + names.index("saved_nano")] if "saved_nano" in names else 0


def _others(
    settlement: Settlement, usage: Usage, prices: Prices, ends: EndsOf
) -> tuple[int | None, int | None]:
    """What the same tokens would have cost at either end of the route."""
    local, strong = ends(settlement.trace.route)
    return (
        None if local is None else _cost(prices.of(*local), usage),
        None if strong is None else _cost(prices.of(*strong), usage),
    )


def _cost(price: Price | None, usage: Usage) -> int | None:
    if price is None:
        return None
    if usage.input_tokens is None and usage.output_tokens is None:
        return 0 if price.free else None
    cost = price.nano(usage)
    return cost if cost < MOST_TOKENS else None


def _count(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens < MOST_TOKENS else None


def _text(value: str, limit: int) -> str:
    """What both databases take: PostgreSQL has no null characters."""
    if len(value) > limit:
        value = value[:limit]
    return value.replace("\0", "") if "\0" in value else value
