"""Writes down what happened: metrics, and one line of the access log for each request."""

from __future__ import annotations

from collections.abc import Callable

from gateway.engine.ports import Opinion, Settlement
from gateway.monitor.access import AccessLog
from gateway.monitor.metrics import Metrics


class MetricsRecorder:
    """The engine's Recorder."""

    def __init__(self, metrics: Metrics, access: AccessLog | None) -> None:
        self._metrics = metrics
        self._access = access
        self.listeners: list[Callable[[Settlement], None]] = []
        """Called with each settlement, on the loop: they keep it and return at once."""
        self.attempt = metrics.attempt

    def classified(self, opinion: Opinion, tier: str) -> None:
        self._metrics.classified(opinion, tier)

    def settle(self, settlement: Settlement) -> None:
        self._metrics.settle(settlement)
        if self._access is not None:
            self._access.add(settlement)
        for tell in self.listeners:
            tell(settlement)
