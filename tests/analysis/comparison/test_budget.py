"""What k trials buy: the formula against every subset, bands, and never one method passed off as another."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison.budget import MOST_POINTS, best_of_weights, budget_curves, expected_best, incumbents
from tests.reference import expected_best as reference
from tests.support.made_campaign import TRIAL, made

RUNS = {"w": {"sofim": [0.9, 0.8]}}


@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=9), maximize=st.booleans())
def test_expected_best_is_the_mean_over_all_subsets(values: list[float], maximize: bool) -> None:
    ks = range(1, len(values) + 1)
    direction = "maximize" if maximize else "minimize"
    found, low, high = expected_best(np.array(values), ks, np.random.default_rng(0), direction=direction, draws=50)
    slow = [reference.expected_best(values, k, maximize=maximize) for k in ks]
    assert found == pytest.approx(slow, abs=1e-9)
    if len(values) > 1:
        assert (low <= high + 1e-12).all()
        assert (low <= found + 1e-12).all()
        assert (found <= high + 1e-12).all()
        good = high if maximize else -low
        assert np.isinf(good).tolist() == [2 * k > len(values) for k in ks]


@given(n=st.integers(1, 300), data=st.data())
def test_weights_are_probabilities(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    [weights] = best_of_weights(n, [k])
    exact = [math.comb(n - j, k - 1) / math.comb(n, k) for j in range(1, n + 1)]
    assert weights == pytest.approx(exact, rel=1e-8, abs=1e-12)
    assert weights.sum() == pytest.approx(1)


def test_a_k_beyond_the_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="from 1 to the number of trials, 3"):
        best_of_weights(3, [4])


def curve(made_trials: list[float | str], **changes: object) -> pd.DataFrame:
    campaign = made(RUNS, trials={"w": {"sofim": made_trials}}, **changes)
    return budget_curves(campaign.contests(), np.random.default_rng(0))


def test_random_search_without_pruning_gets_the_formula() -> None:
    found = curve([0.2, 0.8, 0.5])
    assert found["k"].tolist() == [1, 2, 3]
    assert found["expected_best"].tolist() == pytest.approx([0.5, 0.7, 0.8])
    assert set(found["method"]) == {"expected best of k of N"}
    assert set(found["study"]) == {"made/w/sofim"}
    assert list(found.columns) == ["study", "k", "expected_best", "low", "high", "method"]


def test_trials_that_broke_have_the_worst_value_and_those_to_be_asked_again_none() -> None:
    found = curve([0.2, "diverged", 0.8, "failed", "lost", "running"])
    assert found["expected_best"].iloc[0] == pytest.approx((0.2 * 3 + 0.8) / 4)
    assert found["k"].max() == 4


@pytest.mark.parametrize("how", [{"sampler": "tpe"}, {"pruner": "hyperband"}, {"sampler": "qmc"}])
def test_any_other_campaign_gets_its_own_path_without_a_band(how: dict[str, str]) -> None:
    found = curve([0.2, "pruned", 0.8, 0.5], **how)
    assert found["expected_best"].tolist() == [0.2, 0.2, 0.8, 0.8]
    assert found["low"].isna().all()
    assert set(found["method"]) == {"one study"}


def test_replicates_are_averaged_and_counted_and_said() -> None:
    campaign = made(RUNS, trials={"w": {"sofim": [0.1, 0.2, 0.3]}}, sampler="tpe")
    rows = [("x", "w", "sofim", n, "complete", v, 1.0, 1.0, None, {}, 0, False) for n, v in enumerate((0.3, 0.2, 0.5))]
    second = pd.DataFrame(rows, columns=TRIAL)
    replicates = {"made/w/sofim": [campaign.trials, second]}
    found = budget_curves(campaign.contests(), np.random.default_rng(0), replicates)
    assert found["expected_best"].tolist() == pytest.approx([0.2, 0.25, 0.4])
    assert found["high"].iloc[0] - 0.2 == pytest.approx(12.7062 * 0.1, rel=1e-4)  # t of 1, standard error 0.1
    assert set(found["method"]) == {"mean of 2 replicates"}


def test_less_is_better_where_it_is_minimized() -> None:
    found = curve([0.2, 0.8, 0.5], direction="minimize")
    assert found["expected_best"].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert (found["low"] <= found["high"]).all()
    assert incumbents(np.array([np.nan, 3.0, 4.0, 1.0]), direction="minimize")[1:].tolist() == [3.0, 3.0, 1.0]


def test_nothing_complete_is_no_curve() -> None:
    assert curve(["diverged", "failed"]).empty
    assert curve([]).empty


def test_a_long_study_is_thinned_out_with_its_ends_kept() -> None:
    found = curve(list(np.random.default_rng(0).random(1500)))
    assert len(found) <= MOST_POINTS
    assert found["k"].iloc[[0, -1]].tolist() == [1, 1500]
    assert (np.diff(found["expected_best"]) >= -1e-12).all()


@pytest.mark.slow
def test_coverage_of_the_band_is_as_stated() -> None:
    """Sixty normal trials; up to half of them on both sides, and beyond on the side that can be told."""
    ks = [1, 10, 30, 60]
    rng = np.random.default_rng(4)
    expected = [rng.standard_normal((100_000, k)).max(axis=1).mean() for k in ks]
    held = np.zeros(len(ks))
    for _ in range(400):
        _, low, high = expected_best(rng.standard_normal(60), ks, rng, draws=500)
        held += (low <= expected) & (expected <= high)
    assert held / 400 == pytest.approx([0.95, 0.92, 0.88, 0.99], abs=0.05)
