"""Counters of the service, right across its workers.

gunicorn's settings name a directory in PROMETHEUS_MULTIPROC_DIR before this module is imported;
each worker then counts in a file there, and any worker's scrape adds them up.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_REQUESTS = Counter(
    "classifier_requests", "Requests answered, by path and status.", ["path", "status"]
)
_DECISIONS = Counter(
    "classifier_decisions", "Prompts classified, by tier and kind of work.", ["tier", "domain"]
)
_FAR = Counter("classifier_out_of_distribution", "Prompts far from everything that was learnt.")


class _Times(Histogram):
    """A histogram that takes many observations at the price of one."""

    def observe_all(self, seconds: list[float]) -> None:
        """Count each in its bucket."""
        counts = Counted(bisect_left(self._upper_bounds, took) for took in seconds)
        for bucket, count in counts.items():
            self._buckets[bucket].inc(count)
        self._sum.inc(sum(seconds))


_SCORING = _Times(
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
_WORKERS = Gauge(
    "classifier_model_workers",
    "Workers that serve this version.",
    ["version"],
    multiprocess_mode="livesum",
)
_SWAPS = Counter(
    "classifier_model_swaps",
    "Times that a worker took, or refused, another artefact.",
    ["role", "outcome"],
)
_REFUSED = Gauge(
    "classifier_model_refused",
    "Workers for which the artefact on disk must not serve.",
    ["role"],
    multiprocess_mode="livesum",
)
_SHADOW = Counter(
    "classifier_shadow_decisions",
    "Prompts scored by both models, by version and by the tier that each would take.",
    ["active", "shadow", "active_tier", "shadow_tier"],
)
_DIFFERENCE = Counter(
    "classifier_shadow_absolute_difference",
    "Sum of the absolute differences of the two scores.",
    ["active", "shadow"],
)
_DROPPED = Counter(
    "classifier_shadow_dropped", "Prompts that the shadow was late for or failed on.", ["why"]
)

LAG = 0.05
"""Seconds for which decisions may be counted and not written; a scrape waits for them."""


@lru_cache(maxsize=256)
def _requests(path: str, status: int) -> Counter:
    return _REQUESTS.labels(path, str(status))


@lru_cache(maxsize=64)
def _decisions(tier: str, domain: str) -> Counter:
    return _DECISIONS.labels(tier, domain)


def answered(path: str, status: int) -> None:
    """One request was answered; `path` is a route of ours or "other"."""
    _requests(path, status).inc()


class Tally:
    """Decisions that are counted but not written yet.

    Counters in a file of each worker cost five microseconds a prompt to write. So one writing does
    for all prompts of LAG seconds.
    """

    def __init__(self) -> None:
        self._decided: list[tuple[str, str, bool, float]] = []

    def add(self, tier: str, domain: str, far: bool, seconds: float) -> bool:
        """One prompt was scored; whether it is the first since the last writing."""
        self._decided.append((tier, domain, far, seconds))
        return len(self._decided) == 1

    def write(self) -> None:
        """Hand over what was counted."""
        decided, self._decided = self._decided, []
        for (tier, domain), count in Counted(row[:2] for row in decided).items():
            _decisions(tier, domain).inc(count)
        if far := sum(row[2] for row in decided):
            _FAR.inc(far)
        if decided:
            _SCORING.observe_all([row[3] for row in decided])


def serves(name: str, version: str, before: tuple[str, str] | None = None) -> None:
    """This worker serves this model now, and no longer the one before."""
    if before is not None:
        _MODEL.labels(*before).set(0)
        _WORKERS.labels(before[1]).set(0)
        _SWAPS.labels("active", "swapped").inc()
    _MODEL.labels(name, version).set(1)
    _WORKERS.labels(version).set(1)
    _REFUSED.labels("active").set(0)


def refused(role: str) -> None:
    """The artefact on disk for this role, "active" or "shadow", must not be used."""
    _SWAPS.labels(role, "refused").inc()
    _REFUSED.labels(role).set(1)


def shadow_serves() -> None:
    """A candidate scores beside the active model."""
    _SWAPS.labels("shadow", "swapped").inc()
    _REFUSED.labels("shadow").set(0)


def shadowed(versions: tuple[str, str], tiers: tuple[str, str], difference: float) -> None:
    """One prompt was scored by both, (active, shadow)."""
    _SHADOW.labels(*versions, *tiers).inc()
    _DIFFERENCE.labels(*versions).inc(difference)


def shadow_dropped(why: str) -> None:
    """One prompt has no score of the shadow: it was "late", or it "failed"."""
    _DROPPED.labels(why).inc()


class Compared(Collector):
    """What the registry holds, and the means and shares that follow from the shadow's counters."""

    def __init__(self, inner: Iterable[Metric]) -> None:
        self._inner = inner

    def collect(self) -> Iterable[Metric]:
        """All families of the registry, then three of our own for each pair of versions."""
        seen: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
        apart: dict[tuple[str, str], float] = {}
        for family in self._inner:
            for sample in family.samples:
                pair = (sample.labels.get("active", ""), sample.labels.get("shadow", ""))
                if sample.name == "classifier_shadow_decisions_total":
                    tiers = (sample.labels["active_tier"], sample.labels["shadow_tier"])
                    seen.setdefault(pair, {})[tiers] = sample.value
                elif sample.name == "classifier_shadow_absolute_difference_total":
                    apart[pair] = sample.value
            yield family
        labels = ("active", "shadow")
        agreement = GaugeMetricFamily(
            "classifier_shadow_agreement", "Share of prompts to the same tier.", labels=labels
        )
        mean = GaugeMetricFamily(
            "classifier_shadow_mean_absolute_difference",
            "Mean absolute difference of the two scores.",
            labels=labels,
        )
        share = GaugeMetricFamily(
            "classifier_shadow_strong_share",
            "Share of the same prompts that each of the two sends to the strong tier.",
            labels=(*labels, "of"),
        )
        for pair, counts in seen.items():
            total = sum(counts.values())
            if not total:
                continue
            same = sum(n for (one, other), n in counts.items() if one == other)
            agreement.add_metric(pair, same / total)
            mean.add_metric(pair, apart.get(pair, 0.0) / total)
            for place, of in enumerate(labels):
                strong = sum(n for tiers, n in counts.items() if tiers[place] == "strong")
                share.add_metric((*pair, of), strong / total)
        yield from (agreement, mean, share)


def scrape() -> bytes:
    """All workers' figures in Prometheus' text format. Reads files: call it in a thread."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    whole = CollectorRegistry(auto_describe=False)
    whole.register(Compared(registry.collect()))
    return generate_latest(whole)
