"""One line for each event: JSON for machines, words for a terminal. Written by a thread, so that
a slow disk or pipe never holds a stream up."""

from __future__ import annotations

import logging
import queue
import sys
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import TextIO

import orjson

from gateway.settings import Log

QUEUE_LINES = 10_000
"""Lines that wait for the disk; when it is full, lines are dropped and streams go on."""


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        line = f"{_time(record)[11:19]} {record.levelname.lower():<7} {record.getMessage()} {words}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line.rstrip()


class _DroppingHandler(QueueHandler):
    """Formats nothing here: the listener's thread does."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


def start(settings: Log, out: TextIO = sys.stderr) -> QueueListener:
    """Sends every logger's lines to `out`. The caller stops the listener at the end."""
    lines: queue.SimpleQueue[logging.LogRecord] | queue.Queue[logging.LogRecord]
    lines = queue.Queue(QUEUE_LINES)
    text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    writer = logging.StreamHandler(out)
    writer.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [_DroppingHandler(lines)]
    root.setLevel(logging.WARNING)
    logging.getLogger("pointsman").setLevel(logging.DEBUG if settings.debug else logging.INFO)
    listener = QueueListener(lines, writer)
    listener.start()
    return listener


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
