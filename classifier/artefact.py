"""The trained artefact on disk: written, verified, and only then read.

A folder holds `card.json`, `model.npz` (plain arrays: what serves) and `model.joblib` (the
scikit-learn objects: what the arrays are tested against). joblib is pickle, and whoever can
change a pickle can run code, so nothing is opened before its sha256 fits the card, and the
service never opens the pickle at all.

ArtefactError
  ArtefactMissing    a file is not there
  ArtefactTampered   a file is not the one that the card describes, or the card cannot be read
  ArtefactForeign    made for another format, library or embedding than is installed
  ArtefactUnfaithful a golden prompt no longer gets the score that is in the card
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import embedding
from classifier.curves import Curve
from classifier.scorer import Scorer

FORMAT = 5
CARD, ARRAYS, REFERENCE = "card.json", "model.npz", "model.joblib"
LIBRARIES = ("numpy", "scikit-learn", "joblib", "tokenizers")
TOLERANCE = 1e-4
LARGEST = 12 * 1024 * 1024
LARGEST_CARD = 4 * 1024 * 1024
LONGEST_VERSION = 80
LARGEST_OPENED = 16 * LARGEST


class ArtefactError(RuntimeError):
    """The artefact cannot be used; the message names the file and what does not fit."""


class ArtefactMissing(ArtefactError):
    """A file of the artefact is not there."""


class ArtefactTampered(ArtefactError):
    """A file is not the one that the card describes."""


class ArtefactForeign(ArtefactError):
    """The artefact was made for something else than is installed here."""


class ArtefactUnfaithful(ArtefactError):
    """The artefact does not give the scores that its card promises."""


@dataclass(frozen=True)
class Artefact:
    """A verified artefact, ready to score."""

    card: dict[str, Any]
    scorer: Scorer
    arrays: dict[str, NDArray[Any]]
    shares: Curve
    digest: str

    @cached_property
    def name(self) -> str:
        return str(self.card.get("name", ""))

    @cached_property
    def version(self) -> str:
        return str(self.card["version"])

    @cached_property
    def threshold(self) -> float:
        return float(self.card["default_threshold"])

    def tier(self, score: float) -> str:
        """The tier that the default threshold gives a score: "local" or "strong"."""
        return "local" if score >= self.threshold else "strong"

    def thresholds(self) -> list[float]:
        """101 scores: below the one at place i lie i % of the reference prompts."""
        quantiles = np.array(self.card["quantiles"], dtype=float)
        places = np.linspace(0.0, 1.0, len(quantiles))
        found: list[float] = np.interp(np.linspace(0.0, 1.0, 101), places, quantiles).tolist()
        return found

    def percentile(self, score: float) -> float:
        """The share, 0..1, of reference prompts whose score is lower."""
        return self.shares(score)


def load(folder: Path) -> Artefact:
    """Verify the artefact in `folder` and read its arrays; ArtefactError if anything is amiss."""
    card = read_card(folder)
    _check_versions(folder, card)
    content = {name: _verified(folder, name, row) for name, row in card["files"].items()}
    opened = embedding.load()
    try:
        arrays = _arrays(content[ARRAYS])
        scorer = Scorer(arrays, opened)
        scores = [float(scorer(row["prompt"]).score) for row in card["golden"]]
    except Exception as error:  # Arrays of a wrong shape can fail anywhere in the arithmetic.
        raise ArtefactTampered(
            f"{folder / ARRAYS} does not hold the arrays of a model: {error}. Run `make train`."
        ) from error
    _check_golden(folder, card, scores)
    digest = str(card["files"][ARRAYS]["sha256"])
    quantiles = [float(q) for q in card["quantiles"]]
    shares = Curve(quantiles, np.linspace(0.0, 1.0, len(quantiles)).tolist())
    return Artefact(card, scorer, arrays, shares, digest)


def load_reference(folder: Path) -> Any:
    """The scikit-learn objects, unpickled from the very bytes whose digest was checked."""
    import joblib  # Serving reads arrays alone.

    card = read_card(folder)
    _check_versions(folder, card)
    return joblib.load(io.BytesIO(_verified(folder, REFERENCE, card["files"][REFERENCE])))


def save(
    folder: Path, card: dict[str, Any], arrays: dict[str, NDArray[Any]], model: Any
) -> dict[str, Any]:
    """Write the artefact and return its finished card, with the digest of each file."""
    import joblib

    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / REFERENCE, compress=("zlib", 6))
    with (folder / ARRAYS).open("wb") as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)
    rows: dict[str, dict[str, Any]] = {}
    for name in (ARRAYS, REFERENCE):
        content = (folder / name).read_bytes()
        rows[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    size = sum(row["bytes"] for row in rows.values())
    if size > LARGEST:
        raise ArtefactError(f"The artefact weighs {size:,} bytes; {LARGEST:,} is the most we ship.")
    finished = {
        **card,
        "format": FORMAT,
        "libraries": {name: installed(name) for name in LIBRARIES},
        # Told, not held against it: another one scores the same, within its last digits.
        "python": ".".join(map(str, sys.version_info[:2])),
        "embedding": embedding.digests(),
        "files": rows,
    }
    text = json.dumps(finished, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")
    return finished


def read_card(folder: Path) -> dict[str, Any]:
    """The card, whole and of the right types, but not yet compared with anything."""
    path = folder / CARD
    if not path.is_file():
        raise ArtefactMissing(f"{path} is missing. Run `make train`, or restore it from git.")
    if path.stat().st_size > LARGEST_CARD:
        raise ArtefactTampered(f"{path} is larger than {LARGEST_CARD:,} bytes: that is no card.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        files = card["files"]
        complete = {ARRAYS, REFERENCE} == set(files)
        complete = complete and all({"sha256", "bytes"} <= set(row) for row in files.values())
        needed = ("version", "format", "libraries", "embedding", "quantiles", "golden")
        complete = complete and all(key in card for key in (*needed, "default_threshold"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtefactTampered(f"{path} is not a card: {error}. Restore it from git.") from error
    if not complete:
        raise ArtefactTampered(f"{path} lacks entries of a card. Restore it from git.")
    wrong = _wrong_entry(card)
    if wrong:
        raise ArtefactTampered(f"{path} is not a card: {wrong}. Restore it from git.")
    return dict(card)


def _wrong_entry(card: dict[str, Any]) -> str:
    """Which entry is not what a card holds; "" if none."""
    for name, row in card["files"].items():
        if type(row["bytes"]) is not int or type(row["sha256"]) is not str:
            return f"'files' says no length and digest of {name}"
        if row["bytes"] > LARGEST:
            return f"{name} would have {row['bytes']:,} bytes, {LARGEST:,} is the most"
    if type(card["version"]) is not str or not 0 < len(card["version"]) <= LONGEST_VERSION:
        return "'version' is no name"
    for name in ("libraries", "embedding"):
        if type(card[name]) is not dict:
            return f"{name!r} is no table"
    if not _number(card["default_threshold"]) or not 0 <= card["default_threshold"] <= 1:
        return "'default_threshold' is no number from 0 to 1"
    quantiles = card["quantiles"]
    if type(quantiles) is not list or len(quantiles) < 2 or not all(map(_number, quantiles)):
        return "'quantiles' are no numbers"
    if sorted(quantiles) != quantiles:
        return "'quantiles' do not ascend"
    golden = card["golden"]
    if type(golden) is not list or not golden:
        return "'golden' lists no prompt"
    for i, row in enumerate(golden):
        if type(row) is not dict or type(row.get("prompt")) is not str:
            return f"'golden[{i}]' has no prompt"
        if not _number(row.get("score")):
            return f"'golden[{i}]' has no score"
    return ""


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz, unless they would unpack to more than any model of ours has."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        size = sum(entry.file_size for entry in packed.infolist())
    if size > LARGEST_OPENED:
        raise ValueError(f"they would unpack to {size:,} bytes, {LARGEST_OPENED:,} is the most")
    with np.load(io.BytesIO(content), allow_pickle=False) as opened:
        return {name: opened[name] for name in opened.files}


def _check_versions(folder: Path, card: dict[str, Any]) -> None:
    path = folder / CARD
    if card["format"] != FORMAT:
        raise ArtefactForeign(
            f"{path} has format {card['format']!r}; this code reads {FORMAT}. Run `make train`."
        )
    for name in LIBRARIES:
        made, here = str(card["libraries"].get(name)), installed(name)
        if made.split(".")[:2] != here.split(".")[:2]:
            raise ArtefactForeign(
                f"{path} was made with {name} {made}, and {here} is installed. "
                "Install the locked version, or run `make train`."
            )
    for name, digest in embedding.digests().items():
        if card["embedding"].get(name) != digest:
            raise ArtefactForeign(
                f"{path} was made with another {name} of the package {embedding.PACKAGE} "
                "(sha256). Install the locked version, or run `make train`."
            )


def _verified(folder: Path, name: str, row: dict[str, Any]) -> bytes:
    path = folder / name
    if not path.is_file():
        raise ArtefactMissing(f"{path} is missing, though the card lists it. Restore it from git.")
    size = path.stat().st_size
    if size != row["bytes"]:
        raise ArtefactTampered(
            f"{path} has {size:,} bytes, the card says {row['bytes']:,}. "
            "It was cut or changed: restore it from git, or run `make train`."
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise ArtefactTampered(
            f"{path} does not have the sha256 that the card gives. "
            "It was changed: restore it from git, or run `make train`."
        )
    return content


def _check_golden(folder: Path, card: dict[str, Any], scores: list[float]) -> None:
    for row, score in zip(card["golden"], scores, strict=True):
        if not abs(score - row["score"]) <= TOLERANCE:
            raise ArtefactUnfaithful(
                f"{folder / ARRAYS} scores the golden prompt {row['prompt'][:40]!r} at "
                f"{score:.6f}; the card promises {row['score']:.6f}. Run `make train`."
            )
