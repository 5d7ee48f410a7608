"""One route's gate, where several processes stand in one line.

Whoever is first in the line takes a place as soon as there is one; each process looks for its own
callers, many times a second while any of them waits. While nobody can be asked about the line, the
process counts alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from gateway.engine.ports import Caller, Leave, Told
from gateway.jobs.estimate import Estimator
from gateway.jobs.line import NOW, POLL_S, ROUTE_FULL, Line, LineGoneError, Room, Ticket
from gateway.jobs.line_alone import Gate

LEARN_S = 2.0
"""Between two looks at how long answers took, while anybody waits here."""


class _Waiter:
    __slots__ = ("place", "ticket", "turn")

    def __init__(self, ticket: Ticket, place: int) -> None:
        self.ticket = ticket
        self.place = place
        self.turn: asyncio.Future[Leave] = asyncio.get_running_loop().create_future()


class SharedGate(Gate):
    def __init__(self, route: str, clock: Callable[[], float], line: Line) -> None:
        super().__init__(route, clock)
        self._shared = line
        self._waiters: dict[int, _Waiter] = {}
        self._look_now = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._learnt_at = 0.0
        self._known = 0
        """Answers of this process that the line knows of; others began while it was gone."""

    @property
    def waiting(self) -> int:
        """In this process."""
        return len(self._waiters) + len(self.line)

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def enter(self, caller: Caller, told: Told) -> Awaitable[Leave]:
        return self._entered(caller, told)

    async def _entered(self, caller: Caller, told: Told) -> Leave:
        ahead = caller.priority * self.boost
        ticket = Ticket(self.route, random.getrandbits(62), caller.id, ahead)
        room = Room(self._places, self.capacity, self.spread)
        entering = asyncio.ensure_future(self._shared.enter(ticket, room))
        try:
            place = await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(lambda done: self._left(done, ticket))
            raise
        except LineGoneError:
            return await self._alone(caller, told)
        if place == NOW and self.running >= self.limit:
            # Those that the line does not know of took it meanwhile.
            self._shared.leave(ticket, None)
            return await self._alone(caller, told)
        if place == NOW:
            return self._turn(ticket)
        if place < NOW:
            raise self.full(1 if place == ROUTE_FULL else self.capacity + 1)
        try:
            return await self._called(_Waiter(ticket, place), told)
        except LineGoneError:
            return await self._alone(caller, told)

    @property
    def _places(self) -> int:
        """As far as the line is to know."""
        return max(0, self.limit - (self.running - self._known))

    async def _alone(self, caller: Caller, told: Told) -> Leave:
        found = super().enter(caller, told)
        return await found if isinstance(found, Awaitable) else found

    async def _called(self, waiter: _Waiter, told: Told) -> Leave:
        ticket = waiter.ticket
        self._waiters[ticket.id] = waiter
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())
        try:
            await self.turn(waiter.turn, lambda: waiter.place, told)
        except BaseException:
            if not waiter.turn.done():
                self._shared.leave(ticket, None)
            elif waiter.turn.exception() is None:
                # His turn came as he left.
                waiter.turn.result()()
            raise
        finally:
            self._waiters.pop(ticket.id, None)
        return waiter.turn.result()

    def _turn(self, ticket: Ticket) -> Leave:
        own, began, left = self.begin(), self.clock(), False
        self._known += 1

        def leave() -> None:
            nonlocal left
            if left:
                return
            left = True
            self._known -= 1
            own()
            self._shared.leave(ticket, self.clock() - began)
            self._look_now.set()

        return leave

    def _left(self, entering: asyncio.Future[int], ticket: Ticket) -> None:
        """He went while he was being put in the line."""
        if not entering.cancelled() and entering.exception() is None and entering.result() >= NOW:
            self._shared.leave(ticket, None)

    async def _look_on(self) -> None:
        while self._waiters:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._look_now.wait()
            self._look_now.clear()
            waiters = [one for one in self._waiters.values() if not one.turn.done()]
            try:
                await self._look(waiters)
            except LineGoneError as gone:
                for one in waiters:
                    if not one.turn.done():
                        one.turn.set_exception(gone)

    async def _look(self, waiters: list[_Waiter]) -> None:
        if self.clock() - self._learnt_at >= LEARN_S:
            self._learnt_at = self.clock()
            if took := await self._shared.took(self.route):
                self.estimator = Estimator([("", seconds) for seconds in took])
        tickets = [one.ticket for one in waiters]
        places = await self._shared.look(self.route, tickets, self._places)
        for one, place in zip(waiters, places, strict=True):
            if one.ticket.id not in self._waiters:
                # He left meanwhile, and may have been put back.
                self._shared.leave(one.ticket, None)
            elif place == NOW and self.running >= self.limit:
                self._shared.leave(one.ticket, None)
                one.turn.set_exception(LineGoneError())
            elif place == NOW:
                one.turn.set_result(self._turn(one.ticket))
            else:
                one.place = place
