"""The fast scorer is the scikit-learn pipeline, only faster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from classifier import artefact, base, features, labels, model, scorer, trust
from classifier.artefact import ARRAYS, Artefact
from classifier.curves import Curve
from classifier.embedding import Embedding
from tests.classifier.prompts import UNUSUAL
from tests.classifier.service import SHIPPED

OWN = [prompt for _, _, prompt in labels.own_prompts()]
QUESTION = "\nA. yes\nB. no\nC. sometimes\nAnswer:"


def test_the_fast_scorer_equals_scikit_learn(shipped: Artefact, words: Embedding) -> None:
    reference = artefact.load_reference(SHIPPED)
    prompts = [*OWN, *(p + QUESTION for p in OWN), *(p.upper() for p in OWN), *UNUSUAL.values()]
    seen = [features.extract(prompt, words) for prompt in prompts]
    x = model.matrix(seen)
    fast = [shipped.scorer.features(f) for f in seen]
    assert np.abs(reference.score(x) - [f.score for f in fast]).max() < 1e-6
    kinds = reference.domains(x)
    assert [reference.domain.classes_[row.argmax()] for row in kinds] == [f.domain for f in fast]
    assert np.abs(reference.sure(x) - [f.sure for f in fast]).max() < 1e-4
    assert np.abs(reference.estimate(x)[1] - [f.gain for f in fast]).max() < 1e-6
    assert np.abs(reference.lengths(x) - [f.length for f in fast]).max() < 1e-6 * 1e4


def test_the_chance_of_each_model_is_what_its_head_says(
    shipped: Artefact, words: Embedding
) -> None:
    reference = artefact.load_reference(SHIPPED)
    x = features.extract(OWN[0] + QUESTION, words)
    seen = reference.scale.seen(model.matrix([x]))
    chances = shipped.scorer.chances(x)
    assert "gpt-4-1106-preview" in chances
    for name, head in reference.models.items():
        assert chances[name] == pytest.approx(float(np.clip(head.predict(seen)[0], 0, 1)), abs=1e-5)


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title])
def test_case_changes_nothing(change: Callable[[str], str], shipped: Artefact) -> None:
    for prompt in OWN[:60]:
        if prompt.isascii():
            assert shipped.scorer(change(prompt)).score == shipped.scorer(prompt.lower()).score


def test_both_paths_share_their_constants() -> None:
    for name in (
        "SURFACE_SCALE",
        "CLUSTER_SCALE",
        "CLIP",
        "TIE_BREAK",
        "TRUST",
        "HINT",
        "PULL",
    ):
        assert getattr(scorer, name) == getattr(model, name)
    assert (scorer.FORMS, scorer.PEAK) == (base.FORMS, base.PEAK)
    assert (scorer.LOWEST, scorer.HIGHEST) == (trust.LOWEST, trust.HIGHEST)


def test_heads_whose_exponentials_would_be_no_numbers_are_refused(words: Embedding) -> None:
    with np.load(SHIPPED / ARRAYS, allow_pickle=False) as opened:
        arrays = {name: opened[name] for name in opened.files}
    scorer.Scorer(arrays, words)
    with pytest.raises(ValueError, match="the heads run away"):
        scorer.Scorer({**arrays, "heads": arrays["heads"] * 100.0}, words)


def test_a_curve_is_straight_between_its_points_and_flat_beyond_them() -> None:
    x, y = [-1.0, 0.5, 0.5, 0.5, 2.0], [0.1, 0.2, 0.4, 0.6, 0.9]
    curve = Curve(x, y)
    at = [-9.0, -1.0, -0.4, 0.25, 0.5 + 1e-12, 1.0, 1.9, 2.0, 7.0]
    assert [curve(a) for a in at] == pytest.approx(np.interp(at, x, y).tolist(), abs=1e-9)
    assert Curve([3.0], [0.7])(1.0) == Curve([3.0], [0.7])(4.0) == 0.7


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_prompt_has_finite_features(name: str, words: Embedding) -> None:
    x = features.extract(UNUSUAL[name], words)
    assert np.isfinite(x.surface).all()


@pytest.mark.parametrize("text", ["", "   ", "\n", "\ud800 lone surrogate", "\x00"])
def test_a_prompt_of_nothing_is_scored(text: str, shipped: Artefact) -> None:
    assert 0 <= shipped.scorer(text).score <= 1


def test_a_long_prompt_is_bounded_to_its_head_and_tail() -> None:
    text = "h" * 5_000 + "m" * 90_000 + "t" * 5_000
    cut = features.bounded(text)
    assert len(cut) == features.LONGEST == 2000
    assert "m" not in cut
    assert cut.startswith("h" * features.HEAD)
    assert cut.endswith("t" * features.TAIL)


def test_the_middle_of_a_long_prompt_changes_nothing(shipped: Artefact) -> None:
    head, tail = "Summarise this. " * 100, " What follows from it?" * 50
    first, second = (shipped.scorer(head + middle * 9_000 + tail) for middle in ("x", "y"))
    assert first == second


def test_each_surface_number_has_a_name(words: Embedding) -> None:
    row = features.extract("What is 2 + 2?\nA. 3\nB. 4", words).surface
    assert len(row) == len(features.SURFACE_NAMES)
    named = dict(zip(features.SURFACE_NAMES, row, strict=True))
    assert named["log_options"] == pytest.approx(np.log1p(2))
    assert named["log_numbers"] == pytest.approx(np.log1p(4))


def test_percentiles_rise_with_the_score(shipped: Artefact) -> None:
    shares = [shipped.percentile(score) for score in np.linspace(0, 1, 50)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_golden_prompts_go_where_they_should(shipped: Artefact) -> None:
    for tier, _, prompt in labels.own_prompts("golden.tsv"):
        assert (shipped.scorer(prompt).score >= shipped.threshold) == (tier == "local"), prompt
