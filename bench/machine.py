"""Which machine, and which versions: a figure without them means nothing."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from shutil import which


def facts(arguments: str, module: str = "bench", pinned: bool = True) -> list[str]:
    """Lines for the head of the report. Take them before the run: it makes load of its own."""
    cores = len(os.sched_getaffinity(0))
    pinned = pinned and cores > 1
    placed = "subjects on one core, upstream and load on another" if pinned else "not pinned"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "orjson"))
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `python -m {module}{arguments}`",
        f"{_processor()}, {cores} cores ({placed}), Linux {platform.release()}, "
        f"load average before {os.getloadavg()[0]:.1f}",
        f"Python {platform.python_version()}, {libraries}, {_nginx()}",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _nginx() -> str:
    binary = which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if binary is None:
        return "no nginx"
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=10, check=False)
    return said.stderr.strip().removeprefix("nginx version: ").replace("nginx/", "nginx ")
