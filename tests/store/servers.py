"""A PostgreSQL and a Redis of the test's own, on free ports of 127.0.0.1, in folders of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


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
    """Yields the URL of an empty database."""
    with stoppable_postgres() as server:
        yield server.url


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
        self.folder = Path(tempfile.mkdtemp(prefix="pointsman-pg-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user, self._user)
        self.port, self._data = free_port(), self.folder / "data"
        self.url = f"postgresql://pointsman@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        make = ["-U", "pointsman", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [str(self.binaries / "initdb"), "-D", str(self._data), *make],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self._user,
            group=self._user,
        )

    def start(self) -> None:
        run = ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder), "-c", "fsync=off"]
        with (self.folder / "postgres.log").open("a") as log:
            self._process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self._data), *run],
                stderr=log,
                cwd=self.folder,
                user=self._user,
                group=self._user,
            )
        _answers(self.port, self._process)
        _ready(self.binaries, self.port)

    def stop(self) -> None:
        if self._process is not None:
            # Fast shutdown: a plain one waits for whoever is still connected.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(10)
            self._process = None


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
