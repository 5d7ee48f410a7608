"""The measures, on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from classifier import measures

SMALL = np.array([0.0, 0.0, 1.0, 1.0])
STRONG = np.ones(4)


def test_an_oracle_recovers_the_gap_at_once() -> None:
    need = STRONG - SMALL
    assert measures.apgr(need, SMALL, STRONG) == pytest.approx((0 + 0.5 + 1 + 1 + 1) / 5)
    assert measures.cpt(need, SMALL, STRONG, 0.5) == 0.25
    assert measures.cpt(need, SMALL, STRONG, 0.8) == 0.5


def test_chance_recovers_half() -> None:
    rng = np.random.default_rng(1)
    small = rng.random(20_000).round()
    assert measures.apgr(rng.random(20_000), small, np.ones(20_000)) == pytest.approx(0.5, abs=0.01)


def test_the_wrong_way_round_is_worse_than_chance() -> None:
    assert measures.apgr(SMALL - STRONG, SMALL, STRONG) < 0.5


def test_without_a_gap_there_is_no_figure() -> None:
    assert np.isnan(measures.apgr(SMALL, STRONG, STRONG))
    assert np.isnan(measures.cpt(SMALL, STRONG, STRONG, 0.5))


def test_auc_needs_both_classes() -> None:
    assert measures.auc(SMALL, SMALL) == 1.0
    assert np.isnan(measures.auc(SMALL, STRONG))


def test_a_calibrated_score_has_no_error() -> None:
    rng = np.random.default_rng(2)
    chance = rng.random(50_000)
    seen = (rng.random(50_000) < chance).astype(float)
    assert measures.calibration_error(chance, seen) < 0.02
    assert measures.calibration_error(np.clip(chance + 0.3, 0, 1), seen) > 0.1


def test_an_interval_holds_its_figure() -> None:
    rng = np.random.default_rng(3)
    small = rng.random(300).round()
    need = 1 - small + rng.random(300)
    low, high = measures.interval(measures.apgr, need, small, np.ones(300), draws=100)
    assert low < measures.apgr(need, small, np.ones(300)) < high
