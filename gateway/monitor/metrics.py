"""Prometheus metrics. Labels come from closed sets only: a model that a caller made up is
"other", so that nobody can fill the memory of the gateway or of Prometheus.

`.labels()` costs more than the observation (STACK 2): the children are kept.

Several workers (PROMETHEUS_MULTIPROC_DIR) count in files that any of them adds up for a scrape.
"""

from __future__ import annotations

import os
from collections.abc import Callable

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
        self._attempt_children: dict[tuple[str, str, str], Counter] = {}
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
        key = (provider, model if self._known_model(provider, model) else OTHER, outcome)
        child = self._attempt_children.get(key)
        if child is None:
            child = self._attempt_children[key] = self.attempts.labels(*key)
        child.inc()

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

    def settle(self, settlement: Settlement) -> None:
        trace = settlement.trace
        provider, model = trace.provider, trace.model
        if provider and not self._known_model(provider, model):
            model = OTHER
        key = (provider, model, trace.route, settlement.outcome)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = _Children(self, *key)
        children.requests.inc()
        if trace.total_ms is not None:
            children.duration.observe(trace.total_ms / 1000)
        if trace.first_token_ms is not None:
            children.first_token.observe(trace.first_token_ms / 1000)
        if trace.cache is not None:
            self.cache.labels(trace.route, trace.cache).inc()
        usage = settlement.usage
        if usage.input_tokens:
            children.input_tokens.inc(usage.input_tokens)
        if usage.output_tokens:
            children.output_tokens.inc(usage.output_tokens)
        for step in trace.steps:
            left, _, other = step.target.partition("/")
            named = other if self._known_model(left, other) else OTHER
            self.fallbacks.labels(left, named, trace.route).inc()
        if settlement.error is not None:
            self.errors.labels(
                settlement.door, provider, model, trace.route, settlement.error
            ).inc()


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
