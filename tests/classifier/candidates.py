"""Artefacts made for a test from the one that ships."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from classifier import artefact
from tests.classifier.service import SHIPPED

Card = dict[str, Any]


def rewrite(folder: Path, change: Callable[[Card], object]) -> None:
    """Change the card in place."""
    card = json.loads((folder / artefact.CARD).read_text())
    change(card)
    (folder / artefact.CARD).write_text(json.dumps(card))


def candidate(folder: Path, version: str, **entries: object) -> Path:
    """A sound artefact of another version; `entries` of its card are other than the shipped."""
    shutil.copytree(SHIPPED, folder)
    rewrite(folder, lambda card: card.update({"version": version, **entries}))
    return folder


def cut_arrays(folder: Path) -> None:
    """Half of the arrays' file is lost."""
    content = (folder / artefact.ARRAYS).read_bytes()
    (folder / artefact.ARRAYS).write_bytes(content[: len(content) // 2])


def flip_a_byte(folder: Path) -> None:
    """One bit is not what it was."""
    content = bytearray((folder / artefact.ARRAYS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / artefact.ARRAYS).write_bytes(content)


# How an artefact breaks -> (what breaks it, what the refusal says).
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "broken": (cut_arrays, "bytes"),
    "tampered": (flip_a_byte, "sha256"),
    "missing": (lambda folder: (folder / artefact.ARRAYS).unlink(), "is missing"),
    "gone": (shutil.rmtree, "is missing"),
    "foreign": (
        lambda folder: rewrite(folder, lambda card: card["libraries"].update(numpy="0.1")),
        "numpy 0.1",
    ),
    "no card": (lambda folder: (folder / artefact.CARD).write_text("{"), "not a card"),
    "unfaithful": (
        lambda folder: rewrite(folder, lambda card: card["golden"][0].update(score=0.01)),
        "golden prompt",
    ),
}
