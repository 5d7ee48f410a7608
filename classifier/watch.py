"""Looks whether another artefact should serve, loads it aside, and hands it over.

Each worker looks for itself, four times a second: one small file and three stats, 30 µs. The
loading runs in a thread, one worker after the other, so that it never takes all processors at
once; what serves is one reference, so a request sees the old model or the new one. Whatever goes
wrong, the old one serves on, and the reason can be read.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from classifier import artefact
from classifier.artefact import Artefact, ArtefactError

PERIOD = 0.25
LONGEST_TURN = 1.0
BRISK = 0.0005

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Sight:
    """What lay there when we looked: a folder, and (inode, bytes, mtime in ns) of its files."""

    folder: Path | None
    stamps: tuple[Stamp | None, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An artefact that must not serve: its folder's name, why, and since when (Unix seconds)."""

    artefact: str
    error: str
    since: float


def look(find: Callable[[], Path]) -> Sight:
    """Where `find` points and what lies there, without opening it."""
    try:
        folder = find()
    except ArtefactError as error:
        return Sight(None, trouble=str(error))
    names = (artefact.CARD, artefact.ARRAYS, artefact.REFERENCE)
    return Sight(folder, tuple(_stamp(folder / name) for name in names))


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def load_aside(folder: Path) -> Artefact:
    """Verify and load while others answer; for a thread. ArtefactError if anything is amiss."""
    usual = sys.getswitchinterval()
    with _in_turn(folder):
        sys.setswitchinterval(BRISK)  # The loop waits this long for the interpreter, not 5 ms.
        try:
            return artefact.load(folder)
        finally:
            sys.setswitchinterval(usual)


@contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """Wait while another process loads from this folder, but not for one that never ends."""
    try:
        place = os.open(folder, os.O_RDONLY)
    except OSError:  # What is not there is refused by who reads it.
        yield
        return
    try:
        deadline = time.monotonic() + LONGEST_TURN
        while time.monotonic() < deadline:
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.01)
        yield
    finally:
        os.close(place)


class Watch:
    """Keeps one artefact up to date: calls `use` with each new one, `refuse` with each bad one."""

    def __init__(
        self,
        find: Callable[[], Path],
        served: Sight | None,
        use: Callable[[Artefact], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        self._find, self._use, self._refuse = find, use, refuse
        self._judged = self._served = served
        self._half: Sight | None = None
        self.refusal: Refusal | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.check(patient=True)

    async def check(self, *, patient: bool = False) -> None:
        """Load what is new; a patient look waits until a folder in place stops changing."""
        sight = look(self._find)
        if sight == self._judged:
            return
        in_place = self._judged is not None and sight.folder == self._judged.folder
        if patient and in_place and sight != self._half:
            self._half = sight
            return
        self._judged, self._half = sight, None
        if sight == self._served:  # Back to what serves: nothing is wrong any more.
            self.refusal = None
            return
        if sight.folder is None:
            self._say_no("current", sight.trouble)
            return
        try:
            fresh = await asyncio.to_thread(load_aside, sight.folder)
        except Exception as error:  # Whatever it is, it must not end the watch.
            known = isinstance(error, ArtefactError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            self._say_no(sight.folder.name, text.replace(f"{sight.folder.parent}/", ""))
            return
        self.refusal, self._served = None, sight
        self._use(fresh)

    def _say_no(self, name: str, error: str) -> None:
        self.refusal = Refusal(name, error, round(time.time(), 3))
        self._refuse(self.refusal)
