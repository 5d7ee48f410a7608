"""Routes with so many answers at once: who comes beyond that waits in the queue's order, or is
turned away. Each process counts its own; nothing of it needs to outlive its callers."""

from __future__ import annotations

import asyncio
import itertools
import time
from bisect import insort
from collections import deque
from collections.abc import Awaitable, Callable

from chat.errors import QueueFull
from gateway.engine.ports import Caller, Leave, Told
from gateway.jobs.estimate import Estimator
from gateway.settings import Route, Settings

SAMPLES = 400
LOOK_S = 1.0
TOLD_AGAIN_S = 5.0


class Gates:
    """The engine's Turns. `settings` are those of the moment; `clock` is monotonic seconds."""

    def __init__(
        self, settings: Callable[[], Settings], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._gates: dict[str, _Gate] = {}

    def enter(self, route: str, caller: Caller, told: Told) -> Leave | Awaitable[Leave] | None:
        settings = self._settings()
        found = settings.routes.get(route)
        if found is None or found.max_in_flight is None:
            return None
        gate = self._gates.get(route)
        if gate is None:
            gate = self._gates[route] = _Gate(route, self._clock)
        gate.use(found, settings)
        return gate.enter(caller, told)

    def waiting(self, route: str) -> int:
        gate = self._gates.get(route)
        return len(gate.line) if gate is not None else 0


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


class _Gate:
    def __init__(self, route: str, clock: Callable[[], float]) -> None:
        self.line: list[_Ticket] = []
        """In the order of their turns."""
        self._route = route
        self._clock = clock
        self._running = 0
        self._limit, self._queue, self._capacity, self._boost = 1, False, 1, 0.0
        self._took: deque[float] = deque(maxlen=SAMPLES)
        self._numbers = itertools.count()
        self._estimator = Estimator()

    def use(self, route: Route, settings: Settings) -> None:
        self._limit, self._queue = route.max_in_flight or 1, route.queue
        self._capacity, self._boost = settings.jobs.capacity, settings.jobs.priority_s

    def enter(self, caller: Caller, told: Told) -> Leave | Awaitable[Leave]:
        if self._running < self._limit and not self.line:
            return self._pass()
        wait = self._estimator.wait(len(self.line) + 1, self._limit, {}).high
        if not self._queue:
            raise QueueFull(
                f"The route {self._route!r} gives {self._running} answers already. Ask again.",
                code="route_full",
                retry_after=max(1.0, wait),
            )
        if len(self.line) >= self._capacity:
            raise QueueFull(
                f"{len(self.line)} callers wait for the route {self._route!r} already.",
                code="queue_full",
                retry_after=max(1.0, wait),
            )
        return self._waited(caller, told)

    async def _waited(self, caller: Caller, told: Told) -> Leave:
        ticket = self._ticket(caller)
        insort(self.line, ticket)
        said, said_at = 0, 0.0
        try:
            while not ticket.turn.done():
                place, now = self.line.index(ticket) + 1, self._clock()
                if place != said or now - said_at >= TOLD_AGAIN_S:
                    said, said_at = place, now
                    told(place, self._estimator.wait(place, self._limit, {}).high)
                await asyncio.wait((ticket.turn,), timeout=LOOK_S)
        except BaseException:
            if ticket.turn.done():
                # His turn came as he left.
                ticket.turn.result()()
            else:
                self.line.remove(ticket)
            raise
        return ticket.turn.result()

    def _ticket(self, caller: Caller) -> _Ticket:
        now = self._clock()
        spread = self._estimator.mean({}) / self._limit
        tags = [one.tag for one in self.line if one.app == caller.id]
        tag = max([now, *(tag + spread for tag in tags)])
        return _Ticket(caller.id, tag, tag - caller.priority * self._boost, next(self._numbers))

    def _pass(self) -> Leave:
        self._running += 1
        began, left = self._clock(), False

        def leave() -> None:
            nonlocal left
            if left:
                return
            left = True
            self._running -= 1
            self._took.append(self._clock() - began)
            if self.line or not len(self._took) % 16:
                self._estimator = Estimator([("", seconds) for seconds in self._took])
            while self.line and self._running < self._limit:
                self.line.pop(0).turn.set_result(self._pass())

        return leave
