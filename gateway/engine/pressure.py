"""When there is too much to do: said at once and with a time, before everybody waits.

Two signs: more requests run than were allowed, and the loop comes late to a timer. The second is
what overload is: work stands before the loop that it has not come to. A late loop sheds every
request until it is on time again; that costs a tenth of answering.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from chat.errors import QueueFull
from gateway.settings import Server

LOOK_S = 0.1
RETRY_S = 1.0


class Pressure:
    """`clock` is monotonic seconds."""

    def __init__(self, settings: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self.late_s = 0.0
        """How late the loop last came to its timer."""
        self.shed = 0
        """Requests that were turned away."""
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.use(settings)

    def use(self, settings: Server) -> None:
        self._max_running = settings.max_in_flight
        self._max_late_s = settings.max_lag_ms / 1000

    def start(self) -> None:
        """Looks at the loop it is called on, until `stop`."""
        self._due = self._clock() + LOOK_S
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def check(self, running: int) -> None:
        """Raises QueueFull. `running` counts the request that asks."""
        if running > self._max_running:
            self.shed += 1
            raise QueueFull(
                f"{self._max_running} requests run already. Ask again.", retry_after=RETRY_S
            )
        if self.late_s > self._max_late_s:
            self.shed += 1
            raise QueueFull("This gateway is overloaded. Ask again.", retry_after=RETRY_S)

    def _look(self) -> None:
        now = self._clock()
        self.late_s = now - self._due
        self._due = now + LOOK_S
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
