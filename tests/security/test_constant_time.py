"""Secrets are compared in constant time: what a comparison took could be read as its first bytes.

How long a comparison takes cannot be tested; how it is written can.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECRET = ("digest", "token", "secret", "signature")
MODULES = (
    "gateway/accounts/identity.py",
    "gateway/accounts/secret.py",
    "gateway/routes/access.py",
    "gateway/routes/wire.py",
    "gateway/jobs/hooks.py",
)
"""Those that hold what a caller sent against what is kept. Codes are looked up by their hash."""


def names(node: ast.expr) -> str:
    return " ".join(
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    )


def plain_comparisons(source: str) -> list[int]:
    """Lines in which something that is called a secret is compared by == or !=."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Compare)
        and any(isinstance(how, ast.Eq | ast.NotEq) for how in node.ops)
        and any(
            name.lower().rstrip("s").endswith(SECRET)
            for side in (node.left, *node.comparators)
            for name in names(side).split()
        )
    ]


@pytest.mark.parametrize("name", MODULES)
def test_no_secret_is_compared_by_equality(name: str) -> None:
    assert plain_comparisons((ROOT / name).read_text(encoding="utf-8")) == []


def test_such_a_comparison_is_seen() -> None:
    assert plain_comparisons("if digest == accounts.admin_digest: pass") == [1]
    assert plain_comparisons("if hmac.compare_digest(digest, token): pass") == []


def test_the_admin_token_and_the_token_of_the_metrics_are_compared_in_constant_time() -> None:
    for name in ("gateway/accounts/identity.py", "gateway/routes/access.py"):
        assert "hmac.compare_digest(" in (ROOT / name).read_text(encoding="utf-8")
