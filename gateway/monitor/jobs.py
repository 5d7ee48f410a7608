"""Metrics of the queue. What waits is the same in every process that shares it."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

WAITS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class Standing(Protocol):
    @property
    def waiting(self) -> int: ...

    @property
    def oldest_s(self) -> float: ...

    @property
    def running(self) -> int: ...


class JobMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, words: str) -> Gauge:
            return Gauge(name, words, registry=registry, multiprocess_mode="mostrecent")

        self.waiting = gauge("pointsman_jobs_waiting", "Jobs in the queue.")
        self.running = gauge("pointsman_jobs_running", "Jobs that are being answered.")
        self.oldest = gauge("pointsman_jobs_oldest_seconds", "Age of the job that waits longest.")
        self.jobs = Counter(
            "pointsman_jobs", "Jobs by how they ended.", ("status",), registry=registry
        )
        self.wait = Histogram(
            "pointsman_job_wait_seconds",
            "From a job's arrival to its turn.",
            buckets=WAITS,
            registry=registry,
        )
        self.took = Histogram(
            "pointsman_job_seconds",
            "From a job's turn to its end.",
            ("status",),
            buckets=WAITS,
            registry=registry,
        )

    def ended(self, status: str, waited_s: float, took_s: float) -> None:
        self.jobs.labels(status).inc()
        self.wait.observe(max(0.0, waited_s))
        self.took.labels(status).observe(took_s)

    def stand(self, stats: Standing) -> None:
        self.waiting.set(stats.waiting)
        self.running.set(stats.running)
        self.oldest.set(stats.oldest_s)
