"""`--workers N`: processes that listen on one port, and the one that keeps them.

Each worker has a listening socket of its own (SO_REUSEPORT), so the kernel deals the connections
out evenly. On a shared listener the first to wake takes most of them: 34, 20, 8 and 2 of 64, where
own ones gave 14, 17, 16 and 17.

The keeper serves nobody and runs no event loop. It forks, waits for signals, and

    SIGTERM, SIGINT  ends all workers; each lets its open streams end
    SIGHUP           has all workers reload
    SIGCHLD          puts a new worker in the place of a dead one

Counters live in files that all workers share and outlive the one who counted.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

METRICS = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "pointsman-metrics-"
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
PR_SET_PDEATHSIG = 1  # prctl(2)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
TRIES = 5
"""Workers that end before they listen, one after the other, until the keeper gives up."""
GRACE_S = 10.0
"""Beyond `drain_s`, before a worker that does not end is killed."""

Ready = Callable[[], None]
Work = Callable[[int, Ready], int]
"""A worker's whole life: takes its number, and what to call when it listens; gives its code."""


def share_metrics() -> Path:
    """A fresh folder for the workers' counters, in memory where that can be. To be called before
    prometheus_client is first imported: it decides then where it counts."""
    memory = Path("/dev/shm")  # noqa: S108
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    _lock(folder)
    os.environ[METRICS] = str(folder)
    return folder


def _sweep(parent: Path) -> None:
    """Removes what keepers left who were killed: nobody holds the lock of their folder."""
    # One without a lock is just being made.
    for folder in [lock.parent for lock in parent.glob(f"{PREFIX}*/lock")]:
        try:
            held = _lock(folder)
        except OSError:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _lock(folder: Path) -> int:
    """Held for as long as this process, or one of its workers, lives. Raises OSError."""
    held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held


def reserve(host: str, port: int) -> socket.socket:
    """A socket that holds the address, without listening, so that workers may share it. Raises
    OSError when it is somebody else's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # A worker's own setting would let it in beside another keeper's workers, unseen.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        taken = probe.getsockname()
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind(taken)
    except OSError:
        held.close()
        raise
    return held


@dataclass
class _Place:
    """One of the N places, and who has it."""

    number: int
    pid: int = 0
    ready: int = -1
    """Read end of a pipe on which the worker says that it listens; -1 once it was read."""
    listened: bool = False
    quick_ends: int = 0
    again_at: float = 0.0
    """Monotonic seconds; when a worker may be put here again."""


@dataclass
class Keeper:
    """Keeps `count` workers alive until it is told to stop."""

    count: int
    work: Work
    drain_s: float
    _places: list[_Place] = field(default_factory=list)

    def run(self) -> int:
        """0 when all workers ended well; 1 when one could not start, ended badly or was killed;
        the worker's own code when no worker ever listened."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        # Pages of garbage-collected objects would be copied by each child's first collection.
        gc.collect()
        gc.freeze()
        self._places = [_Place(number) for number in range(self.count)]
        for place in self._places:
            self._put(place)
        while True:
            got = signal.sigtimedwait(SIGNALS, self._pause())
            if got is None or got.si_signo == signal.SIGCHLD:
                code = self._replace()
                if code is not None:
                    self._stop()
                    return code
            elif got.si_signo == signal.SIGHUP:
                self._tell(signal.SIGHUP)
            else:
                return self._stop()

    def _pause(self) -> float:
        """Seconds until a place may be filled; a look now and then else, to learn who listens."""
        now = time.monotonic()
        waits = [place.again_at - now for place in self._places if not place.pid]
        return min([1.0, *(max(wait, 0.0) for wait in waits)])

    def _put(self, place: _Place) -> None:
        ready, listens = os.pipe()
        keeper = os.getpid()
        pid = os.fork()
        if pid:
            os.close(listens)
            os.set_blocking(ready, False)
            place.pid, place.ready, place.listened = pid, ready, False
            return
        # From here on this is the worker; nothing of the keeper's may run on its way out.
        code = 1
        try:
            os.close(ready)
            for other in self._places:
                if other.ready >= 0:
                    os.close(other.ready)
            # Without its keeper nobody could stop it.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != keeper:
                os._exit(1)
            # A stop ends it from now on; a reload waits until it has a handler for it.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS - {signal.SIGHUP})
            code = self.work(place.number, lambda: _say_ready(listens))
        except BaseException as fault:
            sys.stderr.write(f"pointsman: worker {place.number}: {fault!r}\n")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _replace(self) -> int | None:
        """Buries the dead and fills their places; a code when it is of no use to go on."""
        for pid, code in _dead():
            place = next((one for one in self._places if one.pid == pid), None)
            if place is None:
                continue
            self._hear(place)
            _forget(pid)
            _close(place)
            place.pid = 0
            place.quick_ends = 0 if place.listened else place.quick_ends + 1
            if place.quick_ends >= TRIES or (code == 2 and not self._ever_listened()):
                sys.stderr.write(f"pointsman: worker {place.number} cannot start\n")
                return code or 1
            pause = min(FIRST_PAUSE_S * 2**place.quick_ends, LONGEST_PAUSE_S)
            place.again_at = time.monotonic() + pause
            sys.stderr.write(f"pointsman: worker {place.number} {_ended(code)}, again\n")
        for place in self._places:
            self._hear(place)
            if not place.pid and place.again_at <= time.monotonic():
                self._put(place)
        return None

    def _ever_listened(self) -> bool:
        for place in self._places:
            self._hear(place)
        return any(place.listened for place in self._places)

    def _hear(self, place: _Place) -> None:
        """Notes whether the worker listens, and that its quick ends are over."""
        if place.ready < 0:
            return
        try:
            said = os.read(place.ready, 1)
        except BlockingIOError:
            return
        if said:
            place.listened, place.quick_ends = True, 0
        _close(place)

    def _tell(self, number: signal.Signals) -> None:
        for place in self._places:
            if place.pid:
                os.kill(place.pid, number)

    def _stop(self) -> int:
        """Ends all workers and waits for them."""
        self._tell(signal.SIGTERM)
        deadline = time.monotonic() + self.drain_s + GRACE_S
        worst = 0
        while any(place.pid for place in self._places):
            for pid, code in _dead():
                for place in self._places:
                    if place.pid == pid:
                        place.pid = 0
                        worst = max(worst, 0 if code in (0, -signal.SIGTERM) else 1)
            left = deadline - time.monotonic()
            if left <= 0:
                self._tell(signal.SIGKILL)
                worst = 1
            if any(place.pid for place in self._places):
                got = signal.sigtimedwait(SIGNALS, max(left, 0.05))
                if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                    # Asked twice: the workers' own second signal.
                    self._tell(signal.SIGTERM)
        for place in self._places:
            _close(place)
        return worst


def _say_ready(pipe: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    os.write(pipe, b"1")
    os.close(pipe)


def _close(place: _Place) -> None:
    if place.ready >= 0:
        os.close(place.ready)
        place.ready = -1


def _dead() -> list[tuple[int, int]]:
    """Every child that ended since the last call: its id, and its code or less its signal."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        found.append((pid, os.waitstatus_to_exitcode(status)))


def _ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _forget(pid: int) -> None:
    """What the dead had in hand no longer counts; what he had counted does."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def wipe(folder: Path) -> None:
    """Leave no counters behind."""
    shutil.rmtree(folder, ignore_errors=True)
