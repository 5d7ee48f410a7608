"""Writes a run's own figures into docs/faults.md, between the marks of its part."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs/faults.md"


def write(part: str, text: str) -> None:
    """`part` names the marks: `<!-- part: begin -->` and `<!-- part: end -->`."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    whole = DOCUMENT.read_text(encoding="utf-8")
    before, found, rest = whole.partition(begin)
    after = rest.partition(end)[2]
    assert found, f"{DOCUMENT} has no part {part}"
    DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
