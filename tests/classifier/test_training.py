"""Training: the same bytes twice, no question on both sides, no file without a licence."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from classifier import artefact, evaluate, labels, model, train
from classifier.experts import ExpertParameters
from classifier.labels import Prompt
from tests.classifier.service import ROOT, SHIPPED

DATA = ROOT.parent / "shared" / "data"
SMALL = model.Parameters(
    cluster_count=8, smallest_expert=30, expert=ExpertParameters(clusters=(2, 4), seeds=1)
)
needs_data = pytest.mark.skipif(
    not (DATA / "MANIFEST.json").is_file(),
    reason="THE LABELLED PROMPTS ARE ABSENT (../shared/data): splits and licences go UNTESTED",
)


def synthetic(count: int) -> list[Prompt]:
    """Prompts whose difficulty stands in their words."""
    prompts = []
    for i in range(count):
        hard = i % 3 == 0
        text = f"Prove lemma {i} about rings." if hard else f"Say hello to guest {i}."
        prompts.append(
            Prompt(
                text=text + ("\nA. yes\nB. no" if i % 2 else ""),
                group=labels.group_of(text),
                source="one" if i % 5 else "two",
                benchmark="made",
                domain="maths" if hard else "chat",
                small=0.2 if hard else 0.9,
                strong=0.9,
                mean=0.5 if hard else 0.9,
            )
        )
    return prompts


def quiet(_: str) -> None:
    """Training tells its steps; here nobody listens."""


@pytest.mark.slow
def test_the_same_data_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    prompts = synthetic(300)
    for name in ("first/x", "second/x"):
        train.train(prompts, {"made": "0"}, tmp_path / name, SMALL, quiet)
    for name in (artefact.CARD, artefact.ARRAYS, artefact.REFERENCE):
        assert (tmp_path / "first/x" / name).read_bytes() == (
            tmp_path / "second/x" / name
        ).read_bytes(), name


@pytest.mark.slow
def test_what_is_trained_loads_and_tells_hard_from_easy(tmp_path: Path) -> None:
    card = train.train(synthetic(300), {"made": "0"}, tmp_path, SMALL, quiet)
    loaded = artefact.load(tmp_path)
    assert loaded.scorer("Prove lemma 9999 about rings.").score < 0.5
    assert loaded.scorer("Say hello to guest 9999.").score > 0.5
    assert sum(card["data"]["training_prompts"].values()) < 300


def test_a_question_that_stands_in_two_sources_is_on_one_side() -> None:
    twice = [
        Prompt(f"Question {i}?", f"group{i}", source, source, "knowledge", 0.5, 1.0, 0.7)
        for i in range(200)
        for source in ("one", "two")
    ]
    seen, held = labels.split(twice)
    assert seen
    assert held
    assert not {p.group for p in seen} & {p.group for p in held}


def test_a_withheld_benchmark_takes_its_twins_along() -> None:
    rows = [
        Prompt("How many?", "g", "one", "gsm8k", "maths", 0.5, 1.0, 0.7),
        Prompt("How  many?", "g", "two", "other", "maths", 0.5, 1.0, 0.7),
    ]
    seen, _ = labels.split(rows)
    assert seen == []


def test_a_fold_is_the_groups_own() -> None:
    folds = Counter(model.fold_of(f"group{i}") for i in range(1000))
    assert set(folds) == set(range(model.FOLDS))
    assert model.fold_of("not hexadecimal") == model.fold_of("not hexadecimal")


def test_each_data_set_is_centred_and_weighed_by_the_root_of_its_size() -> None:
    keys = ["big"] * 100 + ["small"] * 4
    import numpy as np

    values = labels.centred(np.array([0.9] * 50 + [0.1] * 50 + [0.2, 0.2, 0.4, 0.4]), keys)
    assert values[:100].mean() == pytest.approx(0)
    assert values[100:].mean() == pytest.approx(0)
    w = labels.weights(keys)
    assert w[:100].sum() / w[100:].sum() == pytest.approx(5)


def folder_of_data(folder: Path, *, may_train: bool) -> Path:
    """A folder of labelled prompts with one small file."""
    models = ("mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview")
    name = "routellm_mmlu1531.parquet"
    rows = [(i, m) for i in range(20) for m in models]
    table = {
        "prompt_id": [str(i) for i, _ in rows],
        "benchmark": ["mmlu"] * len(rows),
        "category": ["astronomy"] * len(rows),
        "prompt": [f"Star {i}?" for i, _ in rows],
        "model": [m for _, m in rows],
        "score": [1.0] * len(rows),
        "group_id": [f"g{i}" for i, _ in rows],
    }
    parquet.write_table(arrow.table(table), folder / name)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    row = {"file": name, "sha256": digest, "may_train_shipped_artefact": may_train}
    (folder / "MANIFEST.json").write_text(json.dumps([row]))
    return folder


def test_a_file_that_may_train_is_read(tmp_path: Path) -> None:
    prompts = labels.shared(folder_of_data(tmp_path, may_train=True))
    assert len(prompts) == 20
    assert prompts[0].domain == "science"


def test_a_file_without_a_licence_is_not_read(tmp_path: Path) -> None:
    assert labels.shared(folder_of_data(tmp_path, may_train=False)) == []


def test_a_file_that_is_not_the_manifests_is_refused(tmp_path: Path) -> None:
    folder = folder_of_data(tmp_path, may_train=True)
    with (folder / "routellm_mmlu1531.parquet").open("ab") as out:
        out.write(b"more")
    with pytest.raises(labels.DataMissing, match="routellm_mmlu1531"):
        labels.shared(folder)


@pytest.mark.parametrize("command", [train.main, evaluate.main])
def test_absent_data_is_said_in_one_line(
    command: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["--data", str(tmp_path)]) == 2
    assert "MANIFEST.json is missing" in capsys.readouterr().err


def test_own_prompts_are_whole_and_never_golden() -> None:
    own, golden = labels.own_prompts(), labels.own_prompts("golden.tsv")
    assert {tier for tier, _, _ in own} == {"easy", "hard"}
    groups = [labels.group_of(text) for _, _, text in own]
    assert len(set(groups)) == len(groups)
    assert not set(groups) & {labels.group_of(text) for _, _, text in golden}


@needs_data
def test_no_group_of_the_real_data_is_on_both_sides() -> None:
    seen, held = labels.split(labels.shared(DATA) + labels.own())
    assert not {p.group for p in seen} & {p.group for p in held}
    assert not {p.benchmark for p in seen} & labels.WITHHELD
    sealed = {row["file"] for row in json.loads((DATA / "MANIFEST.json").read_text())}
    trained = {f"{p.source}.parquet" for p in seen} - {"own.parquet"}
    barred = sealed - {row["file"] for row in labels.manifest(DATA)}
    assert trained
    assert not trained & barred


@needs_data
def test_the_card_names_the_data_that_lies_here() -> None:
    card = json.loads((SHIPPED / artefact.CARD).read_text())
    digests = labels.digests(DATA)
    assert {k: v for k, v in card["data"]["digests"].items() if k != "own.tsv"} == digests
