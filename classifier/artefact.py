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
import zipfile
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import embedding
from classifier.scorer import Scorer

FORMAT = 1
CARD, ARRAYS, REFERENCE = "card.json", "model.npz", "model.joblib"
LIBRARIES = ("numpy", "scikit-learn", "joblib", "tokenizers", "wordllama")
TOLERANCE = 1e-4
LARGEST = 12 * 1024 * 1024


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
    quantiles: NDArray[np.float64]
    digest: str

    @property
    def version(self) -> str:
        return str(self.card["version"])

    @property
    def threshold(self) -> float:
        return float(self.card["default_threshold"])

    def percentile(self, score: float) -> float:
        """The share, 0..1, of reference prompts whose score is lower."""
        shares = np.linspace(0.0, 1.0, len(self.quantiles))
        return float(np.interp(score, self.quantiles, shares))


def load(folder: Path) -> Artefact:
    """Verify the artefact in `folder` and read its arrays; ArtefactError if anything is amiss."""
    card = _card(folder)
    _check_versions(folder, card)
    content = {name: _verified(folder, name, row) for name, row in card["files"].items()}
    try:
        with np.load(io.BytesIO(content[ARRAYS]), allow_pickle=False) as opened:
            scorer = Scorer({name: opened[name] for name in opened.files}, embedding.load())
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArtefactTampered(
            f"{folder / ARRAYS} does not hold the arrays of a model: {error}. Run `make train`."
        ) from error
    _check_golden(folder, card, scorer)
    return Artefact(card, scorer, np.array(card["quantiles"]), str(card["files"][ARRAYS]["sha256"]))


def load_reference(folder: Path) -> Any:
    """The scikit-learn objects, unpickled from the very bytes whose digest was checked."""
    import joblib  # Serving reads arrays alone.

    card = _card(folder)
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
        "embedding": embedding.digests(),
        "files": rows,
    }
    text = json.dumps(finished, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")
    return finished


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        raise ArtefactMissing(f"{path} is missing. Run `make train`, or restore it from git.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        files = card["files"]
        complete = {ARRAYS, REFERENCE} == set(files)
        complete = complete and all({"sha256", "bytes"} <= set(row) for row in files.values())
        needed = ("version", "format", "libraries", "embedding", "quantiles", "golden")
        complete = complete and all(key in card for key in (*needed, "default_threshold"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactTampered(f"{path} is not a card: {error}. Restore it from git.") from error
    if not complete:
        raise ArtefactTampered(f"{path} lacks entries of a card. Restore it from git.")
    return dict(card)


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
    content = path.read_bytes()
    if len(content) != row["bytes"]:
        raise ArtefactTampered(
            f"{path} has {len(content):,} bytes, the card says {row['bytes']:,}. "
            "It was cut or changed: restore it from git, or run `make train`."
        )
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise ArtefactTampered(
            f"{path} does not have the sha256 that the card gives. "
            "It was changed: restore it from git, or run `make train`."
        )
    return content


def _check_golden(folder: Path, card: dict[str, Any], scorer: Scorer) -> None:
    for row in card["golden"]:
        score = scorer(row["prompt"]).score
        if not abs(score - row["score"]) <= TOLERANCE:
            raise ArtefactUnfaithful(
                f"{folder / ARRAYS} scores the golden prompt {row['prompt'][:40]!r} at "
                f"{score:.6f}; the card promises {row['score']:.6f}. Run `make train`."
            )
