"""How many connections this process may hold, as each is an open file.

Without a file for it the kernel's connection is closed by libuv without a word. So before they are
all in use, who asks is told to come back, and his connection is closed behind it.
"""

from __future__ import annotations

import contextlib
import resource

OWN_FILES = 256
"""Logs, database, Redis, listening sockets, and those who are just taken in."""
UNLIMITED = 1 << 30


def raise_limit() -> None:
    """To what the system allows: many start a process with 1,024, which is meant for select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(max_running: int) -> int:
    """Each request that runs has a file more, to its upstream."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return UNLIMITED
    return max(limit - max_running - OWN_FILES, limit // 2)
