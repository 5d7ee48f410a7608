"""The protocols beyond one split never judge a group that was learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from classifier import evaluate_folds, labels, model
from classifier.experts import ExpertParameters
from classifier.labels import Prompt
from classifier.model import Floats, Matrix, Model, Parameters

SMALL = Parameters(cluster_count=4, expert=ExpertParameters(clusters=(2, 4), seeds=1))


def prompts(source: str, benchmark: str, count: int) -> list[Prompt]:
    made = []
    for i in range(count):
        text = f"{'Prove' if i % 2 else 'Greet'} number {i} of {benchmark}."
        hard = 0.2 if i % 2 else 0.9
        group = labels.group_of(text)
        domain = "maths" if i % 2 else "chat"
        made.append(Prompt(text, group, source, benchmark, domain, hard, 0.95, hard))
    return made


@pytest.mark.slow
def test_each_protocol_has_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[set[str]] = []
    judged: list[set[str]] = []
    fit, figures = model.fit, evaluate_folds.figures

    def watched_fit(rows: Sequence[Prompt], x: Matrix, parameters: Parameters, tell: Any) -> Model:
        fits.append({p.group for p in rows})
        return fit(rows, x, parameters, tell)

    def watched_figures(
        rows: Sequence[Prompt], score: Floats, order: Floats | None = None
    ) -> dict[str, Any]:
        judged.append({p.group for p in rows})
        return figures(rows, score, order)

    monkeypatch.setattr(evaluate_folds, "DRAWS", 1)
    monkeypatch.setattr(evaluate_folds, "CUTS", (2,))
    monkeypatch.setattr(evaluate_folds, "NEW_LABELS", (20,))
    monkeypatch.setattr(evaluate_folds, "FEWEST_LEFT", 30)
    monkeypatch.setattr(evaluate_folds, "FAMILIES", {"maths": frozenset({"math"})})
    monkeypatch.setattr(model, "fit", watched_fit)
    monkeypatch.setattr(evaluate_folds, "figures", watched_figures)
    known = [*prompts("one", "math", 150), *prompts("two", "mmlu", 150)]
    twin = Prompt(known[0].text, known[0].group, "two", "other", "maths", 0.5, 1.0, 0.7)
    found = evaluate_folds.run([*known, twin], prompts("three", "gsm8k", 60), SMALL, lambda _: None)
    assert set(found) == {"folds", "left out", "labels"}
    assert found["folds"]["all together"]["prompts"] == 301
    assert "math" in " ".join(found["left out"])
    # The fold fits come first; after them each judgement follows a fit of its own.
    family_fit, family_judged = fits[model.FOLDS], judged[len(found["folds"])]
    assert not family_fit & family_judged
    (prior,) = fits[model.FOLDS + 1 :]
    assert len(judged[-3:]) == len(found["labels"]) == 3
    for seen in judged[-3:]:
        assert seen == judged[-1], "all sizes are judged on the same prompts"
        assert not prior & seen
    assert "APGR" in evaluate_folds.table(found)


def test_the_outer_folds_are_not_the_inner_ones() -> None:
    groups = [f"group{i}" for i in range(400)]
    same = [evaluate_folds.outer_fold(g) == model.fold_of(g) for g in groups]
    assert 0.1 < sum(same) / len(same) < 0.3


def test_a_twin_of_a_hidden_prompt_is_not_learnt_from() -> None:
    rows = [*prompts("one", "math", 4), *prompts("two", "math", 4)]
    assert evaluate_folds.without(rows, {rows[0].group}) == [1, 2, 3, 5, 6, 7]
