"""One route's gate, in a process that is alone."""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections import deque
from collections.abc import Awaitable, Callable

from chat.errors import QueueFull
from gateway.engine.ports import Caller, Leave, Told
from gateway.jobs.estimate import Estimator
from gateway.jobs.line import SAMPLES
from gateway.settings import Route, Settings

LOOK_S = 1.0
TOLD_AGAIN_S = 5.0


class _Ticket:
    __slots__ = ("app", "number", "rank", "tag", "turn")

    def __init__(self, app: str, tag: float, rank: float, number: int) -> None:
        self.app = app
        self.tag = tag
        self.rank = rank
        self.number = number
        self.turn: asyncio.Future[Leave] = asyncio.get_running_loop().create_future()

    def __lt__(self, other: _Ticket) -> bool:
        return (self.rank, self.number) < (other.rank, other.number)


class Gate:
    def __init__(self, route: str, clock: Callable[[], float]) -> None:
        self.line: list[_Ticket] = []
        """In the order of their turns."""
        self.route = route
        self.clock = clock
        self.running = 0
        """Answers of this process."""
        self.limit, self.capacity, self.boost = 1, 0, 0.0
        """`capacity`: who may wait; 0 where nobody may."""
        self._took: deque[float] = deque(maxlen=SAMPLES)
        self._numbers = itertools.count()
        self.estimator = Estimator()

    def use(self, route: Route, settings: Settings) -> None:
        self.limit = route.max_in_flight or 1
        self.capacity = settings.jobs.capacity if route.queue else 0
        self.boost = settings.jobs.priority_s

    @property
    def waiting(self) -> int:
        return len(self.line)

    async def close(self) -> None:
        """Nobody looks after it."""

    def enter(self, caller: Caller, told: Told) -> Leave | Awaitable[Leave]:
        if self.running < self.limit and not self.line:
            return self.begin()
        if not self.capacity:
            raise self.full(1)
        if len(self.line) >= self.capacity:
            raise self.full(len(self.line) + 1)
        return self._waited(caller, told)

    def full(self, place: int) -> QueueFull:
        """`place`: that he would have."""
        wait = max(1.0, self.estimator.wait(place, self.limit, {}).high)
        if not self.capacity:
            words = f"The route {self.route!r} gives {self.limit} answers already. Ask again."
            return QueueFull(words, code="route_full", retry_after=wait)
        words = f"{self.capacity} callers wait for the route {self.route!r} already."
        return QueueFull(words, code="queue_full", retry_after=wait)

    async def _waited(self, caller: Caller, told: Told) -> Leave:
        ticket = self._ticket(caller)
        insort(self.line, ticket)
        try:
            await self.turn(ticket.turn, lambda: self.line.index(ticket) + 1, told)
        except BaseException:
            if ticket.turn.done():
                # His turn came as he left.
                ticket.turn.result()()
            else:
                self.line.remove(ticket)
            raise
        return ticket.turn.result()

    async def turn(self, turn: asyncio.Future[Leave], place: Callable[[], int], told: Told) -> None:
        """Waits for it, and tells him of his place meanwhile."""
        said, said_at = 0, 0.0
        while not turn.done():
            found, now = place(), self.clock()
            if found != said or now - said_at >= TOLD_AGAIN_S:
                said, said_at = found, now
                told(found, self.estimator.wait(found, self.limit, {}).high)
            await asyncio.wait((turn,), timeout=LOOK_S)

    @property
    def spread(self) -> float:
        """Seconds between two of one application: what each takes of all the places."""
        return self.estimator.mean({}) / self.limit

    def _ticket(self, caller: Caller) -> _Ticket:
        now, spread = self.clock(), self.spread
        tags = [one.tag for one in self.line if one.app == caller.id]
        tag = max([now, *(tag + spread for tag in tags)])
        return _Ticket(caller.id, tag, tag - caller.priority * self.boost, next(self._numbers))

    def begin(self) -> Leave:
        """An answer begins; to be called when it ends."""
        self.running += 1
        began, left = self.clock(), False

        def leave() -> None:
            nonlocal left
            if left:
                return
            left = True
            self.running -= 1
            self._took.append(self.clock() - began)
            if self.line or not len(self._took) % 16:
                self.estimator = Estimator([("", seconds) for seconds in self._took])
            while self.line and self.running < self.limit:
                self.line.pop(0).turn.set_result(self.begin())

        return leave
