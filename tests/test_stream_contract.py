"""Every sentence of the contract names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/stream-contract.md"
NAMED = re.compile(r"`((?:test_|Test)\w+)`")


def sentences() -> list[str]:
    return re.findall(r"^- (.+)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.M)


def existing() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        found.update(re.findall(r"^(?:async )?def (test_\w+)", text, flags=re.M))
        found.update(re.findall(r"^(Test\w+) = ", text, flags=re.M))
    return found


def test_every_sentence_of_the_contract_names_a_test_that_exists() -> None:
    known = existing()
    assert len(sentences()) > 20
    for sentence in sentences():
        names = NAMED.findall(sentence)
        assert names, f"no test holds: {sentence}"
        assert set(names) <= known, f"unknown: {set(names) - known}"
