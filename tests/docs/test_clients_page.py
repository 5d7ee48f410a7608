"""The versions that docs/clients.md names are the locked ones, which the tests install."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (Python|JavaScript) `(.+?)` \| (\S+) \| (\S+) \|$", PAGE, flags=re.M)
JS_BEFORE = {"@anthropic-ai/sdk": "anthropic-before", "@google/genai": "genai-before"}


def python(name: str) -> tuple[str, str]:
    chain = name.startswith("langchain-")
    newest = ("all", "langchain") if chain else ("all",)
    before = ("langchain-before",) if chain else ("before",)
    return locked(name, *newest), locked(name, *before)


def locked(name: str, *files: str) -> str:
    """The version in the one file that has it."""
    text = "\n".join((ROOT / f"requirements/{file}.txt").read_text() for file in files)
    [version] = re.findall(rf"^{re.escape(name)}==(\S+)", text, flags=re.M)
    return str(version)


def javascript(name: str) -> tuple[str, str]:
    found = json.loads((ROOT / "tests/clients/js/package.json").read_text())["dependencies"]
    before = found[JS_BEFORE.get(name, f"{name}-before")]
    return found[name], before.rpartition("@")[2]


@pytest.mark.parametrize(("language", "name", "newest", "before"), ROWS)
def test_a_client_is_locked_in_the_two_versions_that_the_page_names(
    language: str, name: str, newest: str, before: str
) -> None:
    assert (newest, before) == (python if language == "Python" else javascript)(name)


def test_the_page_names_each_client() -> None:
    assert len({(language, name) for language, name, *_ in ROWS}) == 13
