"""Importances against functions whose shares are known, and the coverage of their intervals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, sobol_indices, uniform

from analysis.sensitivity.importance import LEVEL, importance, predictions, refits, rescaling, score
from analysis.sensitivity.surrogate import BINS, Floats, cell_of, decompose, fit
from tests.reference.sensitivity import FUNCTIONS, SOBOL_G, Truth


def study(truth: Truth, num_trials: int, rng: np.random.Generator, noise: float = 0.0) -> tuple[Floats, Floats]:
    points = rng.random((num_trials, len(truth.first) + 1))  # one more parameter, which does nothing
    values = truth.function(points)
    return points, values + noise * values.std() * rng.standard_normal(num_trials)


@pytest.mark.parametrize("truth", FUNCTIONS, ids=lambda truth: truth.name)
def test_the_stated_truths_are_those_that_scipy_finds(truth: Truth) -> None:
    found = sobol_indices(
        func=lambda x: truth.function(x.T), n=2**13, dists=[uniform()] * len(truth.first), rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(found.first_order, truth.first, atol=0.02)
    np.testing.assert_allclose(found.total_order, truth.total, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("truth", FUNCTIONS, ids=lambda truth: truth.name)
def test_known_shares_lie_in_the_intervals(truth: Truth) -> None:
    rng = np.random.default_rng(5)
    points, values = study(truth, 600, rng)
    found = importance(refits(points, values, rng, num_refits=12), values)
    d = len(truth.first)
    slack = 0.01  # one study of many: the 90 % intervals may miss by a hair; coverage is measured below
    for shares, true in ((found.first, truth.first), (found.total, truth.total)):
        assert (shares[1, :d] - slack <= true).all()
        assert (true <= shares[2, :d] + slack).all()
        assert (shares[2] - shares[1] < 0.3).all()
    assert found.total[1, d] <= found.noise_total


@pytest.mark.slow
def test_an_additive_function_has_no_interactions() -> None:
    rng = np.random.default_rng(2)
    points = rng.random((400, 3))
    values = np.sin(3 * points[:, 0]) + points[:, 1] ** 2
    found = importance(refits(points, values, rng, num_refits=10), values)
    assert all(share[0] < 0.02 and share[1] == 0.0 for share in found.pairs.values())
    np.testing.assert_allclose(found.first[0], found.total[0], atol=0.03)


@pytest.mark.slow
def test_a_product_has_only_its_interaction() -> None:
    rng = np.random.default_rng(3)
    points = rng.random((500, 3))
    values = (points[:, 0] - 0.5) * (points[:, 1] - 0.5)
    found = importance(refits(points, values, rng, num_refits=10), values)
    assert found.pairs[0, 1][0] > 0.8
    assert found.pairs[0, 1][1] <= 1.0 <= found.pairs[0, 1][2] + 0.02
    assert found.first[0].max() < 0.08


def test_the_decomposition_is_that_of_the_forest() -> None:
    """The exact averages over boxes against averages over many points."""
    rng = np.random.default_rng(0)
    points = rng.random((150, 3))
    surrogate = fit(points, points[:, 0] * points[:, 1] + points[:, 2], rng, num_trees=5)
    components = decompose(surrogate)
    cloud = rng.random((4000, 3))
    assert components.mean == pytest.approx(surrogate(cloud).mean(), abs=0.02)
    fixed = cloud.copy()
    inside = (np.arange(4000) % 40 + 0.5) / 40 / BINS  # spread over cell 20
    fixed[:, 1] = 20 / BINS + inside
    assert components.mean + components.mains[1, 20] == pytest.approx(surrogate(fixed).mean(), abs=0.02)
    fixed[:, 2] = 7 / BINS + rng.random(4000) / BINS
    pair = components.mean + components.mains[1, 20] + components.mains[2, 7] + components.pairs[1, 2][20, 7]
    assert pair == pytest.approx(surrogate(fixed).mean(), abs=0.02)
    np.testing.assert_allclose(components.mains.sum(axis=1), 0, atol=1e-5)
    for table in components.pairs.values():
        np.testing.assert_allclose(table.sum(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(table.sum(axis=1), 0, atol=1e-5)
    assert list(components.pairs) == list(combinations(range(3), 2))


def test_an_effect_on_top_of_a_large_number_is_found_as_without_it() -> None:
    """Single precision would lose it, did anything large cancel."""
    points = np.random.default_rng(0).random((150, 3))
    values = points[:, 0] * points[:, 1] + points[:, 2]
    surrogate = fit(points, values, np.random.default_rng(1))
    plain = decompose(surrogate)
    for tree in surrogate.trees:
        tree.value[:] += 1e6
    lifted = decompose(surrogate)
    assert lifted.mean == pytest.approx(plain.mean + 2e6), "two rounds"
    np.testing.assert_allclose(lifted.mains, plain.mains, atol=1e-4)
    np.testing.assert_allclose(lifted.pairs[0, 1], plain.pairs[0, 1], atol=1e-4)


def test_cells_include_both_ends() -> None:
    assert cell_of(np.array([0.0, 0.5, 1.0])).tolist() == [0, BINS // 2, BINS - 1]


def test_rescaling_grows_what_is_shrunk_and_drops_what_is_invented() -> None:
    rng = np.random.default_rng(0)
    design = rng.standard_normal((2000, 3))
    values = 1.5 * design[:, 0] + 1.0 * design[:, 1] + 0.1 * rng.standard_normal(2000)
    np.testing.assert_allclose(rescaling(design, values), [1.5, 1.0, 0.0], atol=0.02)
    assert rescaling(design[:2], values[:2]).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.slow
def test_the_same_generator_gives_the_same_numbers_with_any_number_of_threads() -> None:
    points, values = study(SOBOL_G, 100, np.random.default_rng(1))
    one = refits(points, values, np.random.default_rng(7), num_refits=4, workers=1)
    two = refits(points, values, np.random.default_rng(7), num_refits=4, workers=2)
    other = refits(points, values, np.random.default_rng(8), num_refits=4)
    np.testing.assert_array_equal(predictions(one, points), predictions(two, points))
    np.testing.assert_array_equal(importance(one, values).total, importance(two, values).total)
    assert not np.array_equal(importance(one, values).total, importance(other, values).total)


@pytest.mark.slow
def test_out_of_bag_score_tells_signal_from_noise() -> None:
    rng = np.random.default_rng(4)
    points = rng.random((200, 2))
    signal, noise = 10 * points[:, 0], rng.standard_normal(200)
    assert score(refits(points, signal, rng, num_refits=6), signal) > 0.95
    assert score(refits(points, noise, rng, num_refits=6), noise) < 0.2
    constant = np.ones(200)
    assert np.isnan(score(refits(points, constant, rng, num_refits=2), constant))


@pytest.mark.slow
def test_an_inactive_parameter_has_the_effect_it_has_where_it_is_active() -> None:
    """x1 counts only where x0 chooses it: f = [x0 < ½]·x1, whose shares are known."""
    rng = np.random.default_rng(6)
    points = rng.random((600, 2))
    active = points[:, 0] < 0.5
    values = np.where(active, points[:, 1], 0.0)
    points[~active, 1] = np.nan
    found = importance(refits(points, values, rng, num_refits=12), values)
    # E f = 1/4, E f² = 1/6; Var E[f|x0] = 1/16, Var E[f|x1] = 1/48, Var f = 5/48.
    np.testing.assert_allclose(found.first[0], [0.6, 0.2], atol=0.06)
    np.testing.assert_allclose(found.pairs[0, 1][0], 0.2, atol=0.06)
    assert (found.first[1] <= [0.6, 0.2]).all()
    assert (found.first[2] >= [0.6, 0.2]).all()


@pytest.mark.nightly(by_day=["ishigami"])
@pytest.mark.slow
@pytest.mark.parametrize("truth", FUNCTIONS, ids=lambda truth: truth.name)
def test_coverage_of_the_intervals(truth: Truth, nightly: bool) -> None:
    """The 90 % intervals hold the truth at least nearly as often as they say.

    Measured over 30 studies each, first and total order of all parameters that have an effect, in percent: sobol-g 96
    (200 trials), 99 (300 trials with noise of half the spread) and 95 (1,000); ishigami 98 (200) and 100 (300 with
    noise). So the intervals are wide rather than narrow, with exceptions: the first order of sobol-g's strongest
    parameter, overestimated at 1,000 trials, is held by 77 % of them, no other share by less than 83 %.
    """
    repetitions, hits, inert = 30 if nightly else 6, [], []
    for seed in range(repetitions):
        rng = np.random.default_rng(1000 + seed)
        points, values = study(truth, 300, rng, noise=0.2)
        found = importance(refits(points, values, rng), values)
        d = len(truth.first)
        for shares, true in ((found.first, truth.first), (found.total, truth.total)):
            hits.extend((shares[1, :d] <= true) & (true <= shares[2, :d]))
        inert.append(found.total[1, d] <= found.noise_total and found.first[1, d] <= found.noise_first)
    # Shares of one study are not independent, so the bound is for as many draws as there are studies.
    assert np.mean(hits) >= binom.ppf(0.01, repetitions, LEVEL) / repetitions
    assert sum(inert) >= binom.ppf(0.01, repetitions, 0.95)


@pytest.mark.slow
def test_a_parameter_without_effect_reaches_the_noise_line(nightly: bool) -> None:
    """In at least 95 % of studies; measured: in all of 30 studies in each of the settings above."""
    repetitions, reached = 60 if nightly else 15, 0
    for seed in range(repetitions):
        rng = np.random.default_rng(2000 + seed)
        points = rng.random((100, 3))
        values = points[:, 0] + points[:, 1] ** 2 + 0.2 * rng.standard_normal(100)
        found = importance(refits(points, values, rng, num_refits=10, num_trees=5), values)
        reached += bool(found.total[1, 2] <= found.noise_total and found.first[1, 2] <= found.noise_first)
    assert reached >= binom.ppf(0.01, repetitions, 0.95)
