"""python -m deploy.audit [--where-it-can]: published faults of the locked packages (pip-audit).

pip-audit says that it found nothing, and ends well, when its advisories know none of the packages,
as those of a mirror do. Here that is a failure, or with --where-it-can a clear word and no failure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCKED = Path(__file__).parents[1] / "requirements/run.txt"
LIMIT_S = 300
OPTIONS = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")


@dataclass(frozen=True)
class Verdict:
    """`failed` is None when it could not be found out."""

    failed: bool | None
    lines: tuple[str, ...]


def verdict(told: dict[str, Any]) -> Verdict:
    """What pip-audit's report comes to."""
    packages = told["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    faults = [
        f"{package['name']} {package['version']}: {fault['id']}"
        + (f", mended in {', '.join(fault['fix_versions'])}" if fault["fix_versions"] else "")
        for package in known
        for fault in package["vulns"]
    ]
    if faults:
        return Verdict(True, tuple(faults))
    if len(known) < len(packages):
        missing = [package["name"] for package in packages if "skip_reason" in package]
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        words = f"the advisories know nothing of {len(missing)} of {len(packages)} packages"
        return Verdict(None, (f"{words} ({shown})",))
    return Verdict(False, (f"no known fault in {len(packages)} packages",))


def audited(locked: Path) -> Verdict:
    command = [sys.executable, "-m", "pip_audit", *OPTIONS, "-r", str(locked)]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return Verdict(None, (f"the advisories did not answer within {LIMIT_S} s",))
    try:
        return verdict(json.loads(said.stdout))
    except json.JSONDecodeError:
        last = (said.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Verdict(None, (f"the advisories cannot be asked: {last[:300]}",))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.audit", description=__doc__)
    parser.add_argument("--where-it-can", action="store_true")
    parser.add_argument("--locked", type=Path, default=LOCKED)
    given = parser.parse_args()
    found = audited(given.locked)
    word = {True: "FAULTS", False: "audited", None: "NOT AUDITED"}[found.failed]
    for line in found.lines:
        print(f"{word}: {line}")
    return int(bool(found.failed) or (found.failed is None and not given.where_it_can))


if __name__ == "__main__":
    sys.exit(main())
