"""When there is too much to do: said at once and with a time, before everybody waits.

Two signs: more requests run than were allowed, and the loop comes late to a timer twice running.
The second is what overload is: work stands before the loop that it has not come to. Once is a
neighbour's moment. A late loop sheds every request until it is on time again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from chat.errors import QueueFull
from gateway.settings import Server

LOOK_S = 0.1
RETRY_S = 1.0
TELL_S = 1.0
"""Between two lines of the log."""

log = logging.getLogger("pointsman.engine")


class Pressure:
    """`clock` is monotonic seconds."""

    def __init__(self, settings: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self.shed = 0
        """Requests that were turned away."""
        self._late_s = self._late_before_s = 0.0
        """How late the loop came to its timer the last two times."""
        self._told = 0
        self._told_at = 0.0
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.use(settings)

    def use(self, settings: Server) -> None:
        self._max_running = settings.max_in_flight
        self._max_late_s = settings.max_lag_ms / 1000
        self._full = f"{self._max_running} requests run already. Ask again."

    def start(self) -> None:
        """Looks at the loop it is called on, until `stop`."""
        self._due = self._clock() + LOOK_S
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def why(self, running: int) -> str | None:
        """Why one more may not come in; None when he may. `running` counts him."""
        if running > self._max_running:
            return self._full
        if self._late_s <= self._max_late_s:
            return None
        # One turn of the loop can be long: what is overdue now counts as a look.
        if self._late_before_s > self._max_late_s or self._clock() - self._due > self._max_late_s:
            return "This gateway is overloaded. Ask again."
        return None

    def check(self, running: int) -> None:
        """Raises QueueFull. `running` counts the request that asks."""
        why = self.why(running)
        if why is not None:
            self.shed += 1
            raise QueueFull(why, retry_after=RETRY_S)

    def _look(self) -> None:
        now = self._clock()
        self._late_before_s, self._late_s = self._late_s, now - self._due
        self._due = now + LOOK_S
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        if self.shed > self._told and now - self._told_at >= TELL_S:
            fields = {"requests": self.shed - self._told, "late_ms": round(1000 * self._late_s)}
            log.warning("callers are turned away", extra={"fields": fields})
            self._told, self._told_at = self.shed, now
