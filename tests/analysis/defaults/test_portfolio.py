"""The greedy portfolio against all portfolios."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from analysis.defaults import greedy
from tests.reference.portfolio import best, mean_regret

MATRICES = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0, np.nan])),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(MATRICES)
def test_the_first_member_is_the_best_single_one(regrets) -> None:
    assert mean_regret(regrets, greedy(regrets, 1)) == pytest.approx(best(regrets, 1))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(MATRICES, st.integers(2, 4))
def test_what_a_portfolio_saves_is_within_the_bound_of_the_best(regrets, size: int) -> None:
    members = greedy(regrets, size, tolerance=0.0)
    saved, most = 1 - mean_regret(regrets, members), 1 - best(regrets, size)
    assert saved >= (1 - (1 - 1 / size) ** size) * most - 1e-9
    assert len(members) == len(set(members)) <= size
    for k in range(1, len(members)):
        assert greedy(regrets, k, tolerance=0.0) == members[:k], "a shorter one is the beginning of a longer one"


def test_a_greedy_choice_is_not_always_the_best_and_the_twin_knows() -> None:
    regrets = np.array([[0.0, 0.9], [0.4, 0.4], [0.9, 0.0]])
    assert greedy(regrets, 2) == [1, 0]
    assert mean_regret(regrets, [1, 0]) == pytest.approx(0.2)
    assert best(regrets, 2) == 0


def test_ties_go_to_the_lower_regret_of_its_own_and_then_to_the_earlier() -> None:
    assert greedy(np.array([[0.5, 0.5], [0.5, 0.5]]), 2) == [0]
    # after the first, the second and third save the same; the third is better by itself
    regrets = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.5, 1.0, 0.0]])
    assert greedy(regrets, 2) == [0, 2]


def test_missing_cells_are_no_help_and_all_missing_no_crash() -> None:
    regrets = np.array([[np.nan, 0.0], [0.2, 0.3]])
    assert greedy(regrets, 2) == [1, 0]
    assert greedy(np.full((2, 2), np.nan), 2) == [0]
    assert greedy(np.empty((0, 3)), 2) == []


def test_it_stops_when_a_member_saves_too_little() -> None:
    regrets = np.array([[0.1, 0.1], [0.0999, 1.0]])
    assert greedy(regrets, 2) == [0]
    assert greedy(regrets, 2, tolerance=0.0) == [0, 1]


@pytest.mark.parametrize("bad", [[[1.5]], [[-0.1]], [[np.inf]], [0.1, 0.2]])
def test_what_is_no_regret_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        greedy(np.array(bad), 1)
    with pytest.raises(ValueError, match="size must be at least 1"):
        greedy(np.zeros((1, 1)), 0)
