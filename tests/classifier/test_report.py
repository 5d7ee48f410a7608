"""The report is one whole page, and says where we lose."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from classifier import evaluate, labels, measures, perturb, report
from classifier.artefact import Artefact


def figures(shipped: Artefact) -> str:
    prompts = labels.own()
    held = evaluate.judge(shipped.scorer, prompts, known=prompts)
    curves = evaluate.curves(shipped.scorer, prompts)
    return report.page(
        shipped.card, held, curves, {}, {"60": 100.0}, perturb.steadiness(shipped.scorer, prompts)
    )


def test_the_page_is_well_formed_and_fetches_nothing(shipped: Artefact) -> None:
    page = figures(shipped)
    ElementTree.fromstring(
        page.removeprefix("<!doctype html>\n").replace('<meta charset="utf-8">', "")
    )
    assert "<svg" in page
    for word in ("http:", "https:", "<script", "<link", "src="):
        assert word not in page


def test_a_row_that_a_plain_baseline_wins_is_marked(shipped: Artefact) -> None:
    def row(ours: float, length: float) -> str:
        plain = {"apgr": 0.5, "apgr_interval": [0.4, 0.6], "cpt50": 0.5, "cpt80": 0.8}
        held = {
            "made": {
                "prompts": 20,
                "always_local": 0.4,
                "always_strong": 0.8,
                "auc": 0.5,
                "calibration_error": 0.1,
                "router": {**plain, "apgr": ours},
                "prompt_length": {**plain, "apgr": length},
                **dict.fromkeys(("task_mean", "random", "oracle"), plain),
            }
        }
        return report.page(shipped.card, held, {}, {}, {}, {})

    assert 'class="lost"' in row(0.6, 0.7)
    assert 'class="lost"' in row(0.4, 0.3)
    assert 'class="lost"' not in row(0.7, 0.6)


def test_the_quality_curve_runs_from_always_local_to_always_strong() -> None:
    small, strong = np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)
    assert measures.quality(strong - small, small, strong, 3) == [0.5, 1.0, 1.0]


def test_what_was_kept_for_another_version_is_not_reported(tmp_path: Path) -> None:
    kept = tmp_path / "folds.json"
    assert evaluate.remembered(kept, "4-new", {"60": 1.0}) == ({}, {"60": 1.0})
    evaluate.keep(kept, "4-old", {"folds": {}}, {"60": 2.0})
    assert evaluate.remembered(kept, "4-new", {"60": 1.0}) == ({}, {"60": 1.0})
    assert evaluate.remembered(kept, "4-old", {"60": 1.0}) == ({"folds": {}}, {"60": 2.0})


def test_the_mean_of_an_unknown_task_is_nothing() -> None:
    own = labels.own()
    assert not evaluate.task_mean([], own).any()
    assert evaluate.task_mean(own, own).any()
