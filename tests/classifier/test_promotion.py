"""The gates: each refuses what it is for, says so, and lets a sound candidate by."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from classifier import artefact, promote, settings
from classifier.artefact import ArtefactError
from classifier.scorer import Scored
from classifier.settings import Settings
from classifier.shelf import KEPT, Shelf, ShelfError
from tests.classifier.candidates import BROKEN, candidate, rewrite
from tests.classifier.service import SHIPPED
from tests.classifier.test_classifier_command import command

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    """Settings with an empty shelf, as a service has them that nobody told anything."""
    return settings.from_environment({"CLASSIFIER_MODELS": str(tmp_path / "models")})


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A candidate that is as good as the shipped artefact."""
    return candidate(tmp_path / "candidate", "2-new")


def failed(outcome: promote.Outcome) -> list[str]:
    return [gate.name for gate in outcome.gates if not gate.passed]


def test_a_sound_candidate_serves_and_leaves_the_shipped_one_alone(
    chosen: Settings, sound: Path
) -> None:
    before = {path.name: path.read_bytes() for path in SHIPPED.iterdir()}
    outcome = promote.promote(sound, chosen)
    assert failed(outcome) == []
    assert outcome.place == chosen.serving() != SHIPPED
    assert artefact.load(chosen.serving()).version == "2-new"
    assert {path.name: path.read_bytes() for path in SHIPPED.iterdir()} == before


def test_rollbacks_go_back_step_by_step_to_the_shipped_one(
    chosen: Settings, tmp_path: Path
) -> None:
    for version in ("2-a", "2-b"):
        assert promote.promote(candidate(tmp_path / version, version), chosen).promoted
    assert "2-a" in promote.rollback(chosen)
    assert artefact.load(chosen.serving()).version == "2-a"
    assert "router" in promote.rollback(chosen)
    assert chosen.serving() == SHIPPED
    with pytest.raises(ShelfError, match="Nothing to go back to"):
        promote.rollback(chosen)


def test_an_artefact_that_the_environment_names_wins(chosen: Settings, sound: Path) -> None:
    promote.promote(sound, chosen)
    pinned = settings.from_environment(
        {"CLASSIFIER_MODELS": str(chosen.models), "CLASSIFIER_ARTEFACT": str(SHIPPED)}
    )
    assert pinned.serving() == SHIPPED


def worse(row: dict[str, Any], by: float) -> float:
    row["router"]["apgr"] -= by
    return float(row["router"]["apgr"])


def sets_of(card: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in card["held_out"].values() if "router" in row]


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        (lambda card: [worse(row, 0.03) for row in sets_of(card)], "held-out APGR"),
        (lambda card: worse(sets_of(card)[0], 0.2), "APGR, "),
        (
            lambda card: [
                row.update(calibration_error=row["calibration_error"] + 0.05)
                for row in sets_of(card)
            ],
            "calibration error",
        ),
        (lambda card: card.update(held_out={}), "held-out"),
        (lambda card: card.update(held_out=None), "held-out"),
        (lambda card: card.update(default_threshold=0.99), "golden prompts"),
    ],
)
def test_a_gate_refuses_what_is_worse(
    chosen: Settings, sound: Path, change: Change, gate: str
) -> None:
    rewrite(sound, change)
    outcome = promote.promote(sound, chosen)
    assert not outcome.promoted
    assert any(name.startswith(gate) for name in failed(outcome)), failed(outcome)
    assert gate in outcome.words
    assert chosen.serving() == SHIPPED
    assert not [path for path in chosen.models.iterdir() if path.is_dir()]


def test_what_is_a_little_worse_passes(chosen: Settings, sound: Path) -> None:
    rewrite(sound, lambda card: [worse(row, 0.005) for row in sets_of(card)])
    assert promote.promote(sound, chosen).promoted


class Twice:
    """A scorer that does its work as often as it is told."""

    def __init__(self, times: int) -> None:
        self.scorer, self.times = artefact.load(SHIPPED).scorer, times

    def __call__(self, text: str) -> Scored:
        for _ in range(self.times):
            answer = self.scorer(text)
        return answer


def test_the_latency_gate_measures_work() -> None:
    active = artefact.load(SHIPPED)
    slow = replace(active, scorer=Twice(3))  # type: ignore[arg-type]
    verdict = {gate.name: gate.passed for gate in promote.judged(slow, active)}
    assert verdict.pop("time a prompt") is False
    assert all(verdict.values())


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_verified_is_refused_by_force_too(
    chosen: Settings, sound: Path, how: str
) -> None:
    spoil, words = BROKEN[how]
    spoil(sound)
    for force in ("", "I insist"):
        outcome = promote.promote(sound, chosen, force)
        assert failed(outcome) == ["verified"]
        assert words in outcome.words
        assert chosen.serving() == SHIPPED


def test_force_needs_a_reason_and_keeps_it(chosen: Settings, sound: Path) -> None:
    rewrite(sound, lambda card: card.update(held_out={}))
    outcome = promote.promote(sound, chosen, "new data, other held-out prompts")
    assert outcome.promoted
    assert failed(outcome) == ["held-out"]
    (line,) = (chosen.models / promote.HISTORY).read_text().splitlines()
    assert json.loads(line)["force"] == "new data, other held-out prompts"
    assert json.loads(line)["failed"] == ["held-out"]


def test_a_broken_active_artefact_can_be_replaced_by_force(
    chosen: Settings, sound: Path, tmp_path: Path
) -> None:
    place = promote.promote(sound, chosen).place
    assert place is not None
    BROKEN["tampered"][0](place)
    other = candidate(tmp_path / "other", "2-other")
    assert failed(promote.promote(other, chosen)) == ["comparison"]
    assert promote.promote(other, chosen, "the active one is broken").promoted


def test_what_serves_already_is_said_so(chosen: Settings, sound: Path) -> None:
    first = promote.promote(sound, chosen)
    again = promote.promote(sound, chosen)
    assert again.place == first.place
    assert "already" in again.words
    ours = promote.promote(SHIPPED, replace(chosen, models=chosen.models / "other"))
    assert ours.place == SHIPPED
    assert len(Shelf(chosen.models).names()) == 1


def test_only_one_promotes_at_a_time(chosen: Settings, sound: Path) -> None:
    with Shelf(chosen.models).locked(), pytest.raises(ShelfError, match="Somebody else"):
        promote.promote(sound, chosen)


def test_the_shelf_keeps_a_few_and_removes_the_rest(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "models")
    with shelf.locked():
        for number in range(KEPT + 2):
            shelf.put(candidate(tmp_path / str(number), f"2-{number}"), f"n{number}")
    assert shelf.names() == [f"n{number}" for number in range(KEPT + 1, 1, -1)]
    folders = {path.name for path in shelf.folder.iterdir() if path.is_dir()}
    assert folders == set(shelf.names())


@pytest.mark.parametrize(
    "text", [b"../router\n", b"/etc\n", b".hidden\n", b"\xff\xfe", b"x" * 9000]
)
def test_a_pointer_to_somewhere_else_is_not_followed(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "current").write_bytes(text)
    with pytest.raises(ShelfError, match="current"):
        Shelf(tmp_path).current()


def test_a_pointer_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    with pytest.raises(ArtefactError, match="current"):
        Shelf(tmp_path).current()


@pytest.mark.slow
def test_the_commands_print_gates_and_answer_with_exit_codes(tmp_path: Path, sound: Path) -> None:
    extra = {"CLASSIFIER_MODELS": str(tmp_path / "models")}
    rewrite(sound, lambda card: card.update(default_threshold=0.99))
    refused = command("promote", str(sound), **extra)
    assert refused.returncode == 1
    assert "FAILED" in refused.stdout
    assert "Not promoted: golden prompts" in refused.stdout
    done = command("promote", str(sound), "--force", "a trial", **extra)
    assert done.returncode == 0
    assert "Forced (a trial)" in done.stdout
    assert '"version": "2-new"' in command("classify", "Hi", **extra).stdout
    assert command("rollback", **extra).returncode == 0
    again = command("rollback", **extra)
    assert again.returncode == 2
    assert "Nothing to go back to" in again.stderr
    nowhere = command("promote", str(tmp_path / "nowhere"), **extra)
    assert nowhere.returncode == 1
    assert "Traceback" not in nowhere.stderr + nowhere.stdout
    assert os.listdir(tmp_path / "models")
