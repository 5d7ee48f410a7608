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
    """Yields the URL of an empty database. The server refuses to run as root, so it then runs as
    the user postgres, in a folder that this user owns."""
    binaries = _postgres_binaries()
    folder = Path(tempfile.mkdtemp(prefix="pointsman-pg-"))
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user, user)
    port, data = free_port(), folder / "data"
    make = ["-U", "pointsman", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(
        [str(binaries / "initdb"), "-D", str(data), *make],
        check=True,
        capture_output=True,
        cwd=folder,
        user=user,
        group=user,
    )
    run = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    with (folder / "postgres.log").open("w") as log:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), *run],
            stderr=log,
            cwd=folder,
            user=user,
            group=user,
        )
    try:
        _answers(port, process)
        _ready(binaries, port)
        yield f"postgresql://pointsman@127.0.0.1:{port}/postgres"
    finally:
        # Fast shutdown: a plain one waits for whoever is still connected.
        process.send_signal(signal.SIGINT)
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


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
