"""`python -m deploy.with_go NAME`: finds a program, or builds it with Go, or says why it cannot.

For real parts that no package of Debian, PyPI or npm holds. One on the PATH is left as it is; one
that is built goes to var/NAME/bin, where the tests look for it, and what the build needed is
removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 1800
SHOWN_LINES = 15
COMPILERS = {"gcc": "a C compiler", "g++": "a C++ compiler"}


class CannotBuild(Exception):
    """Why, in words for a person."""


@dataclass(frozen=True)
class Program:
    """A command that Go builds from its module."""

    name: str
    module: str
    """With the path of the command and the version, as `go install` takes it."""
    needed: Mapping[str, str]
    """What a build asks of this machine: a tool, and what it is called in words."""

    @property
    def home(self) -> Path:
        return Path("var") / self.name

    @property
    def binary(self) -> Path:
        return self.home / "bin" / self.name

    def found(self) -> Path | None:
        """On the PATH, or the one that was built here."""
        there = shutil.which(self.name)
        if there is not None:
            return Path(there)
        return self.binary if self.binary.is_file() else None

    def missing(self) -> list[str]:
        """What a build needs and this machine lacks, in words."""
        return [words for tool, words in self.needed.items() if shutil.which(tool) is None]

    def build(self, limit_s: float = LIMIT_S) -> Path:
        """Takes minutes. Raises CannotBuild."""
        if lacking := self.missing():
            raise CannotBuild(
                f"No {self.name} is on the PATH, and to build one takes {', '.join(lacking)}."
            )
        home = self.home.resolve()
        home.mkdir(parents=True, exist_ok=True)
        log = home / "build.log"
        command = f"go install {self.module}"
        try:
            with log.open("wb") as out:
                ended = subprocess.run(
                    ["nice", *command.split()],
                    env=self._settings(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=limit_s,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise CannotBuild(f"`{command}` took more than {limit_s:.0f} s.") from None
        finally:
            for folder in ("go", "cache"):
                shutil.rmtree(home / folder, ignore_errors=True)
        if ended.returncode or not self.binary.is_file():
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:]
            raise CannotBuild("\n".join([f"`{command}` failed; {log}:", *last]))
        return self.binary

    def _settings(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Everything that Go writes stays in one folder, and can be removed again."""
        home = self.home.resolve()
        return {
            **environment,
            "CGO_ENABLED": "1" if "gcc" in self.needed else "0",
            "GOBIN": str(home / "bin"),
            "GOPATH": str(home / "go"),
            "GOCACHE": str(home / "cache"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
        }


OLLAMA = Program(
    "ollama", "github.com/ollama/ollama@v0.5.13", {"go": "Go 1.24 or newer", **COMPILERS}
)
"""An old release, since newer ones need a checkout and CMake: what their module holds does not
compile by itself (0.13.0 lacks the headers of nlohmann/json and miniaudio, which lie in folders
that a module leaves out). It runs on the processor alone, which is enough to test against."""
KUBECONFORM = Program(
    "kubeconform",
    "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
    {"go": "Go 1.24 or newer"},
)
PROGRAMS = {program.name: program for program in (OLLAMA, KUBECONFORM)}


def main(names: list[str]) -> int:
    if len(names) != 1 or names[0] not in PROGRAMS:
        print(f"Which one? {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    program = PROGRAMS[names[0]]
    there = program.found()
    if there is not None:
        print(f"There is a program {program.name}: {there}")
        return 0
    print(f"Building {program.module} with Go. This takes minutes.", flush=True)
    began = time.monotonic()
    try:
        built = program.build()
    except CannotBuild as why:
        print(f"There is no {program.name} here.\n{why}", file=sys.stderr)
        return 1
    print(f"Built {built} in {time.monotonic() - began:.0f} s. Tests find it there.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
