"""Starts the real service: gunicorn, its workers, a free port; stopped by its pid."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED = ROOT / "models" / "router"
NOTHING_PROMOTED = ROOT / "var" / "tests" / "nothing-promoted"
COMMAND = (sys.executable, "-m", "gunicorn", "-c", str(ROOT / "classifier" / "gunicorn.conf.py"))


@dataclass(frozen=True)
class Running:
    """A running service."""

    url: str
    process: subprocess.Popen[str]

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


def environment(port: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what an outer service may have set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLASSIFIER_", "PROMETHEUS_"))
    }
    ours = {"CLASSIFIER_PORT": str(port), "CLASSIFIER_WORKERS": "2"}
    return {**kept, **ours, "CLASSIFIER_MODELS": str(NOTHING_PROMOTED), **extra}


def answers(url: str) -> bool:
    """Whether /healthz says ok."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as refused:
        refused.close()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        pass
    return False


@contextmanager
def running(**extra: str) -> Iterator[Running]:
    """The service, up; stopped gracefully at the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment(port, extra), stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 30
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"The service did not start: {process.communicate()[1]}")
            time.sleep(0.05)
        yield Running(url, process)
    finally:
        process.terminate()
        process.communicate(timeout=40)


def refusal(**extra: str) -> tuple[int, str]:
    """Exit code and words of a service that must not start."""
    done = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environment(free_port(), extra),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    return done.returncode, done.stderr
