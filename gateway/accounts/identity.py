"""From the key that came with a request to the caller."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from chat.errors import NotIdentified
from gateway.accounts import secret
from gateway.accounts.accounts import Accounts
from gateway.engine.ports import OPEN, Caller

ADMIN = Caller("admin", "admin", admin=True)
NOBODY = Caller("nobody", "nobody")
"""Who reads what is public where keys are asked for."""
UNNAMED = (OPEN.id, NOBODY.id)
"""Ids of callers who showed no key that is known."""
CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Identity:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def anybody(self, headers: Mapping[str, str]) -> bool:
        """Who asks without a key, where none is needed: most callers of a gateway of one's own."""
        return not (
            self._accounts.required
            or "Authorization" in headers
            or "x-api-key" in headers
            or "x-goog-api-key" in headers
        )

    def identify(
        self,
        headers: Mapping[str, str],
        in_url: str = "",
        *,
        public: bool = False,
        optional: bool = False,
    ) -> Caller:
        """`in_url`: a key that stands in the query. `public`: no key is needed, and a wrong one
        is not looked at. `optional`: whoever has none may name himself in another way. Raises
        NotIdentified.

        Where anybody may ask, clients send any key ("ollama", "sk-..."), as they cannot do
        without; one that looks like ours and is not is refused there, too.
        """
        accounts = self._accounts
        required = accounts.required
        key = key_in(headers) or in_url
        if key:
            digest = secret.digest(key)
            if hmac.compare_digest(digest, accounts.admin_digest):
                return ADMIN
            app = accounts.by_digest(digest)
            if app is not None:
                return app.caller
            if not public and (required or key.startswith(secret.PREFIX)):
                raise _refused("This key is not known, or it was revoked or has expired.")
        if not required:
            return OPEN
        if public or optional:
            return NOBODY
        raise _refused("A key is needed here: an app code, as a Bearer.")


def key_in(headers: Mapping[str, str]) -> str:
    """What the SDKs send: a Bearer, Anthropic's header or Gemini's."""
    given = headers.get("Authorization")
    if given is not None:
        scheme, _, token = given.partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or ""


def _refused(words: str) -> NotIdentified:
    failure = NotIdentified(words)
    failure.headers = CHALLENGE
    return failure
