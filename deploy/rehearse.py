"""`python -m deploy.rehearse [--no-build]`: the small set of docker-compose.yml, for real.

Builds the images, brings the set up under a project name and on a port of its own, asks the main
job, looks whether the containers are as confined as they should be, and takes all of it down again,
volumes too. Exit code 1 when something was not as it should be. Needs a Docker daemon.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from deploy.secrets import lay_down

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "pointsman-rehearsal"
PATIENCE_S = 180


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


class Set:
    """The small set under a name of its own."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._command = [*composer(), "--project-name", PROJECT, "--profile", "small"]
        self._environment = {**os.environ, "PORT": str(self.port)}

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
        identity = self.compose("ps", "-q", service).strip()
        said = subprocess.run(["docker", "inspect", identity], capture_output=True, check=True)
        found: dict[str, Any] = json.loads(said.stdout)[0]
        return found


def exit_code(container: str) -> int:
    """Of a container that has ended."""
    said = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.ExitCode}}", container],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(said.stdout)


def ask(port: int, code: str | None) -> tuple[int, dict[str, Any]]:
    """The main job; status, and the body of a whole answer."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/complete",
        data=json.dumps({"message": "Name three colours.", "stream": False}).encode(),
        headers={"Content-Type": "application/json"}
        | ({"Authorization": f"Bearer {code}"} if code else {}),
    )
    try:
        # An address of this machine that was made above.
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {}
    except OSError:
        return 0, {}


def until_answered(port: int, code: str) -> dict[str, Any]:
    """The answer, once there is one: the model is loaded after the gateway is ready."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status, body = ask(port, code)
        if status == 200:
            return body
        if time.monotonic() > deadline:
            raise RehearsalError(f"POST /complete still gives {status} after {PATIENCE_S} s")
        time.sleep(1)


def look(running: Set) -> None:
    """Raise RehearsalError for a container with more rights than it should have."""
    for service in ("gateway-small", "classifier", "local"):
        found = running.container(service)
        host, config = found["HostConfig"], found["Config"]
        facts = {
            "read-only": host["ReadonlyRootfs"] is True,
            "no rights": host["CapDrop"] == ["ALL"],
            "not root": config["User"].split(":")[0] not in ("", "0", "root"),
            "limited memory": host["Memory"] > 0,
            "limited cores": host["NanoCpus"] > 0,
        }
        if wrong := [what for what, holds in facts.items() if not holds]:
            raise RehearsalError(f"{service} is not: {', '.join(wrong)}")
        ports = found["NetworkSettings"]["Ports"] or {}
        published = [one for rows in ports.values() for one in rows or ()]
        if service != "gateway-small" and published:
            raise RehearsalError(f"{service} is published: {published}")
        if any(one["HostIp"] != "127.0.0.1" for one in published):
            raise RehearsalError(f"{service} is published beyond this machine: {published}")


def rehearse(build: bool) -> None:
    """Raise RehearsalError at the first thing that is wrong; nothing is left running."""
    lay_down(ROOT / "var" / "secrets")
    code = (ROOT / "var" / "secrets" / "gateway" / "APP_CODE").read_text().strip()
    running = Set()
    try:
        if build:
            print("building", flush=True)
            running.compose("build")
        print("bringing it up", flush=True)
        running.compose("up", "--detach", "--no-build")
        answer = until_answered(running.port, code)
        route = answer["route"]
        print(f"{route['target']} answered: {answer['message']!r}")
        print(f"  {route['reason']}")
        if route["score"] is None:
            raise RehearsalError("the classifier was not heard")
        if ask(running.port, None)[0] != 401:
            raise RehearsalError("a caller without a code came in")
        look(running)
        gateway = running.container("gateway-small")["Id"]
        began = time.monotonic()
        subprocess.run(["docker", "stop", "--time", "40", gateway], capture_output=True, check=True)
        print(f"the gateway ended within {time.monotonic() - began:.1f} s")
        if exit_code(gateway) != 0:
            raise RehearsalError(f"the gateway ended with {exit_code(gateway)}")
    finally:
        running.compose("down", "--volumes")


def main() -> int:
    try:
        rehearse("--no-build" not in sys.argv[1:])
    except RehearsalError as wrong:
        print(f"rehearsal: {wrong}", file=sys.stderr)
        return 1
    print("all as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
