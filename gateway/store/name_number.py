"""A name as a number, for memory between processes that holds only numbers."""

from __future__ import annotations

import hashlib


def number_of(name: str) -> int:
    """The same in every process, of 63 bits; never 0, which stands for nobody."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1 or 1
