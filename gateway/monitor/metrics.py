"""Prometheus metrics. Labels come from closed sets only: a model that a caller made up is
"other", so that nobody can fill the memory of the gateway or of Prometheus.

`.labels()` costs more than the observation (STACK 2): the children are kept.

Several workers (PROMETHEUS_MULTIPROC_DIR) count in files that any of them adds up for a scrape.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counting
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.engine.ports import Opinion, Settlement
from gateway.monitor.jobs import JobMetrics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
CLASSIFIER_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
OTHER = "other"


class Metrics:
    """`known_model(provider, model)` says whether a model's name may be a label."""

    def __init__(self, known_model: Callable[[str, str], bool]) -> None:
        self._known_model = known_model
        self.registry = CollectorRegistry()
        target = ("provider", "model", "route")
        self.requests = Counter(
            "pointsman_requests",
            "Requests by how they ended.",
            (*target, "outcome"),
            registry=self.registry,
        )
        self.errors = Counter(
            "pointsman_errors",
            "Failed requests by kind of error.",
            ("door", *target, "kind"),
            registry=self.registry,
        )
        self.tokens = Counter(
            "pointsman_tokens",
            "Tokens as the upstreams counted them.",
            (*target, "direction"),
            registry=self.registry,
        )
        self.attempts = Counter(
            "pointsman_attempts",
            "Attempts by how they ended.",
            ("provider", "model", "outcome"),
            registry=self.registry,
        )
        self.fallbacks = Counter(
            "pointsman_fallbacks",
            "Attempts that failed unseen and were followed by another.",
            target,
            registry=self.registry,
        )
        self.first_token = Histogram(
            "pointsman_first_token_seconds",
            "From the request to the first bytes of its answer.",
            target,
            buckets=SECONDS,
            registry=self.registry,
        )
        self.duration = Histogram(
            "pointsman_request_seconds",
            "From the request to the end of its answer.",
            (*target, "outcome"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "pointsman_in_flight",
            "Requests that run now.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.shed = Gauge(
            "pointsman_shed",
            "Requests that were turned away since the start, as too much ran or the loop was late.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.classifier = Histogram(
            "pointsman_classifier_seconds",
            "Time in the classifier, as the gateway sees it.",
            buckets=CLASSIFIER_SECONDS,
            registry=self.registry,
        )
        self.decisions = Counter(
            "pointsman_decisions",
            "Tiers chosen; source: classifier, cache or failure.",
            ("tier", "source"),
            registry=self.registry,
        )
        self.feedback = Counter(
            "pointsman_feedback",
            "What callers said of answers, by the tier that had answered.",
            ("value", "tier"),
            registry=self.registry,
        )
        self.jobs = JobMetrics(self.registry)
        self.reloads = Counter(
            "pointsman_reloads",
            "Reloads of the settings; outcome: applied or refused.",
            ("outcome",),
            registry=self.registry,
        )
        self.ledger = Counter(
            "pointsman_ledger_rows",
            "Rows of the ledger; outcome: written or dropped.",
            ("outcome",),
            registry=self.registry,
        )
        self.ledger_waiting = Gauge(
            "pointsman_ledger_waiting",
            "Rows of the ledger that wait for the database.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.cache = Counter(
            "pointsman_cache",
            "Questions whose answer may be kept; outcome: hit or miss.",
            ("route", "outcome"),
            registry=self.registry,
        )
        self.cache_saved = Counter(
            "pointsman_cache_saved_dollars",
            "What hits would have cost, where the price is known.",
            ("route",),
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, str, str], _Children] = {}
        self._attempted: list[tuple[str, str, str]] = []
        self._decision_children: dict[tuple[str, str], Counter] = {}

    def share(self) -> None:
        """Writes down the gauges that are read when they are scraped: a scrape may meet any of
        several workers, and none can look into another."""
        for gauge in (self.in_flight, self.shed):
            for family in gauge.collect():
                gauge.set(family.samples[0].value)

    def render(self) -> bytes:
        """The text format. Blocks for as long as there are labels: call it in a thread."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        whole = CollectorRegistry()
        MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
        return generate_latest(whole)

    def attempt(self, provider: str, model: str, outcome: str) -> None:
        """Counted with the requests that settle next."""
        self._attempted.append((provider, model, outcome))

    def ledger_rows(self, outcome: str, count: int) -> None:
        self.ledger.labels(outcome).inc(count)

    def cache_saves(self, route: str, nano: int) -> None:
        self.cache_saved.labels(route).inc(nano / 1e9)

    def ledger_waits(self, count: int) -> None:
        self.ledger_waiting.set(count)

    def classified(self, opinion: Opinion, tier: str) -> None:
        if opinion.cached:
            source = "cache"
        else:
            source = "classifier" if opinion.verdict else "failure"
            self.classifier.observe(opinion.milliseconds / 1000)
        child = self._decision_children.get((tier, source))
        if child is None:
            child = self._decision_children[tier, source] = self.decisions.labels(tier, source)
        child.inc()

    def settled(self, some: Sequence[tuple[float, Settlement]]) -> None:
        """Counts requests, a few at a time: those of one kind are one step of a counter."""
        kinds: dict[tuple[str, str, str, str], _Kind] = {}
        for _, settlement in some:
            trace, usage = settlement.trace, settlement.usage
            key = (trace.provider, trace.model, trace.route, settlement.outcome)
            kind = kinds.get(key)
            if kind is None:
                kind = kinds[key] = _Kind()
            kind.requests += 1
            if trace.total_ms is not None:
                kind.total.append(trace.total_ms / 1000)
            if trace.first_token_ms is not None:
                kind.first.append(trace.first_token_ms / 1000)
            kind.input_tokens += usage.input_tokens or 0
            kind.output_tokens += usage.output_tokens or 0
            if trace.cache is not None or trace.steps or settlement.error is not None:
                self._seldom(settlement)
        for key, kind in kinds.items():
            provider, model, route, outcome = key
            named = (provider, self._model(provider, model), route, outcome)
            children = self._children.get(named)
            if children is None:
                children = self._children[named] = _Children(self, *named)
            children.count(kind)
        attempted, self._attempted = self._attempted, []
        for (provider, model, outcome), count in Counting(attempted).items():
            self.attempts.labels(provider, self._model(provider, model), outcome).inc(count)

    def _seldom(self, settlement: Settlement) -> None:
        trace = settlement.trace
        if trace.cache is not None:
            self.cache.labels(trace.route, trace.cache).inc()
        for step in trace.steps:
            left, _, other = step.target.partition("/")
            named = other if self._known_model(left, other) else OTHER
            self.fallbacks.labels(left, named, trace.route).inc()
        if settlement.error is not None:
            model = self._model(trace.provider, trace.model)
            self.errors.labels(
                settlement.door, trace.provider, model, trace.route, settlement.error
            ).inc()

    def _model(self, provider: str, model: str) -> str:
        """As a label. Of what reached nobody the name is told all the same: it is ours."""
        return model if not provider or self._known_model(provider, model) else OTHER


class _Kind:
    """Requests of one target, route and outcome that settled together. Times in seconds."""

    __slots__ = ("first", "input_tokens", "output_tokens", "requests", "total")

    def __init__(self) -> None:
        self.requests = self.input_tokens = self.output_tokens = 0
        self.first: list[float] = []
        self.total: list[float] = []


class _Children:
    """The bound metrics of one target, route and outcome."""

    def __init__(
        self, metrics: Metrics, provider: str, model: str, route: str, outcome: str
    ) -> None:
        target = (provider, model, route)
        self.requests = metrics.requests.labels(*target, outcome)
        self.duration = metrics.duration.labels(*target, outcome)
        self.first_token = metrics.first_token.labels(*target)
        self.input_tokens = metrics.tokens.labels(*target, "input")
        self.output_tokens = metrics.tokens.labels(*target, "output")

    def count(self, kind: _Kind) -> None:
        self.requests.inc(kind.requests)
        observe(self.duration, kind.total)
        observe(self.first_token, kind.first)
        if kind.input_tokens:
            self.input_tokens.inc(kind.input_tokens)
        if kind.output_tokens:
            self.output_tokens.inc(kind.output_tokens)


def observe(histogram: Histogram, values: Sequence[float]) -> None:
    """As Histogram.observe of each, with one lock for a bucket instead of two for a value: by the
    parts that observe itself uses, as the library has no call for it (a test holds them equal)."""
    if not values:
        return
    bounds, buckets = histogram._upper_bounds, histogram._buckets
    histogram._sum.inc(sum(values))
    for place, count in Counting([bisect_left(bounds, value) for value in values]).items():
        buckets[place].inc(count)
