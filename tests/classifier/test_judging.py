"""What judging is made of: perturbed prompts, the hull of cost and quality, paired draws."""

from __future__ import annotations

import random

import numpy as np
import pytest

from classifier import evaluate_models, labels, measures, perturb
from classifier.artefact import Artefact

QUESTION = "Which of the following is big?\nA. a mouse\nB. a house\nC. a louse\nAnswer:"


def test_a_typo_swaps_neighbours_and_loses_nothing() -> None:
    text = "Calculate the area of the following triangle, please, and explain how."
    changed = perturb.typos(text, random.Random(1))
    assert changed != text
    assert sorted(changed) == sorted(text)
    assert perturb.typos("42", random.Random(1)) == "42"


def test_options_change_places_and_keep_their_letters() -> None:
    changed = perturb.reordered(QUESTION, random.Random(3))
    assert changed is not None
    assert changed != QUESTION
    assert sorted(changed.split()) == sorted(QUESTION.split())
    assert [line[:2] for line in changed.split("\n")[1:4]] == ["A.", "B.", "C."]
    assert perturb.reordered("No options here.", random.Random(3)) is None


def test_other_words_ask_the_same() -> None:
    assert "What's" not in QUESTION
    changed = perturb.paraphrase("What is 2 + 2? Explain.", random.Random(0))
    assert "what's 2 + 2? describe." in changed


def test_case_and_order_of_options_change_no_decision(shipped: Artefact) -> None:
    ours = labels.own()
    found = perturb.steadiness(shipped.scorer, [p for p in ours if p.source == labels.OWN])
    assert found["lower case"]["unchanged"] == 1.0
    for name in ("capitals", "typos", "other words"):
        assert found[name]["unchanged"] > 0.88
    assert found["options reordered"]["unchanged"] is None
    assert perturb.steadiness(shipped.scorer, ours)["all together"]["unchanged"] > 0.88
    assert "capitals" in perturb.table(found)


def test_the_hull_leaves_out_what_is_dearer_and_no_better() -> None:
    cost, quality = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.1, 0.6, 0.5])
    x, y = evaluate_models.hull(cost, quality)
    assert x.tolist() == [1.0, 3.0]
    assert y.tolist() == [0.2, 0.6]
    area = evaluate_models.aiq(cost, quality, 1.0, 3.0)
    assert area == pytest.approx(0.4, abs=1e-3)


def test_an_oracle_beats_the_best_single_model_for_less() -> None:
    rng = np.random.default_rng(0)
    quality = rng.integers(0, 2, (400, 3)).astype(float)
    quality[:, 2] = rng.random(400) < 0.8
    cost = np.tile([1.0, 2.0, 10.0], (400, 1))
    oracle = evaluate_models.measure(quality, cost, quality, cost)
    mean = np.tile(quality.mean(axis=0), (400, 1))
    plain = evaluate_models.measure(mean, cost, quality, cost)
    zero = evaluate_models.aiq(cost.mean(axis=0), quality.mean(axis=0), 1.0, 10.0)
    assert plain["aiq"] == pytest.approx(zero, abs=0.02)
    assert oracle["aiq"] > plain["aiq"]
    assert oracle["qnc"] < 1.0 <= plain["qnc"] + 1e-9


def test_paired_draws_tell_better_from_alike() -> None:
    rng = np.random.default_rng(1)
    small = rng.integers(0, 2, 300).astype(float)
    strong = np.ones(300)
    good, noise = 1 - small + 0.5 * rng.random(300), rng.random(300)
    better = measures.paired(measures.apgr, good, noise, small, strong, draws=60)
    alike = measures.paired(measures.apgr, good, good, small, strong, draws=60)
    assert better["low"] is not None
    assert better["low"] > 0
    assert (alike["low"], alike["high"]) == (0.0, 0.0)
    none = measures.paired(measures.apgr, good, noise, strong, strong, draws=5)
    assert none["mean"] is None
