"""The access log: one line for each request, written by a thread a few times a second.

The standard library's way, one record and one wake-up of a thread for each line, cost 45 µs of a
request; handing a tuple to a list costs one, and a thousand lines are one write. Prompts and
answers are not written.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.engine.ports import Settlement

FLUSH_S = 0.2
MAX_WAITING = 50_000
"""Lines that wait for the disk; more are dropped, and streams go on."""

PROBES = frozenset(("/healthz", "/readyz", "/health", "/metrics"))
"""Asked every few seconds by machines: only what went wrong is written."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that put no question to a model, or that was refused before it could."""

    request_id: str
    method: str
    path: str
    """The pattern of the routes, as what a caller wrote there may be anything; "" for none."""
    status: int
    caller_id: str | None
    error: str | None
    total_ms: float


Entry = Settlement | Visit
Line = tuple[bytes, bytes]
"""As the terminal has it, and as the files have it: empty where there are none."""
Liner = Callable[[float, Entry], Line]
Writer = Callable[[list[Line]], None]


class AccessLog:
    """`line` words a request, at once, as what a request leaves is dear to keep; `write` is called
    in a thread with the lines that came since the last time, oldest first."""

    def __init__(self, line: Liner, write: Writer) -> None:
        self._line = line
        self._write = write
        # A deque's append and popleft are atomic: no line is lost between two threads.
        self._waiting: deque[Line] = deque()
        self._stopped = threading.Event()
        self._stirred = threading.Event()
        self._rests = False
        """The thread waits to be stirred, instead of looking now and again."""
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def add(self, settled: Sequence[tuple[float, Settlement]]) -> None:
        if len(self._waiting) < MAX_WAITING:
            line = self._line
            self._waiting.extend([line(at, settlement) for at, settlement in settled])
            self._stir()

    def visited(self, visit: Visit) -> None:
        if visit.path in PROBES and visit.status < 400:
            return
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(self._line(time.time(), visit))
            self._stir()

    def _stir(self) -> None:
        if self._rests:
            self._rests = False
            self._stirred.set()

    def stop(self) -> None:
        """Writes what is left."""
        self._stopped.set()
        self._stirred.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_S):
            if not self._flush():
                self._rest()
        self._flush()

    def _rest(self) -> None:
        """Until there is a line, or the end."""
        self._rests = True
        # Asked behind it: a line that came before found nobody to stir.
        if not self._waiting:
            self._stirred.wait()
        self._rests = False
        if not self._stopped.is_set():
            self._stirred.clear()

    def _flush(self) -> bool:
        """False when there was nothing to write."""
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if lines:
            self._write(lines)
        return bool(lines)


def tell(entry: Entry, found: dict[str, object]) -> None:
    """Adds what a line tells; what did not happen is left out."""
    if isinstance(entry, Visit):
        _visit(entry, found)
        return
    trace, usage = entry.trace, entry.usage
    found["request_id"] = trace.request_id
    found["door"] = entry.door
    found["outcome"] = entry.outcome
    found["route"] = trace.route
    found["target"] = trace.target
    if trace.trace_id is not None:
        found["trace_id"] = trace.trace_id
    if entry.error is not None:
        found["error"] = entry.error
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
        found["first_token_ms"] = int(trace.first_token_ms * 10 + 0.5) / 10
    if trace.total_ms is not None:
        # `round` reads the number out of its own text, which is as dear as five calls.
        found["total_ms"] = int(trace.total_ms * 10 + 0.5) / 10


def _visit(visit: Visit, found: dict[str, object]) -> None:
    found["request_id"] = visit.request_id
    found["outcome"] = "served" if visit.status < 400 else "refused"
    found["method"] = visit.method
    found["path"] = visit.path
    found["status"] = visit.status
    if visit.caller_id is not None:
        found["caller"] = visit.caller_id
    if visit.error is not None:
        found["error"] = visit.error
    found["total_ms"] = round(visit.total_ms, 1)
