"""What the engine remembers of its own traffic, over reloads: in memory, and small."""

from __future__ import annotations

from gateway.engine.share import LiveShare

OF_THE_LAST = 0.2
"""Weight of the last figure in a running mean."""
MAX_TARGETS = 4096


class Learned:
    def __init__(self) -> None:
        self._shares: dict[str, LiveShare] = {}
        self.first_s: dict[str, float] = {}
        """Seconds to the first event, by target."""

    def share(self, route: str) -> LiveShare:
        return self._shares.setdefault(route, LiveShare())

    def paced(self, target: str, seconds: float) -> None:
        """A target gave its first event after so long."""
        before = self.first_s.get(target)
        if before is None:
            if len(self.first_s) >= MAX_TARGETS:
                self.first_s.clear()
            self.first_s[target] = seconds
        else:
            self.first_s[target] = before + OF_THE_LAST * (seconds - before)
