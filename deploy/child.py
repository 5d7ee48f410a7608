"""One supervised process: what to start, and one life of it."""

import asyncio
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LONGEST_LINE = 64 * 1024
PR_SET_PDEATHSIG = 1  # prctl(2)

Say = Callable[[str, str, bool], None]
"""Takes a name, a line, and whether it is an error's."""


@dataclass(frozen=True)
class Address:
    """Where a child listens, and the variable that moves it."""

    host: str
    port: int
    variable: str


@dataclass(frozen=True)
class Child:
    """A row of the process table.

    `health_url` answers 200 once the child is ready; without one, ten seconds of life count.
    `environment` is the whole of it. The first start waits until those above it in the table are
    ready, `waits_s` seconds at most.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    health_url: str = ""
    address: Address | None = None
    waits_s: float = 0.0


class Life(asyncio.SubprocessProtocol):
    """One run of a child, from start to exit.

    asyncio's own Process.wait() may hang while orphans of the dead hold its pipes; this does not.
    """

    def __init__(self, child: Child, say: Say) -> None:
        self.child = child
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last_errors: deque[str] = deque(maxlen=3)
        self.ready = False
        self._say = say
        self._rest = {1: b"", 2: b""}
        self._transport: asyncio.SubprocessTransport

    @classmethod
    async def begin(cls, child: Child, say: Say) -> "Life":
        """Start the child in a process group of its own; raise OSError when it cannot be."""
        loop = asyncio.get_running_loop()
        _, life = await loop.subprocess_exec(
            lambda: cls(child, say),
            *child.argv,
            stdin=asyncio.subprocess.DEVNULL,
            env={**child.environment, "PYTHONUNBUFFERED": "1"},
            process_group=0,
            preexec_fn=_end_with_the_parent,
        )
        return life

    def terminate(self) -> None:
        """Ask the child itself to end; it ends its own workers."""
        if not self.ended.done():
            self._transport.send_signal(signal.SIGTERM)

    def signal_group(self, number: signal.Signals) -> None:
        """Reach what the child has left behind as well."""
        try:
            os.killpg(self._transport.get_pid(), number)
        except (ProcessLookupError, PermissionError):
            return  # Nobody of the group is left; macOS says so with EPERM.

    async def read_to_the_end(self) -> None:
        """Wait until all that it wrote has been passed on; orphans may keep a pipe open: 0.5 s."""
        await asyncio.wait({self._read}, timeout=0.5)

    def close(self) -> None:
        """Let go of the pipes; to be called after the end."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._rest[fd] + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._rest[fd] = rest
        for line in lines:
            self._pass_on(fd, line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        rest = self._rest.pop(fd, b"")
        if rest:
            self._pass_on(fd, rest)
        if not self._rest:
            self._read.set_result(None)

    def process_exited(self) -> None:
        code = self._transport.get_returncode()
        self.ended.set_result(0 if code is None else code)

    def _pass_on(self, fd: int, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        if fd == 2 and text.strip():
            self.last_errors.append(text.strip())
        self._say(self.child.name, text, fd == 2)


def how_it_ended(code: int) -> str:
    """Say a return code in words: "exit code 3", "killed by SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_the_parent() -> None:
    # A supervisor killed with -9 would leave its children holding their ports.
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
