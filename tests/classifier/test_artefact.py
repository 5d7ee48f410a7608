"""An artefact is read only if it is whole, ours, and does what its card says."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classifier import artefact, embedding
from tests.classifier.service import SHIPPED

Card = dict[str, Any]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped artefact that a test may break."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "router"))


def rewrite(folder: Path, change: Callable[[Card], object]) -> None:
    card = json.loads((folder / artefact.CARD).read_text())
    change(card)
    (folder / artefact.CARD).write_text(json.dumps(card))


def test_the_shipped_artefact_loads_and_is_small() -> None:
    loaded = artefact.load(SHIPPED)
    assert loaded.threshold == loaded.card["default_threshold"]
    size = sum(path.stat().st_size for path in SHIPPED.iterdir())
    assert size < artefact.LARGEST


def test_the_card_says_what_it_was_made_of() -> None:
    card = json.loads((SHIPPED / artefact.CARD).read_text())
    assert set(card["data"]["licences"].values()) <= {"MIT", "Apache-2.0", "ours, MIT"}
    assert set(card["data"]["licences"]) == set(card["data"]["digests"])
    assert card["held_out"]
    assert "/" not in json.dumps(list(card["data"]["digests"]))


@pytest.mark.parametrize("name", [artefact.CARD, artefact.ARRAYS])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(artefact.ArtefactMissing, match=name):
        artefact.load(copy)


def test_a_missing_reference_is_named_too(copy: Path) -> None:
    (copy / artefact.REFERENCE).unlink()
    with pytest.raises(artefact.ArtefactMissing, match=artefact.REFERENCE):
        artefact.load(copy)


@pytest.mark.parametrize("name", [artefact.ARRAYS, artefact.REFERENCE])
def test_a_changed_byte_is_noticed(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(artefact.ArtefactTampered, match=rf"{name}.*sha256"):
        artefact.load(copy)


def test_a_cut_file_is_noticed(copy: Path) -> None:
    content = (copy / artefact.ARRAYS).read_bytes()
    (copy / artefact.ARRAYS).write_bytes(content[: len(content) // 2])
    with pytest.raises(artefact.ArtefactTampered, match="bytes"):
        artefact.load(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"x": {}}}'])
def test_a_card_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / artefact.CARD).write_text(text)
    with pytest.raises(artefact.ArtefactTampered, match=artefact.CARD):
        artefact.load(copy)


def test_another_format_is_refused(copy: Path) -> None:
    rewrite(copy, lambda card: card.update(format=99))
    with pytest.raises(artefact.ArtefactForeign, match="format 99"):
        artefact.load(copy)


def test_the_python_that_made_it_is_told_and_any_reads_it(copy: Path) -> None:
    assert json.loads((copy / artefact.CARD).read_text())["python"].startswith("3.")
    rewrite(copy, lambda card: card.update(python="3.99"))
    assert artefact.load(copy).version == artefact.load(SHIPPED).version


@pytest.mark.parametrize("library", artefact.LIBRARIES)
def test_another_library_is_refused(copy: Path, library: str) -> None:
    rewrite(copy, lambda card: card["libraries"].update({library: "0.1.0"}))
    with pytest.raises(artefact.ArtefactForeign, match=rf"{library} 0\.1\.0"):
        artefact.load(copy)


def test_another_embedding_is_refused(copy: Path) -> None:
    rewrite(copy, lambda card: card["embedding"].update({embedding.WEIGHTS: "0" * 64}))
    with pytest.raises(artefact.ArtefactForeign, match="safetensors"):
        artefact.load(copy)


def test_a_newline_at_the_end_makes_no_other_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two releases of the package differ in no more than that."""
    copied = Path(shutil.copytree(embedding.files()[0].parents[1], tmp_path / embedding.PACKAGE))
    monkeypatch.syspath_prepend(tmp_path)
    tokenizer = copied / embedding.TOKENIZER
    assert embedding.files()[1] == tokenizer
    content = tokenizer.read_bytes().rstrip(b"\n")

    def loads_with(content: bytes) -> str:
        tokenizer.write_bytes(content)
        embedding.digests.cache_clear()
        return artefact.load(SHIPPED).version

    try:
        assert loads_with(content) == loads_with(content + b"\n")
        with pytest.raises(artefact.ArtefactForeign, match="tokenizer"):
            loads_with(content + b" ")
    finally:
        embedding.digests.cache_clear()


def test_a_golden_prompt_that_scores_otherwise_is_noticed(copy: Path) -> None:
    rewrite(copy, lambda card: card["golden"][0].update(score=0.0123))
    with pytest.raises(artefact.ArtefactUnfaithful, match=r"0\.0123"):
        artefact.load(copy)


def test_arrays_that_are_pickles_are_never_read(copy: Path, tmp_path: Path) -> None:
    import numpy as np

    with (copy / artefact.ARRAYS).open("wb") as out:
        np.savez(out, surface_mean=np.array([{"an": "object"}], dtype=object))
    content = (copy / artefact.ARRAYS).read_bytes()
    row = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite(copy, lambda card: card["files"].update({artefact.ARRAYS: row}))
    with pytest.raises(artefact.ArtefactTampered, match=artefact.ARRAYS):
        artefact.load(copy)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("load", [artefact.load, artefact.load_reference])
def test_a_foreign_pickle_is_never_opened(
    copy: Path, tmp_path: Path, load: Callable[[Path], object]
) -> None:
    sprung = tmp_path / "sprung"
    (copy / artefact.REFERENCE).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(artefact.ArtefactTampered, match=artefact.REFERENCE):
        load(copy)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("version", 7, "version"),
        ("version", "", "version"),
        ("version", "x" * 1000, "version"),
        ("default_threshold", "high", "default_threshold"),
        ("default_threshold", 1.5, "default_threshold"),
        ("quantiles", [], "quantiles"),
        ("quantiles", [0.1, "x"], "quantiles"),
        ("quantiles", [0.9, 0.1], "quantiles"),
        ("golden", [], "golden"),
        ("golden", [{"score": 1}], r"golden\[0\]"),
        ("golden", [{"prompt": "Hi", "score": None}], r"golden\[0\]"),
        ("libraries", [], "libraries"),
        ("embedding", None, "embedding"),
    ],
)
def test_a_card_with_a_wrong_entry_names_it(
    copy: Path, name: str, value: object, words: str
) -> None:
    rewrite(copy, lambda card: card.update({name: value}))
    with pytest.raises(artefact.ArtefactTampered, match=words):
        artefact.load(copy)


@pytest.mark.parametrize(("size", "words"), [("12", "length"), (10**12, "is the most")])
def test_a_card_that_asks_for_too_much_is_refused(copy: Path, size: object, words: str) -> None:
    rewrite(copy, lambda card: card["files"][artefact.ARRAYS].update(bytes=size))
    with pytest.raises(artefact.ArtefactTampered, match=words):
        artefact.load(copy)


def test_a_card_without_bottom_is_refused(copy: Path) -> None:
    (copy / artefact.CARD).write_text('{"files": ' + "[" * 200_000)
    with pytest.raises(artefact.ArtefactTampered, match="not a card"):
        artefact.load(copy)


def test_a_card_of_many_megabytes_is_not_read(copy: Path) -> None:
    (copy / artefact.CARD).write_bytes(b" " * (artefact.LARGEST_CARD + 1))
    with pytest.raises(artefact.ArtefactTampered, match="no card"):
        artefact.load(copy)


def with_arrays(copy: Path, arrays: dict[str, Any]) -> None:
    """Put other arrays in, with a card that vouches for them."""
    import numpy as np

    with (copy / artefact.ARRAYS).open("wb") as out:
        np.savez_compressed(out, allow_pickle=False, **arrays)
    content = (copy / artefact.ARRAYS).read_bytes()
    row = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite(copy, lambda card: card["files"].update({artefact.ARRAYS: row}))


def shipped_arrays() -> dict[str, Any]:
    import numpy as np

    with np.load(SHIPPED / artefact.ARRAYS, allow_pickle=False) as opened:
        return {name: opened[name] for name in opened.files}


@pytest.mark.parametrize("name", sorted(shipped_arrays()))
def test_arrays_that_do_not_fit_together_are_refused(copy: Path, name: str) -> None:
    arrays = shipped_arrays()
    arrays[name] = arrays[name].reshape(-1)[:0]
    with_arrays(copy, arrays)
    with pytest.raises(artefact.ArtefactError, match=artefact.ARRAYS):
        artefact.load(copy)


def test_arrays_that_unpack_to_gigabytes_are_not_unpacked(copy: Path) -> None:
    import numpy as np

    with_arrays(copy, {"surface_mean": np.zeros(artefact.LARGEST_OPENED // 8 + 1)})
    with pytest.raises(artefact.ArtefactTampered, match="unpack"):
        artefact.load(copy)
