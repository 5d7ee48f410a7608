"""Routes with so many answers at once: who comes beyond that waits in the queue's order, or is
turned away. A process that is alone counts its own; several share a line. Nothing of it needs to
outlive its callers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from gateway.engine.ports import Caller, Leave, Told
from gateway.jobs.line import Line
from gateway.jobs.line_alone import Gate
from gateway.jobs.line_shared import SharedGate
from gateway.settings import Settings


class Gates:
    """The engine's Turns. `settings` are those of the moment; `clock` is monotonic seconds;
    `line` is where several processes stand together."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        clock: Callable[[], float] = time.monotonic,
        line: Line | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._line = line
        self._gates: dict[str, Gate] = {}

    async def close(self) -> None:
        for gate in self._gates.values():
            await gate.close()
        if self._line is not None:
            await self._line.close()

    def enter(self, route: str, caller: Caller, told: Told) -> Leave | Awaitable[Leave] | None:
        settings = self._settings()
        found = settings.routes.get(route)
        if found is None or found.max_in_flight is None:
            return None
        gate = self._gates.get(route)
        if gate is None:
            line, clock = self._line, self._clock
            gate = Gate(route, clock) if line is None else SharedGate(route, clock, line)
            self._gates[route] = gate
        gate.use(found, settings)
        return gate.enter(caller, told)

    def waiting(self, route: str) -> int:
        gate = self._gates.get(route)
        return gate.waiting if gate is not None else 0
