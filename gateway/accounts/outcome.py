"""What a meter said of one question, and how a caller is told: headers, or a refusal.

Both meters, the one in memory and the one in a Redis, answer with the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from chat.errors import BudgetReached, GatewayError, LimitReached
from gateway.accounts.app import NANOS, App

OK = 0
CONCURRENCY = 1
REQUESTS = 2
TOKENS = 3
MONEY_DAY = 4
MONEY_MONTH = 5
TOKENS_DAY = 6
TOKENS_MONTH = 7
HELD = 10
"""Added to a budget's code: only what runs just now is in the way."""
TOO_LARGE = 20
"""Added to TOKENS: more than the whole window has."""

SOON_S = 1.0
"""When something is given back that runs now: nobody knows better."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`*_used` counts this request too, where it was let in. Times are seconds from now."""

    code: int
    wait_s: float
    """Until there may be room."""
    requests_used: int
    requests_reset_s: float
    """Until the oldest request leaves the window; as tokens_reset_s."""
    tokens_used: int
    tokens_reset_s: float
    left: int = 0
    """Of the budget that was reached: nanos or tokens."""
    ticket: int = 0
    """The slot of the token window in which the tokens stand."""


def limit_headers(
    app: App, outcome: Outcome, reserved: Outcome | None, anthropic: bool
) -> dict[str, str]:
    """As the SDKs of OpenAI or of Anthropic read them. `reserved` knows more of the tokens."""
    found: dict[str, str] = {}
    if app.requests is not None:
        left = max(0, app.requests.count - outcome.requests_used)
        _put(found, anthropic, "requests", app.requests.count, left, outcome.requests_reset_s)
    if app.tokens is not None:
        told = reserved or outcome
        left = max(0, app.tokens.count - told.tokens_used)
        _put(found, anthropic, "tokens", app.tokens.count, left, told.tokens_reset_s)
    return found


def _put(
    found: dict[str, str], anthropic: bool, what: str, limit: int, left: int, reset_s: float
) -> None:
    if anthropic:
        moment = time.gmtime(math.ceil(time.time() + reset_s))
        found[f"anthropic-ratelimit-{what}-limit"] = str(limit)
        found[f"anthropic-ratelimit-{what}-remaining"] = str(left)
        found[f"anthropic-ratelimit-{what}-reset"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    else:
        found[f"x-ratelimit-limit-{what}"] = str(limit)
        found[f"x-ratelimit-remaining-{what}"] = str(left)
        found[f"x-ratelimit-reset-{what}"] = duration(reset_s)


def duration(seconds: float) -> str:
    """As Go writes it and OpenAI's headers have it: 12ms, 1.5s, 6m0s, 1h0m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def refusal(app: App, outcome: Outcome, headers: Mapping[str, str], need: int = 0) -> GatewayError:
    """`need`: what the request would have set aside of the budget that was reached."""
    failure = _refusal(app, outcome, need)
    failure.headers = {**failure.headers, **headers}
    return failure


def _refusal(app: App, outcome: Outcome, need: int) -> GatewayError:
    code, wait = outcome.code, outcome.wait_s
    if code == CONCURRENCY:
        return LimitReached(
            f"{app.name} has {app.concurrency} requests running, as many as it may.",
            code="concurrency",
            retry_after=wait,
        )
    if code == REQUESTS:
        assert app.requests is not None
        return LimitReached(
            f"{app.name} may ask {app.requests.count} times in {app.requests.seconds} s. "
            f"Ask again in {duration(wait)}.",
            code="rate_limit_exceeded",
            retry_after=wait,
        )
    if code in (TOKENS, TOKENS + TOO_LARGE):
        assert app.tokens is not None
        failure = LimitReached(
            f"{app.name} may use {app.tokens.count} tokens in {app.tokens.seconds} s, and "
            f"{outcome.tokens_used} of them are used or set aside; this request may need {need}.",
            code="rate_limit_exceeded",
            retry_after=wait,
        )
        if code == TOKENS + TOO_LARGE:
            failure.headers = {"X-Should-Retry": "false"}
        return failure
    return _no_budget(app, outcome, need)


def _no_budget(app: App, outcome: Outcome, need: int) -> GatewayError:
    held = outcome.code > HELD
    code = outcome.code - HELD if held else outcome.code
    money = code in (MONEY_DAY, MONEY_MONTH)
    span = "day" if code in (MONEY_DAY, TOKENS_DAY) else "month"
    what = "budget" if money else "tokens"
    left = _amount(outcome.left, money)
    if held:
        return LimitReached(
            f"{app.name} has {left} of its {what} of this {span} left, and requests that run "
            "hold it. Ask again in a moment.",
            code="budget_held",
            retry_after=outcome.wait_s,
        )
    asks = f" This request may need up to {_amount(need, money)}." if need else ""
    return BudgetReached(
        f"{app.name} has {left} of its {what} of this {span} left.{asks} "
        f"The next {span} begins in {duration(outcome.wait_s)}.",
        code="insufficient_quota",
        retry_after=outcome.wait_s,
    )


def _amount(units: int, money: bool) -> str:
    return f"{Decimal(units) / NANOS:f}" if money else f"{units}"
