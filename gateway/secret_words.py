"""Takes keys and passwords out of a text that goes where it may be read or kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_KEY = re.compile(
    r"\b(?:sk|pk|pm|rk|ghp|gho|ghs|glpat|xox[abprs]|hf|r8|gsk)[-_][A-Za-z0-9_-]{12,}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
)
_PASSWORD_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,100}:)[^\s/@]{1,200}@", re.I)
_BEARER = re.compile(r"(\b(?:Bearer|Basic)\s+)[\w.~+/=-]{6,}", re.I)
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CODE|DSN|DATABASE_URL|REDIS_URL")
SHORTEST = 6
"""Characters; a shorter value would take ordinary words out."""


def without_secrets(text: str, known: Iterable[str] = ()) -> str:
    """The text with <secret> for each of `known`, and for what has the shape of a key."""
    for value in known:
        text = text.replace(value, "<secret>")
    text = _PASSWORD_IN_URL.sub(r"\1<secret>@", text)
    text = _BEARER.sub(r"\1<secret>", text)
    return _KEY.sub("<secret>", text)


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Values of the variables whose names say that they are secret, the longest first."""
    found = {
        value
        for name, value in environment.items()
        if _NAMES.search(name) and len(value) >= SHORTEST
    }
    return sorted(found, key=len, reverse=True)
