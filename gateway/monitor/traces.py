"""OpenTelemetry: a span for the request, one for each attempt, one for the classifier.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra `otel` is installed; then nothing of
this is loaded, and a request passes none of it. When it is on, a request costs its ids and a line
in a list: spans are made from the recorded times after the answer has ended, by a thread, and sent
as OTLP over HTTP. Names are those of the semantic conventions for generative AI. Prompts and
answers are not in them.

    traceparent of the caller -> server span -> classifier span -> traceparent to the classifier
                                             -> attempt spans   -> traceparent to the upstream
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from gateway.engine.ports import Settlement
from gateway.monitor.spans import Finished, Sent, spans
from gateway.settings import SettingsError
from gateway.version import VERSION

FLUSH_S = 1.0
MAX_WAITING = 10_000
"""Requests whose spans wait; of more, nothing is kept."""
BATCH = 512
PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""W3C trace context, version 00."""

log = logging.getLogger("pointsman.traces")


@dataclass(slots=True)
class Current:
    """The request that runs in this context."""

    trace_id: int
    span_id: int
    parent_id: int | None
    sampled: bool
    method: str
    path: str
    state: str = ""
    """tracestate of the caller; it is passed on as it is."""
    sent: list[Sent] = field(default_factory=list)
    settled: bool = False


CURRENT: ContextVar[Current | None] = ContextVar("trace", default=None)


class Traces:
    """`share` of the requests without a parent are kept; one with a parent follows it."""

    def __init__(self, exporter: OTLPSpanExporter, resource: Resource, share: float) -> None:
        self._exporter = exporter
        self._resource = resource
        self._share = share
        self._waiting: deque[Finished] = deque()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def middleware(self) -> Middleware:
        @web.middleware
        async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
            CURRENT.set(self.begun(request))
            return await handler(request)

        return traced

    def begun(self, request: web.Request) -> Current:
        """Ids for a request: of its caller's trace, or of a new one."""
        given = PARENT.fullmatch(request.headers.get("traceparent", ""))
        path = request.match_info.route.resource
        where = path.canonical if path is not None else request.path
        trace_id = int(given[1], 16) if given else 0
        parent_id = int(given[2], 16) if given else 0
        if given and trace_id and parent_id:
            sampled = bool(int(given[3], 16) & 1)
            state = request.headers.get("tracestate", "")
            state = state if len(state) <= 512 and state.isprintable() and state.isascii() else ""
            return Current(
                trace_id, _id(64), parent_id, sampled, request.method, where, state=state
            )
        sampled = random.random() < self._share  # noqa: S311
        return Current(_id(128), _id(64), None, sampled, request.method, where)

    def carry(self) -> bytes:
        """Header lines for a request of ours to a classifier or an upstream."""
        current = CURRENT.get()
        if current is None:
            return b""
        span_id = _id(64)
        current.sent.append(Sent(time.monotonic(), span_id))
        lines = b"traceparent: 00-%032x-%016x-%02x\r\n" % (
            current.trace_id,
            span_id,
            current.sampled,
        )
        if current.state:
            lines += b"tracestate: %b\r\n" % current.state.encode("ascii")
        return lines

    def settled(self, settlement: Settlement) -> None:
        """One of the recorder's listeners."""
        current = CURRENT.get()
        if current is None:
            current = Current(_id(128), _id(64), None, random.random() < self._share, "", "")  # noqa: S311
        elif current.settled:
            # A WebSocket, or a batch: each answer is a child of what began it.
            current = Current(
                current.trace_id,
                _id(64),
                current.span_id,
                current.sampled,
                current.method,
                current.path,
                sent=current.sent,
            )
        current.settled = True
        settlement.trace.trace_id = f"{current.trace_id:032x}"
        if current.sampled and len(self._waiting) < MAX_WAITING:
            self._waiting.append(
                Finished(
                    settlement=settlement,
                    trace_id=current.trace_id,
                    span_id=current.span_id,
                    parent_id=current.parent_id,
                    method=current.method,
                    path=current.path,
                    sent=current.sent,
                    ended_ns=time.time_ns(),
                    ended=time.monotonic(),
                )
            )
            current.sent = []

    def stop(self) -> None:
        """Sends what is left, for five seconds at most. Blocks: call it in a thread."""
        self._stopped.set()
        self._thread.join(timeout=5)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            made: list[ReadableSpan] = []
            while self._waiting and len(made) < BATCH:
                made += spans(self._waiting.popleft(), self._resource)
            if self._exporter.export(made) is not SpanExportResult.SUCCESS:
                log.warning("traces not taken", extra={"fields": {"spans": len(made)}})
                return


def start(environment: Mapping[str, str]) -> Traces:
    """To the receiver that the environment names. Raises SettingsError for a share that is none."""
    endpoint = environment["OTEL_EXPORTER_OTLP_ENDPOINT"].rstrip("/")
    given = environment.get("OTEL_TRACES_SAMPLER_ARG") or "1"
    try:
        share = float(given)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise SettingsError(f"OTEL_TRACES_SAMPLER_ARG must be from 0 to 1, not {given!r}")
    name = environment.get("OTEL_SERVICE_NAME") or "pointsman"
    resource = Resource.create({"service.name": name, "service.version": VERSION})
    return Traces(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces"), resource, share)


def _id(bits: int) -> int:
    """Not nought, which means none. A name, not a secret."""
    return random.getrandbits(bits) or 1
