"""Processes of the bench: started pinned, read from /proc, stopped by their pid.

CPU is the kernel's own count for the whole tree, in nanoseconds: each live process's CPU clock
(user and system of all its threads, `clock_getcpuclockid(3)`) and what its reaped children used
(`/proc/<pid>/stat`, in ticks of 10 ms).
"""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import orjson

ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class FailedError(Exception):
    """A process that did not do what the bench needs of it."""


class Process:
    """A child of the bench, and whatever it starts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int | None,
        log: Path,
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
        talk: bool = False,
    ) -> None:
        """Start `command` on one core (None: any). `talk` gives it pipes for in and out.

        Of the bench's own environment it gets no more than `_PASSED_ON`: a setting or a key in
        somebody's shell does not change a figure.
        """
        self.name = name
        self._log = log
        mine = os.sched_getaffinity(0)
        try:
            if core is not None:
                os.sched_setaffinity(0, {core})  # a child inherits it from its first instruction
            with log.open("ab") as out:
                self.started = time.perf_counter()
                self._popen = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env={**_passed_on(), "PYTHONPATH": str(ROOT), **(env or {})},
                    stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if talk else out,
                    stderr=out,
                    bufsize=0,
                    start_new_session=True,  # Ctrl-C is the bench's to handle
                )
        finally:
            os.sched_setaffinity(0, mine)
        self.pid = self._popen.pid
        self._unread = b""

    def say(self, line: bytes) -> None:
        """Write one line to its standard input."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(line + b"\n")
        except BrokenPipeError:
            raise FailedError(f"{self.name} ended early: {self._why()}") from None

    def hear(self, timeout_s: float) -> bytes:
        """Read one line of its standard output; raises FailedError when none comes in time."""
        out: IO[bytes] | None = self._popen.stdout
        assert out is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                raise FailedError(f"{self.name} said nothing for {timeout_s:g} s: {self._why()}")
            data = os.read(out.fileno(), 1 << 16)
            if not data:
                raise FailedError(f"{self.name} ended early: {self._why()}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def wait_for(self, url: str, timeout_s: float = 30.0) -> float:
        """Ask until `url` answers 200; seconds from the start of the process to that answer."""
        while True:
            if answers(url):
                return time.perf_counter() - self.started
            if self._popen.poll() is not None:
                raise FailedError(f"{self.name} ended early: {self._why()}")
            if time.perf_counter() - self.started > timeout_s:
                raise FailedError(f"{self.name} not ready after {timeout_s:g} s: {self._why()}")
            time.sleep(0.005)

    def wait_for_file(self, path: Path, timeout_s: float = 30.0) -> str:
        """What it writes into a file of its own, once it does."""
        while not path.is_file() or not (text := path.read_text()):
            if self._popen.poll() is not None:
                raise FailedError(f"{self.name} ended early: {self._why()}")
            if time.perf_counter() - self.started > timeout_s:
                raise FailedError(f"{self.name} wrote no {path.name}: {self._why()}")
            time.sleep(0.005)
        return text

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it and all it started: asked first, then forced."""
        started = tree(self.pid)
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait(timeout_s)
        left = {pid: born for pid, born in started.items() if lives(pid, born)}
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + timeout_s
        while any(lives(pid, born) for pid, born in left.items()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()

    def _why(self) -> str:
        text = self._log.read_text(errors="replace").strip()
        return text[-800:] or "it wrote nothing"


def python(module: str, *arguments: str) -> list[str]:
    """The command line of one of the repository's modules."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether a GET of `url` gives 200 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:
        refused.close()
    except OSError:
        pass
    return False


def post(
    url: str, body: bytes, timeout_s: float = 30.0, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one POST of JSON; status 0 when nobody answers."""
    given = {"Content-Type": "application/json", **(headers or {})}
    asked = urllib.request.Request(url, data=body, headers=given, method="POST")
    try:
        with urllib.request.urlopen(asked, timeout=timeout_s) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, dict(refused.headers), refused.read()
    except OSError as wrong:
        return 0, {}, str(wrong).encode()


def tree(root: int) -> dict[int, int]:
    """`root` and every process below it that lives: pid to its start, in ticks since boot."""
    parents: dict[int, list[int]] = {}
    born: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            pid = int(entry.name)
            parents.setdefault(int(fields[1]), []).append(pid)
            born[pid] = int(fields[19])
    found: dict[int, int] = {}
    todo = [root]
    while todo:
        pid = todo.pop()
        if pid in born:
            found[pid] = born[pid]
            todo.extend(parents.get(pid, ()))
    return found


def cpu_seconds(*roots: int) -> float:
    """CPU used so far by the trees of these processes, user and system."""
    return sum(_cpu_of(pid) for root in roots for pid in tree(root))


def rss_bytes(*roots: int) -> int:
    """Resident memory of these trees now; a page that two processes share counts twice."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
            except OSError:
                continue  # it ended meanwhile
    return total


def peak_bytes(*roots: int) -> int:
    """The most that each process of these trees ever held, added up."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.M)
            total += int(found[1]) * 1024 if found else 0
    return total


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _cpu_of(pid: int) -> float:
    fields = _stat(pid)
    if not fields:
        return 0.0
    reaped = (int(fields[13]) + int(fields[14])) / _TICKS
    # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the C library's clock_getcpuclockid.
    try:
        return time.clock_gettime((~pid << 3) | 2) + reaped
    except OSError:
        return reaped


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on (proc(5) number 3 is index 0)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The name stands in brackets and may hold blanks and brackets of its own.
    return text.rpartition(")")[2].split()


def lives(pid: int, born: int) -> bool:
    """Whether the process that started at `born` still runs: its number may be another's by now."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX" and int(fields[19]) == born


def parse(line: bytes) -> dict[str, object]:
    """One line of JSON that a process of the bench said."""
    said = orjson.loads(line)
    assert isinstance(said, dict)
    return said
