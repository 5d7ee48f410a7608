"""Where the workers count: a folder for each service, which goes with it however it ends.

A service that is stopped wipes its own; one that is killed cannot, so the next start does. Who
lives is told by a lock on a file in the folder, which the kernel takes back, and not by a number of
a process: the folders of several containers may lie in one /dev/shm.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "classifier-metrics-"
HELD = "held"
NEW_S = 60.0
"""One that is younger may just be about to be locked."""

_held: list[int] = []
"""Open for as long as the service lives, through a reload too."""


def folder(parent: Path) -> Path:
    """A new one, in memory where there is such a place; what the dead left is wiped."""
    for other in parent.glob(PREFIX + "*"):
        if _is_left(other):
            shutil.rmtree(other, ignore_errors=True)
    made = Path(tempfile.mkdtemp("", PREFIX, parent))
    _held.append(os.open(made / HELD, os.O_CREAT | os.O_RDWR, 0o600))
    fcntl.flock(_held[-1], fcntl.LOCK_EX)
    return made


def in_memory() -> Path:
    """The kernel's own where it can be written, else where temporary files lie."""
    fast = Path("/dev/shm")  # noqa: S108
    return fast if fast.is_dir() and os.access(fast, os.W_OK) else Path(tempfile.gettempdir())


def _is_left(other: Path) -> bool:
    try:
        if time.time() - other.stat().st_mtime < NEW_S:
            return False
        lock = os.open(other / HELD, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError:
        # Another user's, or gone meanwhile.
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
