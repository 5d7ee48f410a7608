"""From how a request ended to its spans. Pure but for the ids of classifier and attempts that
were never sent anywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from chat.events import Usage
from gateway.engine.attempt import Attempt
from gateway.engine.ports import Settlement
from gateway.version import VERSION

SCOPE = InstrumentationScope("pointsman", VERSION)
KNOWN = {"gemini": "gcp.gemini"}
"""Providers that the conventions call otherwise."""

Value = str | bool | int | float | Sequence[str]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of ours, with the id that went with it."""

    at: float
    """Monotonic seconds."""
    span_id: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that has ended, with the ids that it had."""

    settlement: Settlement
    trace_id: int
    span_id: int
    parent_id: int | None
    method: str
    path: str
    sent: list[Sent]
    ended_ns: int
    """Time of day."""
    ended: float
    """The same moment, monotonic seconds."""

    def at_ns(self, monotonic: float) -> int:
        return self.ended_ns - round((self.ended - monotonic) * 1e9)


def spans(finished: Finished, resource: Resource) -> list[ReadableSpan]:
    """The request's span, then those of the classifier and of each attempt."""
    settlement = finished.settlement
    trace = settlement.trace
    began = finished.ended - (trace.total_ms or 0.0) / 1000
    attempts = sorted(settlement.attempts, key=lambda attempt: attempt.began)
    began = min([began, *(one.at for one in finished.sent), *(one.began for one in attempts)])
    ours, theirs = _matched(finished.sent, attempts)

    def span(
        name: str, kind: SpanKind, span_id: int, start: float, end: float, error: str | None
    ) -> _Draft:
        return _Draft(finished, resource, name, kind, span_id, start, end, error)

    root = span(
        f"{finished.method} {finished.path}".strip() or f"chat {trace.model}".strip(),
        SpanKind.SERVER,
        finished.span_id,
        began,
        finished.ended,
        settlement.error,
    )
    made = [root.made(_of_request(finished), finished.parent_id)]
    if trace.classifier_ms and ours:
        asked = ours[0]
        ended = asked.at + trace.classifier_ms / 1000
        draft = span("classify", SpanKind.CLIENT, asked.span_id, asked.at, ended, None)
        made.append(draft.made(_of_verdict(settlement), finished.span_id))
    for attempt, span_id in zip(attempts, theirs, strict=True):
        ended = attempt.ended if attempt.ended is not None else finished.ended
        failed = None if attempt.outcome in ("finished", "cancelled", "") else attempt.outcome
        name = f"chat {attempt.target.model}"
        draft = span(name, SpanKind.CLIENT, span_id, attempt.began, ended, failed)
        events = (
            [Event("first_token", timestamp=finished.at_ns(attempt.first_at))]
            if attempt.first_at is not None
            else []
        )
        made.append(draft.made(_of_attempt(attempt), finished.span_id, events, attempt.error))
    return made


@dataclass(frozen=True, slots=True)
class _Draft:
    finished: Finished
    resource: Resource
    name: str
    kind: SpanKind
    span_id: int
    start: float
    end: float
    error: str | None

    def made(
        self,
        attributes: dict[str, Value | None],
        parent_id: int | None,
        events: Sequence[Event] = (),
        words: str | None = None,
    ) -> ReadableSpan:
        if self.error is not None:
            attributes["error.type"] = self.error
        return ReadableSpan(
            self.name,
            context=self._context(self.span_id),
            parent=self._context(parent_id) if parent_id is not None else None,
            resource=self.resource,
            attributes={name: value for name, value in attributes.items() if value is not None},
            events=events,
            kind=self.kind,
            status=Status(StatusCode.ERROR, words or self.error) if self.error else Status(),
            start_time=self.finished.at_ns(self.start),
            end_time=max(self.finished.at_ns(self.end), self.finished.at_ns(self.start)),
            instrumentation_scope=SCOPE,
        )

    def _context(self, span_id: int) -> SpanContext:
        flags = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(self.finished.trace_id, span_id, is_remote=False, trace_flags=flags)


def _matched(sent: Sequence[Sent], attempts: Sequence[Attempt]) -> tuple[list[Sent], list[int]]:
    """What was sent before any attempt, and each attempt's id: of the first request that was sent
    while it was the latest to have begun, so that the upstream's spans hang below it."""
    ids = [0] * len(attempts)
    before: list[Sent] = []
    for one in sent:
        latest = max(
            (at for at, attempt in enumerate(attempts) if attempt.began <= one.at), default=None
        )
        if latest is None:
            before.append(one)
        elif not ids[latest]:
            ids[latest] = one.span_id
    return before, [span_id or random.getrandbits(64) or 1 for span_id in ids]


def _of_request(finished: Finished) -> dict[str, Value | None]:
    settlement = finished.settlement
    trace = settlement.trace
    return {
        "http.request.method": finished.method or None,
        "http.route": finished.path or None,
        "http.response.status_code": 200 if settlement.committed else None,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _named(trace.provider),
        "gen_ai.response.model": trace.model or None,
        "gen_ai.response.id": trace.request_id,
        "gen_ai.response.time_to_first_chunk": _seconds(trace.first_token_ms),
        **_of_usage(settlement.usage),
        "pointsman.request_id": trace.request_id,
        "pointsman.door": settlement.door,
        "pointsman.outcome": settlement.outcome,
        "pointsman.route": trace.route or None,
        "pointsman.target": trace.target or None,
        "pointsman.tier": trace.tier,
        "pointsman.fallbacks": len(trace.steps),
        "pointsman.queue_seconds": _seconds(trace.queue_ms),
    }


def _of_verdict(settlement: Settlement) -> dict[str, Value | None]:
    trace = settlement.trace
    return {
        "pointsman.tier": trace.tier,
        "pointsman.score": trace.score,
        "pointsman.domain": trace.domain,
        "pointsman.classifier_version": trace.classifier_version,
    }


def _of_attempt(attempt: Attempt) -> dict[str, Value | None]:
    target = attempt.target
    first = attempt.first_at - attempt.began if attempt.first_at is not None else None
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _named(target.provider.name),
        "gen_ai.request.model": target.model,
        "gen_ai.response.time_to_first_chunk": first,
        **_of_usage(attempt.usage),
        "pointsman.target": target.name,
        "pointsman.outcome": attempt.outcome or None,
        "pointsman.hedge": attempt.hedge or None,
        "pointsman.probe": bool(attempt.probe) or None,
    }


def _of_usage(usage: Usage) -> dict[str, Value | None]:
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


def _named(provider: str) -> str | None:
    return KNOWN.get(provider, provider) or None


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
