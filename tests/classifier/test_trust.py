"""An expert is trusted with prompts like his own, not with whatever the gate sends him."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge

from classifier import base, trust
from classifier.bags import Bag
from classifier.base import Base
from classifier.experts import ExpertParameters, fit_expert, stack
from classifier.likeness import fit_likeness
from classifier.model import SURFACE_SCALE
from classifier.views import fit_views

SURFACES, WORDS, EACH = 4, 12, 120
SMALL = ExpertParameters(clusters=(4, 8), seeds=1)


def fitted(families: tuple[str, ...]) -> tuple[trust.Trust | None, list[np.ndarray]]:
    """A trust fitted on four sets of made-up features, and the numbers of one set's prompts as
    they look to gates that know it and that do not."""
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(4, SURFACES + WORDS))
    seen = np.vstack([m + 0.3 * rng.normal(size=(EACH, SURFACES + WORDS)) for m in middles])
    sets = np.repeat(["a", "b", "c", "d"], EACH)
    folds = np.tile(np.arange(5), len(seen) // 5)
    views = fit_views(seen, SURFACES)
    small = rng.random(len(seen))
    experts = []
    for name in "abcd":
        rows = np.flatnonzero(sets == name)
        scores = small[rows], np.ones(len(rows))
        even = np.ones(len(rows))
        experts.append(
            fit_expert(
                name, seen[rows], views, scores, small[rows], even, folds[rows], SMALL, seed=0
            )
        )
    likeness = fit_likeness([views.surface(seen[sets == n]) for n in "abcd"], SURFACE_SCALE)
    made = trust.fit_trust(
        seen, views, sets, np.repeat(families, EACH), folds, experts, likeness, 3.0
    )
    own = np.flatnonzero(sets == "a")
    found = []
    for who in (0, 1):
        place = np.full(len(own), who)
        logits = np.where(np.arange(4)[None] == who, 6.0, 0.0) * np.ones((len(own), 1))
        far = likeness.far(views.surface(seen[own]), place)
        away = trust.distances(experts, views, seen[own], place)
        found.append(trust.numbers_of(logits, far, away))
    return made, found


def test_an_expert_is_trusted_with_his_own_and_not_with_a_strangers_prompts() -> None:
    made, (own, strange) = fitted(("a", "b", "c", "d"))
    assert made is not None
    assert np.median(made.of(own)) > 0.9
    assert np.median(made.of(strange)) < 0.2


def test_the_weights_say_what_the_regression_says() -> None:
    made, (own, _) = fitted(("a", "b", "c", "d"))
    assert made is not None
    weights, intercept = made.linear()
    assert 1 / (1 + np.exp(-(own @ weights + intercept))) == pytest.approx(made.of(own))


def test_where_no_family_can_be_left_out_nobody_is_trusted() -> None:
    made, _ = fitted(("one", "one", "one", "one"))
    assert made is None


def test_the_numbers_are_bounded_however_strange_a_prompt_is() -> None:
    logits = np.array([[900.0, -900.0], [-900.0, -901.0], [0.0, 0.0]])
    far, away = np.array([1e9, 0.0, 1.0]), np.array([1e9, -1.0, 1.0])
    numbers = trust.numbers_of(logits, far, away)
    assert (numbers >= trust.LOWEST).all()
    assert (numbers <= trust.HIGHEST).all()


def test_the_distance_to_clusters_is_that_to_the_nearest() -> None:
    centres = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=np.float32)
    bag = Bag([2, 1], centres, np.zeros(3))
    assert bag.away(np.array([[1.0, 0.0]], dtype=np.float32)) == pytest.approx([(0.0 + 4.0) / 2])
    assert Bag([], centres[:0], np.zeros(0)).away(centres).tolist() == [1.0, 1.0, 1.0]


def test_voices_that_rows_cannot_tell_apart_keep_their_shares() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=400)
    unseen = np.tile(truth + 8.0 * rng.normal(size=400), (3, 1))
    found, _ = stack(unseen, truth, 1.0, (0.1, 0.8, 0.1))
    assert found == pytest.approx([0.1, 0.8, 0.1])


def test_a_voice_that_foretells_well_is_heard_whatever_its_share() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=400)
    unseen = np.stack([truth + 0.1 * rng.normal(size=400), *rng.normal(size=(2, 400))])
    found, _ = stack(unseen, truth, 1.0, (0.5, 0.4, 0.1))
    assert found[0] > 0.9


def test_where_no_voice_foretells_the_first_alone_counts() -> None:
    target = np.linspace(-1.0, 1.0, 50)
    found, _ = stack(np.stack([-target, -target, -target]), target, 1.0, (0.1, 0.8, 0.1))
    assert found.tolist() == [1.0, 0.0, 0.0]


def test_who_is_far_from_the_peak_needs_the_strong_model_less() -> None:
    ridge, curve = Ridge(), IsotonicRegression()
    made = Base([ridge], [ridge], ridge, np.ones(4), 2.0, [curve], [curve])
    predicted = np.zeros((5, 3))
    predicted[4] = [base.PEAK, 0.0, 9.0]
    need = made.need(predicted, np.zeros(3, dtype=np.int64))
    assert need == pytest.approx([0.0, -2 * base.PEAK**2, -2 * (1 - base.PEAK) ** 2])
