"""A share of the requests that may be asked twice, so that an outage is not multiplied."""

from __future__ import annotations

SPARE = 10.0
"""Retries that are allowed before the share counts: a quiet gateway may retry, too."""


class RetryBudget:
    """Each request earns `share` of a retry; SPARE are there from the start, and kept at most."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._left = SPARE

    def earn(self) -> None:
        if self._left < SPARE:
            self._left = min(SPARE, self._left + self.share)

    def spend(self) -> bool:
        """False when nothing is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
