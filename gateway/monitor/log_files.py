"""Three files of JSON lines, where a folder is named: app.log from info on, with a line for each
request; error.log from errors on; debug.log with everything, each line with its context.

They roll over by size. A process has its own set, as two cannot roll one file over: the second
worker writes app.1.log. A full disk costs lines, never an answer.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

LEVELS = {"app": logging.INFO, "error": logging.ERROR, "debug": logging.DEBUG}


class LogFile(RotatingFileHandler):
    """Takes records, and lines that are written already."""

    def write(self, lines: bytes) -> None:
        """Whole lines. Called in the access log's thread."""
        self.acquire()
        try:
            # ENOSPC and the like: the lines are lost.
            with suppress(OSError, ValueError):
                if self.stream is None:
                    self.stream = self._open()
                if self.maxBytes and self.stream.tell() + len(lines) > self.maxBytes:
                    self.doRollover()
                    self.stream = self._open()
                self.stream.write(lines.decode())
                self.stream.flush()
        finally:
            self.release()

    def close(self) -> None:
        """The standard one leaves the file open when its last lines find no room."""
        self.acquire()
        try:
            stream, self.stream = self.stream, None
            if stream is not None:
                with suppress(OSError):
                    stream.close()
            logging.Handler.close(self)
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """The standard one prints a traceback for each line that a full disk refuses."""


def open_files(
    folder: Path, formatter: logging.Formatter, *, number: int, max_bytes: int, keep: int
) -> dict[str, LogFile]:
    """app, error and debug. `number` is the process's, from 0. Raises OSError when the folder
    cannot be made."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, level in LEVELS.items():
        path = folder / (f"{name}.{number}.log" if number else f"{name}.log")
        file = LogFile(path, maxBytes=max_bytes, backupCount=keep, delay=True, encoding="utf-8")
        file.setLevel(level)
        file.setFormatter(formatter)
        files[name] = file
    return files
