"""Own labels are read in any layout, refused by line, and kept within bounds."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from classifier import feedback, own_labels
from classifier.own_labels import LabelsError, read
from classifier.own_tiers import Tiers, enough, settle

ROWS: list[dict[str, Any]] = [
    {"prompt": "What is 2 + 2?", "tiny": 1.0, "big": 1.0},
    {"prompt": "Prove\u2028Fermat, with a, comma", "tiny": 0.0, "big": 0.5},
]


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return path


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    "csv": as_csv,
    "jsonl": as_lines,
    "parquet": as_parquet,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_says_the_same(kind: str, tmp_path: Path) -> None:
    found = read(WRITERS[kind](tmp_path / f"own.{kind}", ROWS))
    scores = {own.text: own.scores for own in found.prompts}
    assert scores == {r["prompt"]: {"tiny": r["tiny"], "big": r["big"]} for r in ROWS}
    assert (found.rows, found.distinct, found.duplicates) == (2, 2, 0)


def test_a_row_for_each_answer_is_joined_by_prompt(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Hi", "model": "tiny", "score": 1.0},
        {"prompt": "hi ", "model": "big", "score": 0.5},
    ]
    (own,) = read(as_csv(tmp_path / "own.csv", rows)).prompts
    assert own.scores == {"tiny": 1.0, "big": 0.5}


@pytest.mark.parametrize(
    ("label", "small", "strong"),
    [("local", 1.0, 1.0), ("Strong", 0.0, 1.0), (0.25, 0.25, None), ("0.5", 0.5, None)],
)
def test_a_label_is_a_tier_or_a_score(
    label: object, small: float, strong: float | None, tmp_path: Path
) -> None:
    (own,) = read(as_lines(tmp_path / "own.jsonl", [{"prompt": "Hi", "label": label}])).prompts
    assert (own.small, own.strong) == (small, strong)


def test_scores_may_stand_in_one_object(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "scores": {"a": 1, "b": 0}}
    (own,) = read(as_lines(tmp_path / "own.jsonl", [row])).prompts
    assert own.scores == {"a": 1.0, "b": 0.0}


def test_duplicates_are_counted_and_averaged(tmp_path: Path) -> None:
    rows = [{"prompt": p, "tiny": v} for p, v in (("Hi", 1), ("hi", 0), ("Bye", 1))]
    found = read(as_csv(tmp_path / "own.csv", rows))
    assert (found.rows, found.distinct, found.duplicates) == (3, 2, 1)
    assert {own.text: own.scores["tiny"] for own in found.prompts} == {"Hi": 0.5, "Bye": 1.0}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "prompt,tiny\nHi,1\nHo,2\n", "line 3: 'tiny' is 2; a score is from 0 to 1"),
        ("a.csv", "prompt,tiny\nHi,yes\n", "line 2: 'tiny' is 'yes', which is no number"),
        ("a.csv", "prompt,tiny\n ,1\n", "line 2: 'prompt' is missing or empty"),
        ("a.csv", "prompt,tiny\nHi,nan\n", "line 2: 'tiny' is nan"),
        ("a.csv", "prompt,tiny\nHi\n", "line 2: not as many cells"),
        ("a.csv", "prompt,tiny\nHi,1,2\n", "line 2: not as many cells"),
        ("a.csv", "prompt,tiny\nHi,\n", "line 2: neither a 'label' nor a model's score"),
        ("a.csv", "text,tiny\nHi,1\n", "no column 'prompt'; its columns: text, tiny"),
        ("a.csv", "prompt\nHi\n", "no column but 'prompt'"),
        ("a.csv", "prompt,model\nHi,x\n", "none named 'score'"),
        ("a.csv", "prompt,tiny\n", "has no rows"),
        ("a.csv", "", "no column 'prompt'; its columns: none"),
        ("a.jsonl", '{"prompt": "Hi", "label": "perhaps"}\n', "line 1: 'label' is 'perhaps'"),
        ("a.jsonl", '{"prompt": "Hi", "label": 1}\nno\n', "line 2: is no JSON"),
        ("a.jsonl", "[1]\n", "line 1: is no JSON object"),
        ("a.parquet", "not parquet", "is no Parquet file"),
        ("a.txt", "Hi", "known: .csv"),
    ],
)
def test_what_does_not_fit_is_named_by_line(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelsError) as caught:
        read(path)
    assert words in str(caught.value)


def test_bytes_that_are_no_text_are_said_so(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b"prompt,tiny\n\xff\xfe,1\n")
    with pytest.raises(LabelsError, match="cannot be read"):
        read(path)


def test_not_more_than_a_few_lines_are_named(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "tiny": 7} for i in range(1000)]
    with pytest.raises(LabelsError) as caught:
        read(as_csv(tmp_path / "own.csv", rows))
    assert str(caught.value).count("line ") == own_labels.MOST_TROUBLES


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"own\.csv is not there"):
        read(tmp_path / "own.csv")


def test_of_many_rows_a_bounded_sample_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_labels, "MOST_PROMPTS", 100)
    rows = [{"prompt": f"prompt {i}", "tiny": i % 2} for i in range(5000)]
    found = read(as_lines(tmp_path / "own.jsonl", rows))
    again = read(as_lines(tmp_path / "other.jsonl", rows[::-1]))
    assert len(found.prompts) == 100
    assert (found.rows, found.distinct) == (5000, 5000)
    assert [o.group for o in found.prompts] == [o.group for o in again.prompts]


def test_the_weaker_of_two_models_is_the_local_one(tmp_path: Path) -> None:
    prompts = read(as_csv(tmp_path / "own.csv", ROWS)).prompts
    assert settle(prompts, Tiers()) == Tiers(("tiny",), ("big",))
    assert {(p.small, p.strong) for p in prompts} == {(1.0, 1.0), (0.0, 0.5)}
    assert settle(prompts, Tiers(("big",), ("tiny",))).local == ("big",)
    with pytest.raises(LabelsError, match="No model 'huge'"):
        settle(prompts, Tiers(("huge",), ()))


@pytest.mark.parametrize(
    ("count", "label", "words"),
    [(10, None, "10 distinct prompts with a score are too few"), (60, "local", "the same label")],
)
def test_too_few_or_one_class_teach_nothing(
    count: int, label: str | None, words: str, tmp_path: Path
) -> None:
    rows = [{"prompt": f"p{i}", "label": label or i % 2} for i in range(count)]
    prompts = read(as_lines(tmp_path / "own.jsonl", rows)).prompts
    settle(prompts, Tiers())
    with pytest.raises(LabelsError, match=words):
        enough(prompts)


def told(**entries: object) -> dict[str, Any]:
    row: dict[str, Any] = {
        "request_id": "r1",
        "prompt": "Hi",
        "route": "auto",
        "tier": "local",
        "model": "llama3.2",
        "score": 0.7,
        "propensity": None,
        "feedback": "good",
        "value": None,
        "better_model": None,
        "created": "2026-11-21T08:00:00Z",
    }
    return {**row, **entries}


@pytest.mark.parametrize(
    ("row", "small", "strong", "weight"),
    [
        (told(), 1.0, None, 1.0),
        (told(feedback="bad"), 0.0, None, 1.0),
        (told(feedback="bad", tier="strong", propensity=0.25), None, 0.0, 4.0),
        (told(value=0.4), 0.4, None, 1.0),
        (told(feedback=None, value=0.4), 0.4, None, 1.0),
        (told(feedback="score", value=0.4), 0.4, None, 1.0),
        (told(feedback="other_tier"), 0.0, 1.0, 1.0),
        (told(feedback="other_tier", tier="strong"), 1.0, 1.0, 1.0),
        (told(propensity=0.001), 1.0, None, feedback.MOST_WEIGHT),
    ],
)
def test_feedback_labels_the_tier_that_answered(
    row: dict[str, Any], small: float | None, strong: float | None, weight: float
) -> None:
    own = feedback.judged(row)
    assert own is not None
    assert (own.small, own.strong, own.weight) == (small, strong, weight)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (told(prompt=None), "'prompt' is missing"),
        (told(tier=7), "'tier' is no name"),
        (told(feedback="fine"), "'feedback' is 'fine'"),
        (told(feedback="score"), "'value' is missing"),
        (told(propensity=0), "'propensity' is 0"),
        (told(propensity=2), "'propensity' is 2"),
        (told(value="much"), "'value' is 'much'"),
        (told(better_model=7), "'better_model' is no name"),
    ],
)
def test_feedback_that_does_not_fit_is_named(row: dict[str, Any], words: str) -> None:
    with pytest.raises(LabelsError, match=words):
        feedback.judged(row)


@pytest.mark.parametrize(
    ("row", "small", "strong"),
    [
        (told(feedback="bad", better_model="cloud/big"), 0.0, 1.0),
        (told(feedback="bad", better_model="big"), 0.0, 1.0),
        (told(feedback="score", value=0.4, better_model="big"), 0.4, 1.0),
        (told(feedback="bad", tier="strong", model="cloud/big", better_model="llama3.2"), 1.0, 0.0),
        (told(feedback="bad", better_model="llama3.2"), 0.0, None),
        (told(feedback="bad", better_model="never answered"), 0.0, None),
        (told(feedback="bad", better_model="both"), 0.0, None),
    ],
)
def test_a_better_model_of_the_other_tier_would_have_answered_well(
    row: dict[str, Any], small: float | None, strong: float | None, tmp_path: Path
) -> None:
    others = [
        told(prompt="a", feedback=None),
        told(prompt="b", feedback=None, tier="strong", model="cloud/big"),
        told(prompt="c", feedback=None, tier="strong", model="both"),
        told(prompt="d", feedback=None, model="both"),
    ]
    (own,) = feedback.read(as_lines(tmp_path / "feedback.jsonl", [*others, row])).prompts
    assert (own.small, own.strong) == (small, strong)


@pytest.mark.parametrize("row", [told(feedback=None), told(tier=None), told(tier="middle")])
def test_what_nobody_judged_teaches_nothing(row: dict[str, Any], tmp_path: Path) -> None:
    assert feedback.judged(row) is None
    with pytest.raises(LabelsError, match="nobody said anything of any of its 1 answers"):
        feedback.read(as_lines(tmp_path / "feedback.jsonl", [row]))


def test_feedback_that_was_never_exported_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="no feedback was exported yet"):
        feedback.read(tmp_path / "feedback.jsonl")
