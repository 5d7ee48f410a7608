"""Clusters are heard by how near they are, and serve as they were trained."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.bags import SOFT, Bag, Clusters


def lengths_of_one(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_one_prompt_hears_what_it_would_hear_among_many() -> None:
    rng = np.random.default_rng(0)
    sizes = [3, 8, 8, 20]
    centres = lengths_of_one(rng.normal(size=(39, 12))) * np.float32(0.7)
    values = rng.normal(size=39)
    topics = lengths_of_one(rng.normal(size=(50, 12)))
    many, one = Bag(sizes, centres, values), Clusters(sizes, centres, values)
    found = np.array([one.value(row) for row in topics])
    assert found[:, 0] == pytest.approx(many.predict(topics), abs=1e-5)
    assert found[:, 1] == pytest.approx(many.away(topics), abs=1e-5)


def test_clusters_alike_near_are_heard_alike_and_a_far_one_is_not() -> None:
    centres = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=np.float32)
    between = lengths_of_one(np.array([[1.0, 1.0]]))
    bag = Bag([3], centres, np.array([2.0, 4.0, 900.0]))
    assert bag.predict(between) == pytest.approx([3.0])
    assert bag.predict(centres[:1]) == pytest.approx([2.0])


def test_a_word_more_moves_a_prompt_at_a_border_a_little_and_not_in_a_jump() -> None:
    centres = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    bag = Clusters([2], centres, np.array([0.0, 1.0]))
    steps = np.linspace(0.6, 1.0, 400)
    path = lengths_of_one(np.stack([1.6 - steps, steps], axis=1))
    heard = np.array([bag.value(row)[0] for row in path])
    assert heard[0] < 0.01
    assert heard[-1] > 0.99
    assert np.diff(heard).min() > -1e-6
    assert np.diff(heard).max() < 0.03, "the nearest alone would make one step of 1"


def test_a_cluster_that_is_farther_by_the_width_counts_an_eth_of_the_nearest() -> None:
    near, far = 0.9, 0.9 - SOFT
    centres = np.array([[near, 0.0], [far, np.sqrt(near**2 - far**2)]], dtype=np.float32)
    bag = Bag([2], centres, np.array([0.0, 1.0]))
    expected = np.exp(-1.0) / (1.0 + np.exp(-1.0))
    assert bag.predict(np.array([[1.0, 0.0]], np.float32)) == pytest.approx([expected], abs=1e-4)


def test_without_clusters_nothing_is_heard() -> None:
    empty = Bag([], np.zeros((0, 2), np.float32), np.zeros(0))
    assert empty.predict(np.ones((2, 2), np.float32)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("sizes", "values"), [([2], 3), ([3], 2), ([], 0)])
def test_clusters_that_do_not_add_up_are_refused(sizes: list[int], values: int) -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Clusters(sizes, np.zeros((3, 2), np.float32), np.zeros(values))
