"""Promoted artefacts on disk: which one serves, and which ones served before it.

A shelf is a folder (`var/models`, or CLASSIFIER_MODELS) with one folder for each artefact and a
file `current`: names, one a line, the one that serves first, the ones before it below. Both come
in by a rename, so a reader sees the old state or the new one and never half of either. Without
`current`, or with an empty one, the artefact that ships serves.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classifier.artefact import ArtefactError

POINTER, LOCK = "current", ".lock"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
KEPT = 5
LONGEST_POINTER = 4096


class ShelfError(ArtefactError):
    """The shelf's pointer cannot be followed; the message names the file and what to do."""


class Shelf:
    """The promoted artefacts below one folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """What `current` lists, the serving one first; empty without one."""
        path = self.folder / POINTER
        try:
            with path.open("rb") as opened:
                raw = opened.read(LONGEST_POINTER + 1)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ShelfError(f"{path} cannot be read: {error.strerror}.") from error
        names = raw.decode("utf-8", "replace").split()
        if len(raw) > LONGEST_POINTER or not all(NAME.fullmatch(name) for name in names):
            raise ShelfError(
                f"{path} does not hold names of artefacts, one a line. Delete it to serve the "
                "artefact that ships, and promote again."
            )
        return names

    def current(self) -> Path | None:
        """The folder of the promoted artefact that serves; None if none was promoted."""
        names = self.names()
        return self.folder / names[0] if names else None

    def put(self, incoming: Path, name: str) -> Path:
        """Move a whole, verified folder in under `name` and let it serve."""
        if not NAME.fullmatch(name):
            raise ShelfError(f"{name!r} cannot be the name of a folder of {self.folder}.")
        place = self.folder / name
        if place.exists():  # The same bytes were here before, and may have been broken since.
            self._discard(place)
        incoming.rename(place)
        before = [other for other in self.names() if other != name]
        self._point([name, *before][:KEPT])
        self._tidy()
        return place

    def back(self) -> tuple[str, str | None]:
        """Let the one before serve; (what served, what serves, None for the shipped one)."""
        names = self.names()
        if not names:
            raise ShelfError(
                f"Nothing to go back to: {self.folder / POINTER} lists no promoted artefact, "
                "so the one that ships serves."
            )
        self._point(names[1:])
        return names[0], names[1] if len(names) > 1 else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one promotion or rollback at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ShelfError(f"Somebody else changes {self.folder} just now.") from None
            yield

    def _point(self, names: list[str]) -> None:
        fresh = self.folder / f".{POINTER}.{os.getpid()}"
        with fresh.open("w", encoding="utf-8") as out:
            out.write("".join(f"{name}\n" for name in names))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.folder / POINTER)

    def _tidy(self) -> None:
        """Remove the artefacts that nothing lists; what serves lies in memory anyway."""
        listed = set(self.names())
        for path in self.folder.iterdir():
            if path.is_dir() and NAME.fullmatch(path.name) and path.name not in listed:
                self._discard(path)

    def _discard(self, place: Path) -> None:
        """Away in one rename first, so that nobody reads a half-removed folder."""
        away = self.folder / f".old-{os.getpid()}-{place.name}"
        place.rename(away)
        shutil.rmtree(away, ignore_errors=True)
