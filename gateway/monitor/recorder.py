"""Writes down what happened: metrics, and one line of the access log for each request."""

from __future__ import annotations

import logging

from gateway.engine.ports import Opinion, Settlement
from gateway.monitor.metrics import Metrics

log = logging.getLogger("pointsman.access")


class MetricsRecorder:
    """The engine's Recorder. Prompts and answers are not written."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.opened = metrics.opened
        self.attempt = metrics.attempt

    def classified(self, opinion: Opinion, tier: str) -> None:
        self._metrics.classified(opinion, tier)

    def settle(self, settlement: Settlement) -> None:
        self._metrics.settle(settlement)
        if log.isEnabledFor(logging.INFO):
            log.info("%s", settlement.outcome, extra={"fields": _fields(settlement)})


def _fields(settlement: Settlement) -> dict[str, object]:
    trace, usage = settlement.trace, settlement.usage
    fields: dict[str, object] = {
        "request_id": trace.request_id,
        "door": settlement.door,
        "outcome": settlement.outcome,
        "error": settlement.error,
        "route": trace.route,
        "target": trace.target,
        "tier": trace.tier,
        "score": None if trace.score is None else round(trace.score, 4),
        "fallbacks": len(trace.steps),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "classifier_ms": _rounded(trace.classifier_ms),
        "first_token_ms": _rounded(trace.first_token_ms),
        "total_ms": _rounded(trace.total_ms),
    }
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
