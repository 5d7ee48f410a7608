"""The parts of a cluster, each of them started, killed and started again at the same place."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.network import Machine
from tests.store.servers import _postgres_binaries

ROOT = Path(__file__).parents[2]
START_S = 60.0


class Part:
    """One process. `there` says whether it serves."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        there: Callable[[], bool],
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._folder = folder
        self._there = there
        self._user = user
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log.txt"

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                env=self._environment,
                user=self._user,
                group=self._user,
                # The children of what is killed go with it.
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        assert self.process is not None
        end = time.monotonic() + START_S
        while not self._there():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, f"{self._command} does not serve"
            time.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self.process.wait(30)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)


def redis(folder: Path, host: str, port: int) -> Part:
    """Writes each change to disk before it answers."""
    folder.mkdir()
    command = ["redis-server", "--port", str(port), "--bind", host, "--save", "", "--dir"]
    keeps = ["--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no"]
    return Part([*command, str(folder), *keeps], folder, lambda: _open(host, port))


def postgres(folder: Path, host: str, port: int) -> Part:
    """Writes to disk what it says is written: it is killed here."""
    binaries = _postgres_binaries()
    folder.mkdir()
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user, user)
        for parent in folder.parents:
            if parent.owner() == "root" and parent != Path("/") and "pm-cluster" in str(parent):
                parent.chmod(0o755)
    data = folder / "data"
    make = ["-U", "pointsman", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(
        [str(binaries / "initdb"), "-D", str(data), *make],
        check=True,
        capture_output=True,
        cwd=folder,
        user=user,
        group=user,
    )
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.213.77.0/24 trust\n")
    run = ["-p", str(port), "-h", host, "-k", str(folder)]
    ready = [str(binaries / "pg_isready"), "-h", host, "-p", str(port), "-q"]

    def there() -> bool:
        return subprocess.run(ready, check=False).returncode == 0

    command = [str(binaries / "postgres"), "-D", str(data), *run]
    return Part(command, folder, there, user=user)


def upstream(folder: Path, host: str, port: int) -> Part:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.cluster.upstream", host, str(port)]
    url = f"http://{host}:{port}/seen"
    return Part(command, folder, lambda: answers(url), environment=_environment())


def gateway(folder: Path, machine: Machine, port: int) -> Part:
    """With the gateway.toml in its folder."""
    command = [*machine.command, sys.executable, "-m", "gateway", "--config", "gateway.toml"]
    url = f"http://{machine.address}:{port}/healthz"
    return Part(command, folder, lambda: answers(url), environment=_environment())


def classifier(folder: Path, machine: Machine, port: int) -> Part:
    """Its own machine's only."""
    folder.mkdir()
    config = str(ROOT / "classifier" / "gunicorn.conf.py")
    command = [*machine.command, sys.executable, "-m", "gunicorn", "-c", config]
    given = {
        "CLASSIFIER_PORT": str(port),
        "CLASSIFIER_WORKERS": "1",
        "CLASSIFIER_MODELS": str(folder / "nothing-promoted"),
    }
    ask = [*machine.command, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]

    def there() -> bool:
        return subprocess.run(ask, check=False, capture_output=True).returncode == 0

    return Part(command, folder, there, environment=_environment(**given))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as told:
            return bool(told.status == 200)
    except urllib.error.HTTPError as refused:
        refused.close()
    except OSError:
        pass
    return False


def _open(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def _environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **more}
