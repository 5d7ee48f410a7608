"""One finished request, as the live table shows it (docs/websockets.md)."""

from __future__ import annotations

from chat.request import Json
from gateway.engine.attempt import Attempt
from gateway.engine.ports import Settlement

MOST_ATTEMPTS = 20
LONGEST = 500
"""Characters of an error's words."""


def row_of(at: float, settlement: Settlement, cost: str | None) -> dict[str, Json]:
    """`at`: when it ended, seconds since 1970."""
    trace, usage = settlement.trace, settlement.usage
    return {
        "request_id": trace.request_id,
        "at": round(at, 3),
        "door": settlement.door,
        "caller": settlement.caller.name,
        "caller_id": settlement.caller.id,
        "outcome": settlement.outcome,
        "error": settlement.error,
        "route": trace.route,
        "target": trace.target,
        "provider": trace.provider,
        "model": trace.model,
        "tier": trace.tier,
        "score": trace.score,
        "domain": trace.domain,
        "reason": trace.reason,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost": cost,
        "classifier_ms": _rounded(trace.classifier_ms),
        "queue_ms": _rounded(trace.queue_ms),
        "first_token_ms": _rounded(trace.first_token_ms),
        "total_ms": _rounded(trace.total_ms),
        "tokens_per_s": speed(usage.output_tokens, trace.first_token_ms, trace.total_ms),
        "fallbacks": len(trace.steps),
        "attempts": _attempts(settlement),
    }


def speed(tokens: int | None, first_token_ms: float | None, total_ms: float | None) -> float | None:
    """Tokens a second after the first one; None where that says nothing."""
    if not tokens or first_token_ms is None or total_ms is None or total_ms - first_token_ms < 1:
        return None
    return round(tokens / (total_ms - first_token_ms) * 1000, 1)


def _attempts(settlement: Settlement) -> list[dict[str, Json]]:
    attempts = settlement.attempts[:MOST_ATTEMPTS]
    if not attempts:
        return []
    ended = max((one.ended for one in attempts if one.ended is not None), default=None)
    total = settlement.trace.total_ms
    # The request's own clock began before the first attempt: with the classifier, in a queue.
    began = (
        attempts[0].began
        if ended is None or total is None
        else min(attempts[0].began, ended - total / 1000)
    )
    return [_attempt(one, began) for one in attempts]


def _attempt(one: Attempt, began: float) -> dict[str, Json]:
    def since(moment: float | None) -> float | None:
        return None if moment is None else int((moment - began) * 10_000 + 0.5) / 10

    return {
        "target": one.target.name,
        "began_ms": since(one.began),
        "first_ms": since(one.first_at),
        "ended_ms": since(one.ended),
        "outcome": one.outcome,
        "error": None if one.error is None else one.error[:LONGEST],
        "hedge": one.hedge,
    }


def _rounded(milliseconds: float | None) -> float | None:
    # `round` reads the number out of its own text, as dear as five calls.
    return None if milliseconds is None else int(milliseconds * 100 + 0.5) / 100
