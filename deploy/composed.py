"""docker-compose.yml under a project name and on ports of its own, and what Docker knows of it."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "pointsman-rehearsal"
PORTS = ("PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
PATIENCE_S = 240.0


class RehearsalError(Exception):
    """Something is not as it should be; the text says what."""


def composer() -> list[str]:
    """`docker compose`, or the older docker-compose."""
    if shutil.which("docker") is None:
        raise RehearsalError("docker is not here")
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if asked.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise RehearsalError("neither docker compose nor docker-compose is here")


def docker(*words: str, code: int | None = 0) -> str:
    """What it said; RehearsalError for another exit code than this, None takes any."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if code is not None and done.returncode != code:
        raise RehearsalError(f"docker {' '.join(words)}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


class Set:
    """The services of a profile, under a name of their own."""

    def __init__(self, profile: str, files: tuple[Path, ...] = ()) -> None:
        given = [word for file in files for word in ("--file", str(file))]
        first = ["--file", str(ROOT / "docker-compose.yml")] if files else []
        self._command = [*composer(), *first, *given, "--project-name", PROJECT]
        self._command += ["--profile", profile]
        self.ports = {name: _free_port() for name in PORTS}
        named = {name: str(port) for name, port in self.ports.items()}
        self._environment = {**os.environ, **named}
        whole = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
        self.services: dict[str, dict[str, Any]] = {
            name: one for name, one in whole["services"].items() if profile in one["profiles"]
        }

    @property
    def port(self) -> int:
        """The gateway's."""
        return self.ports["PORT"]

    def compose(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RehearsalError(f"{' '.join(words)}: {(done.stdout + done.stderr)[-1500:]}")
        return done.stdout

    def container(self, service: str) -> dict[str, Any]:
        """What Docker knows of a service's one container."""
        found: dict[str, Any] = json.loads(docker("inspect", self.identity(service)))[0]
        return found

    def identity(self, service: str) -> str:
        identities = docker(
            *("ps", "--all", "--quiet", "--no-trunc"),
            *("--filter", f"label=com.docker.compose.project={PROJECT}"),
            *("--filter", f"label=com.docker.compose.service={service}"),
        ).split()
        if len(identities) != 1:
            raise RehearsalError(f"{service} has {len(identities)} containers")
        return identities[0]

    def run(self, service: str, *command: str, code: int | None = 0) -> str:
        """What a command in the service's container said."""
        return docker("exec", self.identity(service), *command, code=code)

    def state(self, service: str) -> str:
        """`healthy`, `starting`, `unhealthy`, or, without a check, `running`, `exited`."""
        state = self.container(service)["State"]
        health = state.get("Health", {}).get("Status")
        return str(health if state["Status"] == "running" and health else state["Status"])

    def wait_for(self, service: str, wanted: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (state := self.state(service)) != wanted:
            if time.monotonic() > deadline:
                lines = docker("logs", "--tail", "20", self.identity(service), code=None)
                raise RehearsalError(f"{service} is {state}, not {wanted}: {lines[-1500:]}")
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
