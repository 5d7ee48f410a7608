"""A PostgreSQL and a Redis of the test's own, on free ports of 127.0.0.1, in folders of its own."""

from __future__ import annotations

import atexit
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

PR_SET_PDEATHSIG = 1
_SHARED: list[Postgres] = []


@contextmanager
def redis(folder: Path, *, port: int | None = None, durable: bool = False) -> Generator[str]:
    """Yields its URL. `durable` writes each change to disk before it answers."""
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    keeps = ("--appendonly", "yes", "--appendfsync", "always") if durable else ()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(
        [*command, "--dir", str(folder), "--logfile", str(folder / "redis.log"), *keeps]
    )
    try:
        _answers(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def postgres() -> Generator[str]:
    """Yields the URL of an empty database, on one server for the whole run: a server for each test
    takes two seconds of two cores, and on a busy machine some of them came too late."""
    server = _server()
    name = f"test_{secrets.token_hex(6)}"
    server.sql(f"CREATE DATABASE {name}")
    try:
        yield server.url.rpartition("/")[0] + f"/{name}"
    finally:
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def database(kind: str, folder: Path) -> Generator[str]:
    """Yields the URL of an empty database, of kind sqlite (in the folder) or postgresql."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/pointsman.db"
    else:
        with postgres() as url:
            yield url


def _server() -> Postgres:
    """Started by the first test that asks, ended with the run."""
    for server in _SHARED:
        if server.runs:
            return server
    _SHARED[:] = [Postgres()]
    atexit.register(_ended, _SHARED[0])
    _SHARED[0].start(lone=True)
    return _SHARED[0]


def _ended(server: Postgres) -> None:
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


@contextmanager
def stoppable_postgres() -> Generator[Postgres]:
    """One that runs; the test may stop it and start it again on the same port."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


class Postgres:
    """The server refuses to run as root, so it then runs as the user postgres, in a folder that
    this user owns."""

    def __init__(self) -> None:
        self.binaries = _postgres_binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="pointsman-pg-", dir=_open_to_all()))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user, self._user)
        self.port, self._data = free_port(), self.folder / "data"
        self.url = f"postgresql://pointsman@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        make = ["-U", "pointsman", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [str(self.binaries / "initdb"), "-D", str(self._data), *make],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            user=self._user,
            group=self._user,
        )
        assert made.returncode == 0, f"initdb: {made.stdout[-500:]}{made.stderr[-1500:]}"

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def sql(self, statement: str) -> None:
        """As its owner; by psql, as a test may have no loop of its own here."""
        command = [str(self.binaries / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-d", self.url]
        done = subprocess.run(
            [*command, "-c", statement], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def start(self, *, lone: bool = False) -> None:
        """`lone`: nobody would stop it were the run killed. Not from a thread that ends."""
        run = ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder), "-c", "fsync=off"]
        with (self.folder / "postgres.log").open("a") as log:
            self._process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self._data), *run],
                stderr=log,
                cwd=self.folder,
                user=self._user,
                group=self._user,
                preexec_fn=_end_with_us if lone else None,
            )
        _answers(self.port, self._process)
        _ready(self.binaries, self.port)

    def stop(self) -> None:
        if self._process is not None:
            # Fast shutdown: a plain one waits for whoever is still connected.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(10)
            self._process = None


def _open_to_all() -> str:
    """Where another user gets through: TMPDIR may be one's own alone."""
    place = Path(tempfile.gettempdir()).resolve()
    if all(one.stat().st_mode & 0o001 for one in (place, *place.parents)):
        return str(place)
    return "/tmp"


def _end_with_us() -> None:
    """A run that is killed leaves no server behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _postgres_binaries() -> Path:
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (place / "initdb").exists():
            return place
    found = shutil.which("initdb")
    assert found, "PostgreSQL is not installed: Debian's package postgresql has it"
    return Path(found).parent


def _answers(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended while it started"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the server did not answer")


def _ready(binaries: Path, port: int, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    command = [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
    while subprocess.run(command, check=False).returncode:
        assert time.monotonic() < end, "PostgreSQL did not become ready"
        time.sleep(0.05)
