"""Each peer from its own package, into an environment of its own under var/peers.

A peer whose package cannot be had is left out with a word; a second call finds what is there.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.procs import ROOT
from bench.subjects import AbsentError

FOLDER = ROOT / "var" / "peers"
LIMIT_S = 900

LITELLM = "litellm[proxy]==1.102.4"
TENSORZERO = "tensorzero==2026.6.0"
PORTKEY = "@portkey-ai/gateway@1.15.2"
# With a later one Portkey 1.15.2 breaks its streams off.
PORTKEY_NEEDS = "@hono/node-server@1.13.5"

VERSIONS = {"litellm": LITELLM, "portkey": PORTKEY, "tensorzero": TENSORZERO}
Say = Callable[[str], None]


def python_peer(name: str, package: str, say: Say) -> Path:
    """The interpreter of a peer's environment; raises AbsentError."""
    own = FOLDER / name
    interpreter = own / "bin" / "python"
    if not (own / ".installed").is_file():
        say(f"installing {package}")
        _run(name, [sys.executable, "-m", "venv", str(own)])
        _run(name, [str(interpreter), "-m", "pip", "install", "--quiet", package])
        (own / ".installed").write_text(package)
    return interpreter


def portkey(say: Say) -> tuple[str, Path]:
    """node, and Portkey's entry; raises AbsentError."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise AbsentError("portkey: node and npm are not here")
    own = FOLDER / "portkey"
    entry = own / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not entry.is_file():
        say(f"installing {PORTKEY}")
        own.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--legacy-peer-deps", "--silent", "--no-audit", "--no-fund"]
        _run("portkey", [*command, PORTKEY, PORTKEY_NEEDS], own)
    return node, entry


def _run(name: str, command: list[str], cwd: Path = ROOT) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise AbsentError(f"{name}: its installation took longer than {LIMIT_S} s") from None
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise AbsentError(f"{name}: its package could not be installed: {last[0][:200]}")
