"""Keeps a table of processes running: starts, restarts, and stops them together."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from deploy.child import Child, Life, Say, how_it_ended

WELL_ENDED = (0, -signal.SIGTERM)
SLOW_START_S = 30.0


@dataclass(frozen=True)
class Patience:
    """Seconds, but for `tries`."""

    first_pause: float = 0.2
    longest_pause: float = 5.0
    a_life: float = 10.0
    """Whoever lived so long starts again with the first pause."""
    tries: int = 5
    """So many quick ends in a row, without ever being ready, are a child that cannot start."""
    to_end: float = 30.0
    """How long all may take to end after TERM."""


class Supervisor:
    """Runs the children until a signal, or until one of them cannot start.

    TERM, INT and HUP stop the children in the reverse order of the table, each after the one
    before it has ended: a gateway drains its streams while those whom it asks still answer.
    A second signal kills.
    """

    def __init__(
        self, children: Sequence[Child], say: Say, patience: Patience | None = None
    ) -> None:
        self._children = tuple(children)
        self._say_line = say
        self._patience = patience or Patience()
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self._ready = {child.name: asyncio.Event() for child in self._children if child.health_url}
        self._turn = {child.name: asyncio.Event() for child in self._children}
        self._deadline = 0.0
        self._failed = False

    async def run(self) -> int:
        """Return the exit code: 0 when all ended well."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._signalled)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            keepers = {
                child.name: asyncio.create_task(self._keep(child, http)) for child in self._children
            }
            await self._stop.wait()
            self._deadline = loop.time() + self._patience.to_end
            for name, keeper in reversed(keepers.items()):
                self._turn[name].set()
                await keeper
        return 1 if self._failed else 0

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._kill.set()
        else:
            self._say("stopping (again: kill)")
            self._stop.set()

    async def _keep(self, child: Child, http: aiohttp.ClientSession) -> None:
        patience = self._patience
        loop = asyncio.get_running_loop()
        pause, quick_ends, restarted = patience.first_pause, 0, False
        await self._wait_for_those_above(child)
        while not self._stop.is_set():
            began = loop.time()
            try:
                life = await Life.begin(child, self._say_line)
            except OSError as error:
                self._give_up(f"{child.name} cannot start: {error}")
                return
            code = await self._live(life, http, restarted)
            lived = loop.time() - began
            if self._stop.is_set():
                return
            if lived >= patience.a_life:
                pause = patience.first_pause
            quick_ends = 0 if life.ready or lived >= patience.a_life else quick_ends + 1
            if quick_ends >= patience.tries:
                why = " / ".join(life.last_errors) or "it said nothing on stderr"
                self._give_up(
                    f"{child.name} cannot start: {how_it_ended(code)}, "
                    f"{quick_ends} times in a row: {why}"
                )
                return
            self._say(f"{child.name} ended ({how_it_ended(code)}), again in {pause:g} s")
            await self._sleep(pause)
            pause, restarted = min(pause * 2, patience.longest_pause), True

    async def _wait_for_those_above(self, child: Child) -> None:
        above = [other.name for other in self._children[: self._children.index(child)]]
        awaited = [self._ready[name] for name in above if name in self._ready]
        if not child.waits_s or not awaited:
            return

        async def all_of_them() -> None:
            for ready in awaited:
                await ready.wait()

        all_ready = asyncio.create_task(all_of_them())
        stop = asyncio.create_task(self._stop.wait())
        either: set[asyncio.Future[Any]] = {all_ready, stop}
        await asyncio.wait(either, timeout=child.waits_s, return_when=asyncio.FIRST_COMPLETED)
        all_ready.cancel()
        stop.cancel()

    async def _live(self, life: Life, http: aiohttp.ClientSession, restarted: bool) -> int:
        """Wait for the end, or bring it about when the turn to stop has come; nothing is left."""
        watch = asyncio.create_task(self._watch(life, http, restarted))
        turn = asyncio.create_task(self._turn[life.child.name].wait())
        either: set[asyncio.Future[Any]] = {life.ended, turn}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        turn.cancel()
        killed = not life.ended.done() and not await self._end(life)
        code = await life.ended
        # Orphaned workers would hold the port against the next life, and the pipes open.
        life.signal_group(signal.SIGTERM)
        await life.read_to_the_end()
        life.signal_group(signal.SIGKILL)
        life.close()
        if self._stop.is_set() and code not in WELL_ENDED:
            self._failed = True
            if not killed:
                self._say(f"{life.child.name} ended badly: {how_it_ended(code)}")
        return code

    async def _end(self, life: Life) -> bool:
        """Send TERM, and KILL when that does not help; say whether TERM was enough."""
        # Whoever comes last must not die of the slowness of the first.
        limit = max(self._deadline - asyncio.get_running_loop().time(), 2.0)
        kill = asyncio.create_task(self._kill.wait())
        life.terminate()
        either: set[asyncio.Future[Any]] = {life.ended, kill}
        await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        kill.cancel()
        if life.ended.done():
            return True
        why = "" if self._kill.is_set() else f": it did not end within {limit:.0f} s"
        self._say(f"{life.child.name} is killed{why}")
        life.signal_group(signal.SIGKILL)
        return False

    async def _watch(self, life: Life, http: aiohttp.ClientSession, restarted: bool) -> None:
        """Mark the life as ready, and say so where it was missed."""
        child, loop = life.child, asyncio.get_running_loop()
        if not child.health_url:
            return
        began, told, answer = loop.time(), False, "no answer"
        while True:
            try:
                async with http.get(child.health_url) as response:
                    if response.status == 200:
                        break
                    answer = f"status {response.status}"
            except (aiohttp.ClientError, TimeoutError):
                answer = "no answer"
            took = loop.time() - began
            if took > SLOW_START_S and not told:
                told = True
                self._say(f"{child.name} is not ready after {took:.0f} s: {answer}")
            await asyncio.sleep(0.1)
        life.ready = True
        self._ready[child.name].set()
        if restarted or told:
            self._say(f"{child.name} is ready again after {loop.time() - began:.1f} s")

    def _give_up(self, line: str) -> None:
        self._say(line, error=True)
        self._failed = True
        self._stop.set()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _say(self, line: str, *, error: bool = False) -> None:
        self._say_line("pointsman", line, error)


class Printer:
    """Writes each line after its speaker's name, coloured on a terminal."""

    COLOURS = (36, 35, 32, 33, 34)

    def __init__(self, names: Sequence[str], *, plain: bool) -> None:
        self._names = list(names)
        self._width = max(map(len, names))
        self._plain = plain

    def __call__(self, name: str, line: str, error: bool) -> None:
        stream = sys.stderr if error else sys.stdout
        prefix = f"{name:{self._width}} |"
        if stream.isatty() and not self._plain:
            colour = self.COLOURS[self._names.index(name) % len(self.COLOURS)]
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            stream.write(f"{prefix} {line}\n")
            stream.flush()
        except BrokenPipeError:
            return  # Whoever read us has gone; the children go on.
