"""One line for each event: JSON for machines, words for a terminal. Written by a thread, so that
a slow disk or pipe never holds a stream up."""

from __future__ import annotations

import logging
import queue
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from select import PIPE_BUF
from typing import TextIO

import orjson

from gateway.monitor.access import AccessLog, Entry, Line, tell
from gateway.monitor.log_files import open_files
from gateway.monitor.reports import Reports
from gateway.settings import Log

QUEUE_LINES = 10_000
"""Lines that wait for the disk; when it is full, lines are dropped and streams go on."""


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record.created),
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
        level, message = record.levelname.lower(), record.getMessage()
        line = f"{_time(record.created)[11:19]} {level:<9} {message} "
        line += _words(getattr(record, "fields", {}))
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


@dataclass(slots=True)
class Logs:
    """The running log threads; `stop` writes what is left."""

    listener: QueueListener
    access: AccessLog
    files: Sequence[logging.Handler] = ()
    reports: Reports | None = None

    def stop(self) -> None:
        self.access.stop()
        self.listener.stop()
        if self.reports is not None:
            self.reports.stop()
        for file in self.files:
            file.close()


def start(
    settings: Log, out: TextIO = sys.stderr, number: int = 0, reports: Reports | None = None
) -> Logs:
    """Sends every logger's lines, and the access log, to `out`, and to files where a folder is
    named; errors to `reports`, too. `number` is the process's. Raises OSError for a folder that
    cannot be."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_LINES)
    text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    writer = logging.StreamHandler(out)
    writer.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [_DroppingHandler(lines)]
    root.setLevel(logging.WARNING)
    logging.getLogger("pointsman").setLevel(logging.DEBUG if settings.debug else logging.INFO)
    files = (
        open_files(
            Path(settings.folder),
            JsonFormatter(),
            number=number,
            max_bytes=int(settings.file_mb * 2**20),
            keep=settings.files,
        )
        if settings.folder
        else {}
    )
    told: tuple[logging.Handler, ...] = () if reports is None else (reports,)
    listener = QueueListener(lines, writer, *files.values(), *told, respect_handler_level=True)
    listener.start()

    def line(at: float, entry: Entry) -> Line:
        if not text:
            told = _json_line(at, entry)
            return told, told
        return _text_line(at, entry), _json_line(at, entry) if files else b""

    def write(some: list[Line]) -> None:
        for piece in _pieces([told for told, _ in some]):
            # A full disk, or nobody reads any more: the lines are lost, and not those behind them.
            with suppress(OSError):
                out.write(piece.decode())
                out.flush()
        if files:
            whole = b"".join([kept for _, kept in some])
            files["app"].write(whole)
            files["debug"].write(whole)

    return Logs(listener, AccessLog(line, write), tuple(files.values()), reports)


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """Whole lines, as many as a pipe takes in one piece: several workers may write to one pipe,
    and a longer piece could come out with another's lines in the middle (pipe(7))."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > PIPE_BUF:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    yield b"".join(piece)


def _json_line(at: float, entry: Entry) -> bytes:
    # orjson writes a datetime itself, at a tenth of what isoformat costs.
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(at, UTC),
        "level": "info",
        "logger": "pointsman.access",
    }
    tell(entry, line)
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _text_line(at: float, entry: Entry) -> bytes:
    found: dict[str, object] = {}
    tell(entry, found)
    outcome = found.pop("outcome")
    return f"{_time(at)[11:19]} {outcome:<9} {_words(found)}\n".encode()


def _words(found: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in found.items())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
