"""From a request's headers to the caller."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from gateway.engine.ports import OPEN, Caller
from gateway.settings import Access

ADMIN = Caller("admin", "admin", admin=True)


class Identity:
    def __init__(self, access: Access) -> None:
        self._admin_token = access.admin_token.encode()

    def identify(self, headers: Mapping[str, str]) -> Caller:
        key = _key(headers)
        if key and self._admin_token and hmac.compare_digest(key.encode(), self._admin_token):
            return ADMIN
        return OPEN


def _key(headers: Mapping[str, str]) -> str:
    """What the SDKs send: a Bearer, Anthropic's header or Gemini's."""
    given = headers.get("Authorization", "")
    scheme, _, token = given.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or ""
