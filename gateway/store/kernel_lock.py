"""A lock between a process and its forks. The kernel lets it go when its holder dies."""

from __future__ import annotations

import fcntl
import os


class KernelLock:
    """Held for moments only: whoever wants it waits without letting others run."""

    def __init__(self, name: str) -> None:
        # A file without a place, only to be locked.
        self._file = os.memfd_create(name)

    def __enter__(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *raised: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)
