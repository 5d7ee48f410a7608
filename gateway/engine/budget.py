"""A share of the requests that may be asked twice, so that an outage is not multiplied."""

from __future__ import annotations

SPARE = 10.0
"""Retries that are kept at most, and allowed at first: a quiet gateway may retry, too."""


class RetryBudget:
    """Each request earns `share` of a retry; `first` are there from the start."""

    def __init__(self, share: float, first: float = SPARE) -> None:
        self.share = share
        self._left = first

    def earn(self) -> None:
        if self._left < SPARE:
            self._left = min(SPARE, self._left + self.share)

    def spend(self) -> bool:
        """False when nothing is left."""
        # Ten tenths are a little less than one.
        if self._left < 1 - 1e-9:
            return False
        self._left -= 1
        return True
