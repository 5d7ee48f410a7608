"""The access log: one line for each request, written by a thread a few times a second.

The standard library's way, one record and one wake-up of a thread for each line, cost 45 µs of a
request; handing a tuple to a list costs one, and a thousand lines are one write. Prompts and
answers are not written.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from gateway.engine.ports import Settlement

FLUSH_S = 0.2
MAX_WAITING = 50_000
"""Lines that wait for the disk; more are dropped, and streams go on."""

Writer = Callable[[list[tuple[float, Settlement]]], None]


class AccessLog:
    """`write` is called in a thread with what came since the last time, oldest first."""

    def __init__(self, write: Writer) -> None:
        self._write = write
        # A deque's append and popleft are atomic: no line is lost between two threads.
        self._waiting: deque[tuple[float, Settlement]] = deque()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def add(self, settled: Sequence[tuple[float, Settlement]]) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.extend(settled)

    def stop(self) -> None:
        """Writes what is left."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if lines:
            self._write(lines)


def fields(settlement: Settlement) -> dict[str, object]:
    """What a line tells; what did not happen is left out."""
    trace, usage = settlement.trace, settlement.usage
    found: dict[str, object] = {
        "request_id": trace.request_id,
        "door": settlement.door,
        "outcome": settlement.outcome,
        "route": trace.route,
        "target": trace.target,
    }
    if trace.trace_id is not None:
        found["trace_id"] = trace.trace_id
    if settlement.error is not None:
        found["error"] = settlement.error
    if trace.tier is not None:
        found["tier"] = trace.tier
    if trace.score is not None:
        found["score"] = round(trace.score, 4)
    if trace.steps:
        found["fallbacks"] = len(trace.steps)
    if usage.input_tokens is not None:
        found["input_tokens"] = usage.input_tokens
    if usage.output_tokens is not None:
        found["output_tokens"] = usage.output_tokens
    if trace.classifier_ms is not None:
        found["classifier_ms"] = round(trace.classifier_ms, 1)
    if trace.first_token_ms is not None:
        found["first_token_ms"] = round(trace.first_token_ms, 1)
    if trace.total_ms is not None:
        found["total_ms"] = round(trace.total_ms, 1)
    return found
