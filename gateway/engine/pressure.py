"""When there is too much to do: said at once and with a time, before everybody waits.

Two signs: more requests run than were allowed, and the loop comes late to a timer twice running.
The second is what overload is: work stands before the loop that it has not come to. Once is a
neighbour's moment.

A late loop lets in as many as it answered in the moment before, by the clock, and sheds the rest;
a little fewer while it is late, a little more while it is on time. To shed everybody until it is
on time, and nobody then, would make it swing between a crowd and nothing, and a crowd is dear:
what is done for a thousand at once is not in the processor's cache any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from chat.errors import QueueFull
from gateway.settings import Server

LOOK_S = 0.1
CROWD = 4
"""Requests at once for which the loop is looked at. A look at one that sleeps in between costs it
0.2 ms."""
EACH = 64
"""It is looked at for each so many-th, too: those that end in the turn in which they began are
never many at once."""
BUSY = 16
"""Requests from one look to the next for which there is another."""
RETRY_S = 1.0
TELL_S = 1.0
"""Between two lines of the log."""
ON_TIME = 0.4
"""Of the time that it may be late: so it is kept while it sheds."""
LESS, MORE = 0.9, 1.08
"""What a look makes of the rate when it is late, and when it is on time."""
DRAIN = 0.5
"""Of what was answered, at first: who is in already takes the rest."""
LEAST = 50.0
"""Let in each second, whatever is seen."""
CALM_S = 2.0
"""When nobody was shed for so long, all are let in again."""

log = logging.getLogger("pointsman.engine")


class Pressure:
    """`clock` is monotonic seconds."""

    def __init__(self, settings: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self.shed = 0
        """Requests that were turned away."""
        self.tight = False
        """Not everybody is let in."""
        self._late_s = 0.0
        """How late the loop last came to its timer."""
        self._rate = 0.0
        """Requests a second that are let in while it is tight."""
        self._room = 0.0
        self._filled_at = 0.0
        self._granted = self._granted_since = 0
        """Let in and not begun yet; and let in since the last look."""
        self._begun = self._begun_then = 0
        self._running = self._running_then = 0
        self._looked_at = self._shed_at = 0.0
        self._told = 0
        self._told_at = 0.0
        self._clock = clock
        self._due = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        """None while few ask: there is nothing to see then, and to look costs CPU."""
        self.use(settings)

    def use(self, settings: Server) -> None:
        self.max_running = settings.max_in_flight
        self._max_late_s = settings.max_lag_ms / 1000
        self._full = f"{self.max_running} requests run already. Ask again."

    def start(self) -> None:
        """Looks at the loop it is called on, until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._begin_looking()

    def stop(self) -> None:
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    def turns_away(self, running: int) -> str | None:
        """Why one more is not let in, who is counted then; None lets him in. `running` counts
        him. Asked where his question is read, before anything is done for him."""
        if self._timer is None and running + self._granted >= CROWD:
            self._begin_looking()
        why = self._full if running + self._granted > self.max_running else None
        if self.tight and why is None:
            why = self._by_rate()
        if why is None:
            self._granted += 1
            self._granted_since += 1
        else:
            self.shed += 1
        return why

    def admit(self, running: int) -> None:
        """The same at a door, for who was not asked where his question was read."""
        if self._granted:
            return
        if (self.tight or running > self.max_running) and (why := self.turns_away(running)):
            raise QueueFull(why, retry_after=RETRY_S)

    def begin(self, running: int) -> None:
        """A request begins; `running` counts it. Raises QueueFull for one that came by another
        way and may not come in."""
        if self._timer is None and (running >= CROWD or not self._begun % EACH):
            self._begin_looking()
        self._begun += 1
        self._running = running
        if self._granted:
            self._granted -= 1
        elif running > self.max_running or self.tight:
            why = self.turns_away(running)
            if why is not None:
                # Or he would be taken for one who was answered.
                self._begun -= 1
                self._running -= 1
                raise QueueFull(why, retry_after=RETRY_S)
            self._granted -= 1

    def _by_rate(self) -> str | None:
        now = self._clock()
        self._room += (now - self._filled_at) * self._rate
        self._room = min(self._room, max(1.0, self._rate * self._max_late_s))
        self._filled_at = now
        if self._room < 1:
            self._shed_at = now
            return "This gateway is overloaded. Ask again."
        self._room -= 1
        return None

    def _begin_looking(self) -> None:
        if self._loop is not None:
            self._looked_at = self._clock()
            self._late_s = 0.0
            self._begun_then, self._running_then = self._begun, self._running
            self._due = self._looked_at + LOOK_S
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        now = self._clock()
        before, late = self._late_s, now - self._due
        self._late_s = late
        # What was let in and never begun, such as a body that is no JSON, is forgotten.
        self._granted, self._granted_since = min(self._granted, self._granted_since), 0
        begun = self._begun - self._begun_then
        ended = begun - (self._running - self._running_then)
        drain = max(LEAST, DRAIN * ended / (now - self._looked_at))
        crowd = begun >= BUSY or (begun and self._running >= CROWD) or self._granted
        self._begun_then, self._running_then, self._looked_at = self._begun, self._running, now
        if not self.tight:
            if min(before, late) > self._max_late_s:
                self.tight = True
                self._rate, self._room = drain, 0.0
                self._filled_at = self._shed_at = now
        elif late > ON_TIME * self._max_late_s:
            self._rate = min(self._rate, max(drain, LESS * self._rate))
        elif now - self._shed_at > CALM_S:
            self.tight = False
        elif now - self._shed_at < LOOK_S:
            self._rate *= MORE
        self._due = now + LOOK_S
        on = crowd or self.tight or late > self._max_late_s or self.shed > self._told
        self._timer = self._loop.call_later(LOOK_S, self._look) if on and self._loop else None
        if self.shed > self._told and now - self._told_at >= TELL_S:
            fields = {"requests": self.shed - self._told, "late_ms": round(1000 * late)}
            log.warning("callers are turned away", extra={"fields": fields})
            self._told, self._told_at = self.shed, now
