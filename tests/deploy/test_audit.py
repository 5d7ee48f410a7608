"""What is said of the locked packages, where the advisories can be asked and where not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.audit import verdict

ROOT = Path(__file__).parents[2]
WELL = {"name": "well", "version": "1.0", "vulns": []}
FAULTY = {
    "name": "faulty",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"], "aliases": [], "description": "x"}],
}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}


def of(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(packages), "fixes": []}


def test_a_known_fault_is_named_with_what_mends_it() -> None:
    found = verdict(of(WELL, FAULTY, UNKNOWN))
    assert found.failed is True
    assert found.lines == ("faulty 2.0: PYSEC-2026-1, mended in 2.1",)


def test_packages_that_the_advisories_know_and_say_nothing_of_are_well() -> None:
    assert verdict(of(WELL, WELL)).failed is False


def test_packages_that_nobody_looked_at_are_not_called_well() -> None:
    found = verdict(of(WELL, UNKNOWN))
    assert found.failed is None
    assert "1 of 2 packages (unknown)" in found.lines[0]


def test_what_cannot_be_asked_fails_alone_and_is_said_beside_other_checks(tmp_path: Path) -> None:
    locked = tmp_path / "locked.txt"
    # No hash: refused before anybody is asked.
    locked.write_text("aiohttp==3.14.5\n")
    command = [sys.executable, "-m", "deploy.audit", "--locked", str(locked)]
    alone = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    beside = subprocess.run([*command, "--where-it-can"], cwd=ROOT, capture_output=True, text=True)
    assert (alone.returncode, beside.returncode) == (1, 0)
    assert alone.stdout.startswith("NOT AUDITED: the advisories cannot be asked: ")
    assert beside.stdout == alone.stdout


def test_make_check_audits_where_it_can() -> None:
    makefile = (ROOT / "Makefile").read_text()
    check = makefile[makefile.index("\ncheck:") :].partition("\n\n")[0]
    assert "-m deploy.audit --where-it-can" in check
