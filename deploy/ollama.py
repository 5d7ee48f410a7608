"""`python -m deploy.ollama`: finds an Ollama, or builds one with Go, or says why it cannot.

An Ollama on the PATH is left as it is. One that is built goes to var/ollama/bin, where the tests
look for it; what the build needed is removed. It is an old release, since newer ones need a
checkout and CMake: what their module holds does not compile by itself (0.13.0 lacks the headers
of nlohmann/json and miniaudio, which lie in folders that a module leaves out). It runs on the
processor alone, which is enough to test against.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

HOME = Path("var/ollama")
BINARY = HOME / "bin/ollama"
VERSION = "v0.5.13"
MODULE = f"github.com/ollama/ollama@{VERSION}"
NEEDED = {"go": "Go 1.24 or newer", "gcc": "a C compiler", "g++": "a C++ compiler"}
LIMIT_S = 1800
SHOWN_LINES = 15


class CannotBuild(Exception):
    """Why, in words for a person."""


def found() -> Path | None:
    """On the PATH, or the one that was built here."""
    there = shutil.which("ollama")
    if there is not None:
        return Path(there)
    return BINARY if BINARY.is_file() else None


def missing() -> list[str]:
    """What a build needs and this machine lacks, in words."""
    return [words for tool, words in NEEDED.items() if shutil.which(tool) is None]


def settings_of(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Everything that Go writes stays under `home`, and can be removed again."""
    return {
        **environment,
        "CGO_ENABLED": "1",
        "GOBIN": str(home / "bin"),
        "GOPATH": str(home / "go"),
        "GOCACHE": str(home / "cache"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
    }


def build(limit_s: float = LIMIT_S) -> Path:
    """Takes minutes and half a gigabyte meanwhile. Raises CannotBuild."""
    lacking = missing()
    if lacking:
        raise CannotBuild(f"No Ollama is on the PATH, and to build one takes {', '.join(lacking)}.")
    home = HOME.resolve()
    home.mkdir(parents=True, exist_ok=True)
    log = home / "build.log"
    try:
        with log.open("wb") as out:
            ended = subprocess.run(
                ["nice", "go", "install", MODULE],
                env=settings_of(home, os.environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"`go install {MODULE}` took more than {limit_s:.0f} s.") from None
    finally:
        for folder in ("go", "cache"):
            shutil.rmtree(home / folder, ignore_errors=True)
    if ended.returncode or not BINARY.is_file():
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
        raise CannotBuild("\n".join([f"`go install {MODULE}` failed; {log}:", *last]))
    return BINARY


def main() -> int:
    there = found()
    if there is not None:
        print(f"There is an Ollama: {there}")
        return 0
    print(f"Building Ollama {VERSION} with Go. This takes minutes.", flush=True)
    began = time.monotonic()
    try:
        built = build()
    except CannotBuild as why:
        print(f"There is no Ollama here.\n{why}", file=sys.stderr)
        return 1
    print(f"Built {built} in {time.monotonic() - began:.0f} s. Tests find it there.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
