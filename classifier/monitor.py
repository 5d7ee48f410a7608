"""Counters of the service, right across its workers.

gunicorn's settings name a directory in PROMETHEUS_MULTIPROC_DIR before this module is imported;
each worker then counts in a file there, and any worker's scrape adds them up.
"""

from __future__ import annotations

import os
from functools import lru_cache

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

_REQUESTS = Counter(
    "classifier_requests", "Requests answered, by path and status.", ["path", "status"]
)
_DECISIONS = Counter(
    "classifier_decisions", "Prompts classified, by tier and kind of work.", ["tier", "domain"]
)
_FAR = Counter("classifier_out_of_distribution", "Prompts far from everything that was learnt.")
_SCORING = Histogram(
    "classifier_scoring_seconds",
    "Time to score one prompt.",
    buckets=(50e-6, 100e-6, 150e-6, 200e-6, 300e-6, 400e-6, 600e-6, 1e-3, 2e-3, 5e-3, 20e-3),
)
_MODEL = Gauge(
    "classifier_model_info",
    "1 for the model that serves.",
    ["name", "version"],
    multiprocess_mode="mostrecent",
)


@lru_cache(maxsize=256)
def _requests(path: str, status: int) -> Counter:
    return _REQUESTS.labels(path, str(status))


@lru_cache(maxsize=64)
def _decisions(tier: str, domain: str) -> Counter:
    return _DECISIONS.labels(tier, domain)


def answered(path: str, status: int) -> None:
    """One request was answered; `path` is a route of ours or "other"."""
    _requests(path, status).inc()


def decided(tier: str, domain: str, far: bool, seconds: float) -> None:
    """One prompt was scored."""
    _decisions(tier, domain).inc()
    _SCORING.observe(seconds)
    if far:
        _FAR.inc()


def serves(name: str, version: str) -> None:
    """This worker serves this model."""
    _MODEL.labels(name, version).set(1)


def scrape() -> bytes:
    """All workers' figures in Prometheus' text format. Reads files: call it in a thread."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
