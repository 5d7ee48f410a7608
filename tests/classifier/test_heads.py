"""Heads of known models: what they learn from, and what judges them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from classifier import evaluate_models, labels
from classifier.heads import fit_models
from classifier.labels import Prompt

EACH = 400


def scored(source: str, count: int, scores: dict[str, float]) -> list[Prompt]:
    """Prompts of a source; who is scored .5 has 1 on every other prompt, and 0 on the rest."""
    made = []
    for i in range(count):
        text = f"{'Prove' if i % 2 else 'Greet'} number {i} of {source}."
        row = {n: float(i % 2) if s == 0.5 else s for n, s in scores.items()}
        group = labels.group_of(text)
        made.append(Prompt(text, group, source, source, "chat", 0.5, 0.9, 0.7, row))
    return made


def test_a_model_learns_from_the_source_that_scored_it_most() -> None:
    prompts = scored("small", 50, {"both": 0.0}) + scored("large", 60, {"both": 1.0, "one": 0.5})
    seen, w = np.random.default_rng(0).normal(size=(110, 3)), np.ones(110)
    heads = fit_models(prompts, seen, w, 10.0, 55)
    assert sorted(heads) == ["both", "one"]
    assert heads["both"].predict(seen) == pytest.approx(np.ones(110))
    assert fit_models(prompts, seen, w, 10.0, 61) == {}, "rows of two sources are not added up"


def test_the_heads_that_serve_are_judged_on_groups_that_they_did_not_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompts = scored("pool", EACH, {"weak": 0.5, "strong": 1.0})
    pool = evaluate_models.Pool(
        ["weak", "strong"],
        [p.text for p in prompts],
        [p.group for p in prompts],
        np.array(["pool"] * EACH),
        np.array(["pool"] * EACH),
        np.array([[p.scores["weak"], p.scores["strong"]] for p in prompts]),
        np.tile([1.0, 10.0], (EACH, 1)),
    )
    learnt: list[set[str]] = []

    def watched(rows: Sequence[Prompt], *rest: Any) -> dict[str, Ridge]:
        learnt.append({p.group for p in rows})
        return fit_models(rows, *rest)

    monkeypatch.setattr(evaluate_models, "fit_models", watched)
    found = evaluate_models.judged(pool, None, prompts)
    assert found["router"]["aiq"] > found["zero"] + 0.1, "the text says on which the weak one fails"
    everything = set(pool.groups)
    judged = [everything - groups for groups in learnt]
    assert len(judged) == evaluate_models.FOLDS
    assert set.union(*judged) == everything
    for fold, groups in enumerate(judged):
        assert {hashlib.sha256(g.encode()).digest()[4] % len(judged) for g in groups} == {fold}
