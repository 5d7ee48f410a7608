"""The shared labels are rebuilt from files at pinned commits, or it is said why not."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from classifier import data, labels
from classifier.__main__ import main
from tests.classifier.test_training import DATA, needs_data


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and where it is served."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield folder, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def written(folder: Path, source: data.Source, path: str, rows: list[dict[str, Any]]) -> None:
    place = folder / source.repository / source.commit / path
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def copied(folder: Path, source: data.Source) -> None:
    """The files of a source as they are laid out, from the labelled prompts that lie here."""
    columns = parquet.read_table(DATA / source.file).to_pydict()
    raw = {
        "mixtral-8x7b-instruct-v0.1": "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "mistral-7b-chat": "mistralai/mistral-7b-chat",
    }
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for i, name in enumerate(columns["prompt_id"]):
        model = raw.get(columns["model"][i], columns["model"][i])
        if source.file.startswith("routellm"):
            path = f"routellm/evals/mmlu/responses/mmlu_{columns['category'][i]}.csv"
            row = rows[path][name]
            row["prompt"] = columns["prompt"][i]
            row[model] = columns["score"][i] == 1.0
        else:
            kind = columns["benchmark"][i]
            stem = {"winogrande": "winograde"}.get(kind, kind)
            row = rows[f"datasets/routerbench_zs/{stem}_train.csv"][name]
            row |= {"sample_id": name, "eval_name": kind.replace("arc_", "arc-")}
            row["prompt"] = repr([columns["prompt"][i]])
            row[model] = columns["score"][i]
            row[f"{model}|total_cost"] = columns["cost_usd"][i]
    for path in source.paths:
        written(folder, source, path, list(rows[path].values()))


@needs_data
def test_the_rebuilt_tables_are_those_that_lie_here(
    site: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = site
    for source in data.sources():
        copied(folder, source)
    out = tmp_path / "data"
    assert main(["data", "--out", str(out), "--base", url]) == 0
    assert "digest as it was" in capsys.readouterr().out
    again = labels.shared(out)
    rebuilt = {Path(source.file).stem for source in data.sources()}
    shared = [p for p in labels.shared(DATA) if p.source in rebuilt]
    assert {(p.text, p.small, p.strong) for p in again} == {
        (p.text, p.small, p.strong) for p in shared
    }


SOURCE = data.Source(
    "routellm_mmlu1531.parquet", "made/up", "c0ffee", ("mmlu_made.csv",), "MIT", "0" * 64
)
ROWS: list[dict[str, Any]] = [
    {
        "prompt": f"Which? {i}\nAnswer:",
        "mistralai/Mixtral-8x7B-Instruct-v0.1": i % 2 == 0,
        "gpt-4-1106-preview": True,
    }
    for i in range(6)
]


@pytest.fixture
def made(site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> tuple[data.Source, Path, str]:
    """A source of six prompts, four of which may train, served here."""
    folder, url = site
    written(folder, SOURCE, SOURCE.paths[0], ROWS)
    kept = frozenset(data.key(row["prompt"]) for row in ROWS[:4])
    monkeypatch.setattr(data, "_allowed", lambda file: kept)
    table = [
        (row["prompt"], name, float(row[column]))
        for row in ROWS[:4]
        for column, name in (
            ("gpt-4-1106-preview", "gpt-4-1106-preview"),
            ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b-instruct-v0.1"),
        )
    ]
    return replace(SOURCE, table_sha256=data.digest(table)), folder, url


def test_only_prompts_that_may_train_are_kept(
    made: tuple[data.Source, Path, str], tmp_path: Path
) -> None:
    source, _, url = made
    out = tmp_path / "data"
    list(data.rebuild(out, url, [source]))
    prompts = {p.text for p in labels.shared(out)}
    assert prompts == {row["prompt"] for row in ROWS[:4]}
    (row,) = json.loads((out / "MANIFEST.json").read_text())
    assert row["sha256"] == hashlib.sha256((out / source.file).read_bytes()).hexdigest()


def test_a_source_that_is_not_what_it_was_changes_nothing(
    made: tuple[data.Source, Path, str], tmp_path: Path
) -> None:
    source, folder, url = made
    out = tmp_path / "data"
    list(data.rebuild(out, url, [source]))
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    flipped = [{**ROWS[0], "gpt-4-1106-preview": False}, *ROWS[1:]]
    written(folder, source, source.paths[0], flipped)
    with pytest.raises(data.DataError, match="gives another table than it did"):
        list(data.rebuild(out, url, [source]))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert os.listdir(tmp_path / "data") == sorted(before) or set(os.listdir(out)) == set(before)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "answered 404"),
        (b"prompt,other\nHi,True\n", "not laid out as it was"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
    ],
)
def test_a_source_that_is_gone_or_foreign_is_named(
    content: bytes | None, words: str, made: tuple[data.Source, Path, str], tmp_path: Path
) -> None:
    source, folder, url = made
    path = folder / source.repository / source.commit / source.paths[0]
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(data.DataError, match=words):
        list(data.rebuild(tmp_path / "data", url, [source]))
    assert not (tmp_path / "data").exists()


def test_without_a_network_it_is_said_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    assert main(["data", "--out", str(out), "--base", "http://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert "make train DATA=FILE" in said
    assert not out.exists()


def test_a_folder_with_more_than_can_be_rebuilt_is_left_alone(
    made: tuple[data.Source, Path, str], tmp_path: Path
) -> None:
    source, _, url = made
    (tmp_path / "MANIFEST.json").write_text(json.dumps([{"file": "mmlu_pro.parquet"}]))
    with pytest.raises(data.DataError, match=r"cannot be rebuilt \(mmlu_pro\.parquet\)"):
        list(data.rebuild(tmp_path, url, [source]))


def test_another_way_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="neither https nor on this machine"):
        list(data.rebuild(tmp_path / "data", "file:///etc", [SOURCE]))
