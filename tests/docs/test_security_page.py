"""Every promise of the security page names tests, and they exist."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(test_\w+)`")


def test_every_promise_names_a_test_that_exists() -> None:
    known: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        known.update(re.findall(r"^(?:async )?def (test_\w+)", text, flags=re.M))
    promised = PAGE.partition("## What is not promised")[0]
    promises = re.findall(r"^- (.+)$", promised, flags=re.M)
    assert len(promises) > 35
    for promise in promises:
        names = set(NAMED.findall(promise))
        assert names, f"no test holds: {promise}"
        assert names <= known, f"unknown: {names - known}"


def test_what_is_not_promised_is_said() -> None:
    _, _, rest = PAGE.partition("## What is not promised")
    assert len(re.findall(r"^- \*\*", rest, flags=re.M)) > 8
