"""Own labels upon the shipped prior: better where they are, unchanged elsewhere, refused if bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from classifier import artefact, features, model, train
from classifier.artefact import Artefact
from classifier.embedding import Embedding
from tests.classifier.service import SHIPPED
from tests.classifier.test_own_labels import as_csv, as_lines, told

pytestmark = pytest.mark.slow

COLOURS = ("red", "green", "blue", "amber", "violet")


def tickets(count: int) -> list[dict[str, object]]:
    """A domain that the prior does not know: what is violet or has a long number is hard."""
    rows: list[dict[str, object]] = []
    for i in range(count):
        colour = COLOURS[i % 5]
        text = f"Ticket {i * 7919 % 1009}: route the {colour} parcel through depot {i % 13}."
        hard = colour in ("violet", "amber")
        rows.append({"prompt": text, "tiny": 0.2 if hard else 0.9, "big": 0.95})
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    path = as_csv(folder / "own.csv", tickets(200))
    out = folder / "candidate"
    nowhere = str(folder / "nowhere")
    assert train.main(["--data", nowhere, "--labels", str(path), "--out", str(out)]) == 0
    return out


def test_the_labels_are_learnt_and_the_rest_stays(trained: Path, shipped: Artefact) -> None:
    loaded = artefact.load(trained)
    easy = loaded.scorer("Ticket 77: route the green parcel through depot 4.").score
    hard = loaded.scorer("Ticket 77: route the violet parcel through depot 4.").score
    assert easy > hard
    for text in ("Hi there!", "Prove that there are infinitely many primes of the form 4k + 3."):
        assert loaded.scorer(text).score == pytest.approx(shipped.scorer(text).score, abs=0.02)
    result = loaded.card["own"]["judged"]
    assert result["both"]["value"] > result["prior"]["value"]
    assert result["both less labels"]["high"] >= 0
    assert loaded.card["prior"]["version"] == shipped.version
    assert {"tiny", "big"} <= set(loaded.scorer.models)


def test_the_fast_scorer_equals_the_reference(trained: Path, words: Embedding) -> None:
    loaded, reference = artefact.load(trained), artefact.load_reference(trained)
    texts = [str(row["prompt"]) for row in tickets(60)] + ["Hi", "What is 2 + 2?", "x" * 300]
    seen = [features.extract(text, words) for text in texts]
    fast = [loaded.scorer.features(f).score for f in seen]
    assert np.abs(reference.score(model.matrix(seen)) - fast).max() < 1e-6


def test_the_same_labels_give_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "candidate"
    path = as_csv(tmp_path / "own.csv", tickets(200))
    assert train.main(["--data", str(tmp_path), "--labels", str(path), "--out", str(out)]) == 0
    for name in (artefact.ARRAYS, artefact.CARD):
        assert (out / name).read_bytes() == (trained / name).read_bytes()


def test_a_candidate_may_be_built_upon_again(trained: Path, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "own.csv", tickets(120))
    out = tmp_path / "candidate"
    more = ["--prior", str(trained), "--out", str(out), "--data", str(tmp_path)]
    assert train.main(["--labels", str(path), *more]) == 0
    assert artefact.load(out).card["prior"]["version"] == artefact.read_card(trained)["version"]


def test_feedback_is_learnt_from_with_the_labels(tmp_path: Path) -> None:
    lines = [
        told(prompt=row["prompt"], value=row["tiny"], propensity=0.5 if i % 2 else 0.9)
        for i, row in enumerate(tickets(150))
    ]
    path = as_lines(tmp_path / "feedback.jsonl", lines)
    out = tmp_path / "candidate"
    assert train.main(["--data", str(tmp_path), "--feedback", str(path), "--out", str(out)]) == 0
    card = json.loads((out / artefact.CARD).read_text())
    assert card["own"]["judged"]["measure"] == "auc"
    assert card["own"]["prompts"] == 150


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompt,label\n" + "".join(f"p{i},local\n" for i in range(9)), "too few"),
        ("prompt,label\n" + "".join(f"p{i},local\n" for i in range(99)), "the same label"),
        ("prompt,label\nHi,local\nHo,maybe\n", "line 3"),
    ],
)
def test_a_bad_file_leaves_the_old_candidate(
    text: str, words: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    assert train.main(["--labels", str(path), "--out", str(trained)]) == 2
    assert words in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before


def test_a_broken_prior_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = as_csv(tmp_path / "own.csv", tickets(60))
    assert train.main(["--labels", str(path), "--prior", str(tmp_path / "none")]) == 2
    assert "card.json is missing" in capsys.readouterr().err
    assert SHIPPED.is_dir()
