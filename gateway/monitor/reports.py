"""Errors of our own, told to who collects them: a function of the operator's, or a Sentry.

Whatever is logged as an error becomes a report: where in the code, and for which request. It is
made in the log's thread and told in one of its own, so nothing waits for the collector. Keys and
passwords are taken out; the values of variables, prompts and answers were never in it. Of one kind
one report a minute is told, and the next says how many were not.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.monitor import sentry
from gateway.secret_words import secrets_of, without_secrets
from gateway.settings import Log, SettingsError
from gateway.version import VERSION

Report = Mapping[str, Any]
Hook = Callable[[Report], object]

WAITING = 100
"""Reports that wait for the collector; more are dropped and counted."""
KIND_S = 60.0
"""Between two reports of one kind."""
A_MINUTE = 30
"""Reports of all kinds."""
KINDS = 1000
LONGEST = 1000
"""Characters of a message."""
FRAMES = 50
STOP_S = 5.0

log = logging.getLogger("pointsman.reports")


class Reports(logging.Handler):
    """A handler for the log's listener, and the thread that tells."""

    def __init__(self, hook: Hook, secrets: Sequence[str] = ()) -> None:
        super().__init__(logging.ERROR)
        self._hook = hook
        self._secrets = secrets
        self._waiting: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._told: dict[str, tuple[float, int]] = {}
        """Kind -> when it was last told, and how many were not since."""
        self._moments: list[float] = []
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == log.name:
            return
        try:
            report = self._made(record)
        except Exception:
            self.handleError(record)
            return
        if report is None:
            return
        if self._waiting.qsize() >= WAITING:
            self._lost += 1
        else:
            self._waiting.put(report)

    def stop(self) -> None:
        """Tells what waits, for five seconds at most. Blocks."""
        self._waiting.put(None)
        self._thread.join(timeout=STOP_S)

    def _made(self, record: logging.LogRecord) -> Report | None:
        """None where this kind, or anything, was told too often just now."""
        fault = record.exc_info[1] if record.exc_info else None
        stack = _stack(fault) if fault is not None else []
        place = f"{stack[-1]['file']}:{stack[-1]['line']}" if stack else record.getMessage()
        kind = f"{record.name} {type(fault).__name__ if fault else ''} {place}"
        unsaid = self._passed_over(kind, record.created)
        if unsaid is None:
            return None
        lost, self._lost = self._lost, 0
        return {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(record.getMessage()),
            "context": {
                name: self._clean(value) if isinstance(value, str) else value
                for name, value in getattr(record, "fields", {}).items()
            },
            "exception": None
            if fault is None
            else {
                "type": type(fault).__name__,
                "module": type(fault).__module__,
                "message": self._clean(str(fault)),
                "stack": stack,
            },
            "more": unsaid + lost,
            "release": VERSION,
            "host": socket.gethostname(),
            "process": os.getpid(),
        }

    def _passed_over(self, kind: str, now: float) -> int | None:
        """How many of the kind were not told since the last; None: this one is not, either."""
        last, unsaid = self._told.get(kind, (float("-inf"), 0))
        self._moments = [moment for moment in self._moments if now - moment < 60]
        if now - last < KIND_S or len(self._moments) >= A_MINUTE:
            self._told[kind] = last, unsaid + 1
            return None
        if len(self._told) >= KINDS:
            self._told.clear()
        self._told[kind] = now, 0
        self._moments.append(now)
        return unsaid

    def _clean(self, text: str) -> str:
        return without_secrets(text, self._secrets)[:LONGEST]

    def _run(self) -> None:
        quiet_until = float("-inf")
        while (report := self._waiting.get()) is not None:
            try:
                self._hook(report)
            # It is somebody else's code: whatever it does, the gateway goes on.
            except BaseException as fault:
                if time.monotonic() >= quiet_until:
                    quiet_until = time.monotonic() + KIND_S
                    said = self._clean(f"{type(fault).__name__}: {fault}")
                    log.warning("an error was not reported", extra={"fields": {"error": said}})


def start(settings: Log, environment: Mapping[str, str]) -> Reports | None:
    """None where nobody is to be told. Raises SettingsError for a hook or DSN that cannot be."""
    if settings.error_hook and settings.sentry_dsn:
        raise SettingsError("log.error_hook and log.sentry_dsn: errors go to one of them")
    if settings.error_hook:
        return Reports(_function(settings.error_hook), secrets_of(environment))
    if settings.sentry_dsn:
        secrets = sorted({*secrets_of(environment), settings.sentry_dsn}, key=len, reverse=True)
        try:
            return Reports(sentry.Collector(settings.sentry_dsn), secrets)
        except ValueError as wrong:
            raise SettingsError(f"log.sentry_dsn: {wrong}") from None
    return None


def _function(named: str) -> Hook:
    module, _, name = named.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as fault:
        # Whatever its module does while it is imported.
        said = f"{type(fault).__name__}: {fault}"
        raise SettingsError(f"log.error_hook: {named} cannot be had: {said}") from None
    if not callable(found):
        raise SettingsError(f"log.error_hook: {named} is not a function")
    hook: Hook = found
    return hook


def _stack(fault: BaseException) -> list[dict[str, Any]]:
    """Outermost first, without the values of variables."""
    return [
        {"file": frame.filename, "line": frame.lineno, "function": frame.name}
        for frame in traceback.extract_tb(fault.__traceback__)[-FRAMES:]
    ]
