"""The live hub: what happens now, for whoever watches.

Requests are summed up as the recorder hands them on; once a second the sums go into the windows,
and the last ones become rows. A watcher has no queue: he keeps what he was told last, and is told
what differs from it when he asks again. So a slow one costs nothing and gets fewer, larger
messages.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chat.request import Json
from gateway.engine.cooldown import PROBE_S
from gateway.engine.ports import Caller, Rest, Settlement
from gateway.monitor.row import row_of
from gateway.monitor.window import (
    BOUNDS,
    LEAST,
    WINDOW_S,
    Seen,
    Tally,
    Window,
    failed_before,
    percentile,
    percentiles,
    seen_of_row,
)
from gateway.tick import tick

TICK_S = 1.0
ROWS = 1000
MOST_ROWS = 200
"""Shown of one second; the others are counted only, and the ledger has them."""
SHOWN = 50
LATE_TICKS = 10
"""A watcher who did not ask for so long gets a snapshot."""
CALLERS = 500
BINS = 20


@dataclass(frozen=True)
class Sources:
    """What the hub asks of others, at each tick. A caller's id, or None for all."""

    in_flight: Callable[[str | None], int]
    targets: Callable[[], Iterable[str]]
    resting: Callable[[str], Rest | None]
    queue: Callable[[], Json]
    money: Callable[[str | None], Json]
    cost: Callable[[Settlement], str | None]


class Hub:
    def __init__(
        self,
        sources: Sources,
        now: Callable[[], float] = time.time,
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._sources = sources
        self._catch_up = catch_up
        self._now = now
        self._seen: dict[tuple[str, int], list[Seen]] = {}
        """What ended since the last tick, by caller and second: to add each request to all windows
        would be dearer."""
        self._latest: deque[tuple[float, Settlement]] = deque(maxlen=MOST_ROWS)
        self.rows: deque[tuple[int, dict[str, Json]]] = deque(maxlen=ROWS)
        self.number = 0
        """Of the newest row."""
        self._all = Window(now())
        self._callers: OrderedDict[str, Window] = OrderedDict()
        self.scores = [0] * BINS
        self.decided: dict[str, dict[str, int]] = {}
        """Route -> tier -> requests, since the process began."""
        self.elsewhere: dict[str, tuple[float, int]] = {}
        """Other processes: when each was heard last, and how many requests run there."""
        self.tick = 0
        self._ticked = asyncio.Condition()
        self._wanted = asyncio.Event()
        """Something ended, or somebody waits for a tick."""
        self._states: dict[str | None, tuple[float, dict[str, Json]]] = {}
        """Of this tick, by who sees them, and when each was made."""
        self.fresh: deque[dict[str, Json]] = deque(maxlen=ROWS)
        """Rows of this process that other processes were not told yet."""

    def settled(self, some: Sequence[tuple[float, Settlement]]) -> None:
        """One of the recorder's books."""
        for at, settlement in some:
            self._count(at, settlement)
        self._latest.extend(some)
        self._wanted.set()

    async def run(self) -> None:
        """Ticks until cancelled, while there is anything to tell or anybody to be told."""
        while True:
            await self._wanted.wait()
            await tick(TICK_S)
            self._wanted.clear()
            await self.count()

    async def count(self) -> None:
        """One tick."""
        self._catch_up()
        ended, self._seen = self._seen, {}
        for (caller, second), some in ended.items():
            tally = Tally(second)
            tally.add(some)
            self._sum(caller, tally)
        latest = list(self._latest)
        self._latest.clear()
        for at, settlement in latest:
            row = row_of(at, settlement, self._sources.cost(settlement))
            self.fresh.append(row)
            self._show(row)
        self.tick += 1
        self._states.clear()
        async with self._ticked:
            self._ticked.notify_all()

    def add(self, row: dict[str, Json]) -> None:
        """A row of another process."""
        self._show(row)
        seen = seen_of_row(row)
        tally = Tally(seen.at)
        tally.add((seen,))
        self._sum(row["caller_id"], tally)
        self._decided(row["score"], row["route"], row["tier"])

    def _show(self, row: dict[str, Json]) -> None:
        self.number += 1
        self.rows.append((self.number, row))

    def _count(self, at: float, settlement: Settlement) -> None:
        trace, usage, second = settlement.trace, settlement.usage, int(at)
        attempts = settlement.attempts
        key = (settlement.caller.id, second)
        some = self._seen.get(key)
        if some is None:
            some = self._seen[key] = []
        outcome, first, total = settlement.outcome, trace.first_token_ms, trace.total_ms
        # As bin_of and Seen would, without a call to either.
        seen = (
            second,
            outcome == "failed",
            outcome == "cancelled",
            usage.input_tokens or 0,
            usage.output_tokens or 0,
            None if first is None else LEAST + bisect_right(BOUNDS, first),
            None if total is None else LEAST + bisect_right(BOUNDS, total),
            (trace.tier or trace.route) if trace.route else "",
            trace.target,
            failed_before(((one.target.name, one.outcome) for one in attempts), trace.target)
            if len(attempts) > 1
            else (),
        )
        some.append(tuple.__new__(Seen, seen))
        if trace.tier is not None or trace.score is not None:
            self._decided(trace.score, trace.route, trace.tier)

    def _sum(self, caller: str, tally: Tally) -> None:
        self._all.add(tally)
        self._of(caller).add(tally)

    def _decided(self, score: float | None, route: str, tier: str | None) -> None:
        if score is not None:
            self.scores[min(int(score * BINS), BINS - 1)] += 1
        if tier is not None:
            tiers = self.decided.setdefault(route, {})
            tiers[tier] = tiers.get(tier, 0) + 1

    def in_flight(self) -> int:
        """In this process."""
        return self._sources.in_flight(None)

    def heard(self, process: str, running: int) -> None:
        self.elsewhere[process] = (self._now(), running)

    def watch(self, caller: Caller) -> Watcher:
        return Watcher(self, None if caller.admin else caller.id)

    def seen(self, scope: str | None) -> list[dict[str, Json]]:
        """Rows, newest first."""
        return [row for _, row in reversed(self.rows) if scope in (None, row["caller_id"])]

    def since(self, number: int, scope: str | None) -> list[dict[str, Json]]:
        """Rows after that one, newest first."""
        found = []
        for own, row in reversed(self.rows):
            if own <= number:
                break
            if scope in (None, row["caller_id"]):
                found.append(row)
        return found

    async def after(self, tick: int) -> None:
        """Waits for a tick after that one."""
        self._wanted.set()
        async with self._ticked:
            await self._ticked.wait_for(lambda: self.tick > tick)

    def state(self, scope: str | None) -> dict[str, Json]:
        """A snapshot without its rows; made once a tick for all who see the same."""
        now = self._now()
        at, kept = self._states.get(scope, (0.0, None))
        if kept is None or not 0 <= now - at < TICK_S:
            kept = self._made(scope)
            self._states[scope] = now, kept
        return kept

    def _made(self, scope: str | None) -> dict[str, Json]:
        now = self._now()
        window = self._all if scope is None else self._callers.get(scope) or Window(self._all.since)
        last = window.last(now)
        self.elsewhere = {
            name: seen for name, seen in self.elsewhere.items() if seen[0] > now - 5 * TICK_S
        }
        whole = scope is None
        elsewhere = sum(running for _, running in self.elsewhere.values()) if whole else 0
        return {
            "scope": "all" if whole else "own",
            "window_s": WINDOW_S,
            "rates": {
                "requests_per_s": round(last.requests / WINDOW_S, 3),
                "input_tokens_per_s": round(last.input_tokens / WINDOW_S, 2),
                "output_tokens_per_s": round(last.output_tokens / WINDOW_S, 2),
                "errors_per_s": round(last.errors / WINDOW_S, 3),
            },
            "first_token_ms": percentiles(last.first),
            "total_ms": percentiles(last.total),
            "in_flight": self._sources.in_flight(scope) + elsewhere,
            "totals": window.totals(),
            "tiers": dict(last.tiers),
            "scores": list(self.scores) if whole else None,
            "targets": self._targets(last.targets) if whole else None,
            "queue": self._sources.queue() if whole else None,
            "money": self._sources.money(scope),
            "workers": 1 + len(self.elsewhere) if whole else None,
            "history": window.points(now),
        }

    def _targets(self, seen: dict[str, Json]) -> list[dict[str, Json]]:
        names = list(dict.fromkeys([*self._sources.targets(), *sorted(seen)]))
        return [self._target(name, seen.get(name)) for name in names[:SHOWN]]

    def _target(self, name: str, seen: Json) -> dict[str, Json]:
        provider, _, model = name.partition("/")
        rest = self._sources.resting(name)
        breaker = "closed"
        if rest is not None:
            breaker = "half_open" if rest.seconds == PROBE_S and not rest.firm else "open"
        return {
            "target": name,
            "provider": provider,
            "model": model,
            "requests": seen.requests if seen else 0,
            "errors": seen.errors if seen else 0,
            "first_token_ms": percentile(seen.first, 0.5) if seen else None,
            "breaker": breaker,
            "rests_s": round(rest.seconds, 1) if rest else None,
            "error": rest.error.message[:300] if rest else None,
        }

    def _of(self, caller: str) -> Window:
        window = self._callers.get(caller)
        if window is None:
            # Targets are shown to who sees all.
            window = self._callers[caller] = Window(self._now(), targets=False)
            if len(self._callers) > CALLERS:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(caller)
        return window


class Watcher:
    """What one watcher was told."""

    def __init__(self, hub: Hub, scope: str | None) -> None:
        self._hub = hub
        self._scope = scope
        self._told: dict[str, Json] = {}
        self._number = 0
        self._tick = -LATE_TICKS - 1

    def snapshot(self) -> dict[str, Json]:
        hub = self._hub
        self._told, self._number, self._tick = hub.state(self._scope), hub.number, hub.tick
        rows = hub.seen(self._scope)[:SHOWN]
        return {"type": "snapshot", "at": round(time.time(), 3), **self._told, "requests": rows}

    async def following(self) -> dict[str, Json]:
        """The next message, when there is something to tell."""
        if not self._told:
            return self.snapshot()
        while True:
            await self._hub.after(self._tick)
            if self._hub.tick - self._tick > LATE_TICKS:
                return self.snapshot()
            message = self._delta()
            if message is not None:
                return message

    def _delta(self) -> dict[str, Json] | None:
        hub, before = self._hub, self._told
        rows = hub.since(self._number, self._scope)
        self._told, self._number, self._tick = hub.state(self._scope), hub.number, hub.tick
        changed = {name: value for name, value in self._told.items() if value != before[name]}
        if "history" in changed:
            changed["history"] = _news(before["history"], changed["history"])
        if not changed and not rows:
            return None
        message = {"type": "delta", "at": round(time.time(), 3), **changed}
        if rows:
            message["requests"] = rows[:SHOWN]
        if len(rows) > SHOWN:
            message["missed"] = len(rows) - SHOWN
        return message


def _news(before: Sequence[Json], after: Sequence[Json]) -> list[Json]:
    known = {point["at"]: point for point in before}
    return [point for point in after if known.get(point["at"]) != point]
