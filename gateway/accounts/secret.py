"""Secrets that callers and the operator hold. We keep their SHA-256 only: they are long and
random, so that nothing slower is needed."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "pm-"
"""Of every secret that we made. A key that begins so and is not known is never let in."""
ADMIN_PREFIX = PREFIX + "admin-"
SHOWN = 8
"""Characters after the prefix that are kept, so that a person can tell one from another."""


def new_code() -> str:
    """With 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def new_admin_token() -> str:
    return ADMIN_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    # What came in as a header may hold surrogates; it is then nobody's, and no fault.
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def shown(secret: str) -> str:
    """The first characters; of a code that somebody chose himself a quarter at most."""
    if secret.startswith(PREFIX):
        return secret[: len(PREFIX) + SHOWN]
    return secret[: min(4, len(secret) // 4)]
