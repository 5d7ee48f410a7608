"""The access log: one line for each request, written by a thread a few times a second.

The standard library's way, one record and one wake-up of a thread for each line, cost 45 µs of a
request; handing a tuple to a list costs one, and a thousand lines are one write. Prompts and
answers are not written.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from gateway.engine.ports import Settlement

FLUSH_S = 0.2
MAX_WAITING = 50_000
"""Lines that wait for the disk; more are dropped, and streams go on."""

Writer = Callable[[list[tuple[float, Settlement]]], None]


class AccessLog:
    """`write` is called in a thread with what came since the last time, oldest first."""

    def __init__(self, write: Writer, now: Callable[[], float] = time.time) -> None:
        self._write = write
        self._now = now
        # A deque's append and popleft are atomic: no line is lost between two threads.
        self._waiting: deque[tuple[float, Settlement]] = deque()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def add(self, settlement: Settlement) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append((self._now(), settlement))

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
    """What a line tells; fields without a value are left out."""
    trace, usage = settlement.trace, settlement.usage
    found: dict[str, object] = {
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
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
