"""Across workloads: aggregate scores, profiles and ranks, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from analysis.comparison.aggregate import (
    _friedman_statistic,
    aggregate,
    critical_difference,
    friedman,
    improvement,
    interquartile_mean,
    normalized,
    profile_score,
    profiles,
    ranks,
    takes_part,
)
from analysis.figures.comparison import scores
from analysis.intervals import Floats, probability_interval
from tests.support.made_campaign import made

THREE = {
    w: {"sofim": [0.8 + d, 0.82 + d], "sgd": [0.7 + d, 0.72 + d], "adam": [0.6 + d, 0.62 + d]}
    for w, d in (("u", 0.0), ("v", 0.01), ("w", 0.02))
}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_scores_go_from_what_training_starts_from_to_the_best_mean() -> None:
    [contest] = made({"w": {"sofim": [0.8, 0.9], "sgd": [0.6, 0.4]}}).contests()
    # after their first epochs the runs are at 0.4, 0.45, 0.3 and 0.2: median 0.35; the best mean is 0.85
    found = normalized(contest)
    assert found["sofim"] == pytest.approx([0.45 / 0.5, 0.55 / 0.5])
    assert found["sgd"] == pytest.approx([0.25 / 0.5, 0.05 / 0.5])


@pytest.mark.slow
def test_the_figure_of_scores_names_workloads_without_curves_where_0_is_the_worst_run() -> None:
    campaign = made(THREE)
    before = scores.draw(campaign.compare())
    campaign.curves = campaign.curves[~campaign.curves["study"].str.contains("/v/")]
    after = scores.draw(campaign.compare())
    assert before is not None
    assert "what training starts from. The" in before.caption
    assert after is not None
    assert "what training starts from (on v: its worst run). The" in after.caption


def test_scores_where_less_is_better_and_where_all_are_equal() -> None:
    [contest] = made({"w": {"sofim": [0.2, 0.2], "sgd": [0.3, 0.9]}}, direction="minimize").contests()
    # starts: 0.4, 0.4, 0.6, 1.8: median 0.5
    assert normalized(contest)["sgd"] == pytest.approx([2 / 3, 0.0])  # never below 0
    campaign = made({"w": {"sofim": [0.2, 0.2], "sgd": [0.2, 0.2]}})
    campaign.curves["value"] = 0.2
    [contest] = campaign.contests()
    assert {name: found.tolist() for name, found in normalized(contest).items()} == {"sofim": [1, 1], "sgd": [1, 1]}


def test_the_interquartile_mean_drops_a_quarter_at_either_end() -> None:
    assert interquartile_mean(np.array([[0.0, 1.0, 2.0, 100.0], [1.0, 1.0, 1.0, 1.0]])).tolist() == [1.5, 1.0]


def test_who_cannot_train_on_half_of_the_workloads_is_not_first() -> None:
    runs = {
        "u": {"a": [0.90, 0.901] * 5, "b": [0.89, 0.891] * 5},
        "v": {"a": [], "b": [0.89, 0.891] * 5},
    }
    found = aggregate(made(runs, trials={"v": {"a": ["diverged"] * 3}}).contests(), rng()).set_index("optimizer")
    assert found.loc["a", "iqm"] == pytest.approx(0.5, abs=0.05), "ten runs of 1 and one of 0, each half of the weight"
    assert found.index[0] == "b"


def test_the_exact_probability_of_agreement_counts_ties() -> None:
    """Two of three tied for first: three arrangements, so that three workloads agree by chance in 1 of 9 cases."""
    assert friedman(np.array([[1.5, 1.5, 3.0]] * 3)) == pytest.approx(1 / 9)
    assert friedman(np.array([[1.0, 2.0, 3.0]] * 3)) == pytest.approx(1 / 36)


def test_the_probability_of_improvement_is_the_mean_over_workloads() -> None:
    """By hand: 3 of 4 pairs and a tie, then none, of four."""
    found = improvement(made({"u": {"sofim": [3, 2], "sgd": [1, 2]}, "v": {"sofim": [1, 2], "sgd": [3, 4]}}).contests())
    assert found[["a", "b", "workloads"]].values.tolist() == [["sofim", "sgd", 2]]
    assert found.loc[0, "probability_of_improvement"] == pytest.approx((3.5 / 4 + 0) / 2)


def test_of_one_workload_it_is_that_of_the_pair_and_always_winning_is_not_certain() -> None:
    campaign = made({"u": {"sofim": [0.9, 0.8, 0.85], "sgd": [0.1, 0.3, 0.2]}})
    [row] = improvement(campaign.contests()).to_dict("records")
    assert row["probability_of_improvement"] == 1
    assert row["probability_low"] == pytest.approx(probability_interval(1.0, 3, 3)[0])
    assert row["probability_low"] < 0.7
    assert row["probability_high"] == 1
    [three] = improvement(made({w: {k: THREE[w][k] for k in ("sofim", "sgd")} for w in THREE}).contests()).to_dict(
        "records"
    )
    assert three["probability_low"] > probability_interval(1.0, 2, 2)[0], "three workloads say more than one"


def test_a_hopeless_optimizer_always_loses_and_a_single_run_gives_no_interval() -> None:
    trials = {"u": {"sgd": ["diverged"] * 3}}
    [row] = improvement(made({"u": {"sofim": [0.5, 0.6], "sgd": []}}, trials=trials).contests()).to_dict("records")
    assert row["probability_of_improvement"] == 1
    [row] = improvement(made({"u": {"sofim": [0.5], "sgd": [0.4]}}).contests()).to_dict("records")
    assert np.isnan([row["probability_low"], row["probability_high"]]).all()
    assert not len(improvement([]))


@pytest.mark.nightly
@pytest.mark.slow
def test_the_interval_of_the_mean_probability_covers() -> None:
    """Three workloads of different truths, ten runs a side: 96 % of 400 campaigns when this was written."""
    campaigns = 200
    shifts = (0.0, 0.5, 1.5)
    truth = float(np.mean([stats.norm.cdf(shift / math.sqrt(2)) for shift in shifts]))
    generator = rng()
    held = 0
    for _ in range(campaigns):
        runs = {
            f"w{i}": {"sofim": list(generator.normal(shift, 1, 10)), "sgd": list(generator.normal(0, 1, 10))}
            for i, shift in enumerate(shifts)
        }
        [row] = improvement(made(runs).contests()).to_dict("records")
        held += row["probability_low"] <= truth <= row["probability_high"]
    assert held >= stats.binom.ppf(1e-3, campaigns, 0.95)


def test_aggregates_are_sorted_and_their_intervals_hold_them() -> None:
    table = aggregate(made(THREE).contests(), rng())
    assert table["optimizer"].tolist() == ["sofim", "sgd", "adam"]
    assert ((table["low"] <= table["iqm"]) & (table["iqm"] <= table["high"])).all()
    assert table["workloads"].tolist() == [3] * 3
    assert table["runs"].tolist() == [6] * 3
    single = aggregate(made({"w": {"sofim": [0.5], "sgd": [0.4]}}).contests(), rng())
    assert single[["low", "high"]].isna().all(axis=None)


def test_the_bootstrap_of_the_aggregate_draws_runs_within_workloads() -> None:
    runs = {w: {"sofim": [a, b], "sgd": [0.9, 0.9]} for w, a, b in (("u", 0.5, 0.5), ("w", 0.8, 0.8))}
    table = aggregate(made(runs).contests(), rng()).set_index("optimizer")
    # runs of a workload are equal: nothing can be drawn but what is there
    assert table.loc["sofim", "low"] == table.loc["sofim", "high"] == table.loc["sofim", "iqm"]


def test_a_workload_that_not_everybody_ran_is_left_out_and_named() -> None:
    runs = {"u": {"sofim": [0.5, 0.6], "sgd": [0.5, 0.6]}, "v": {"sofim": [0.5, 0.6], "sgd": []}}
    inside, outside = takes_part(made(runs).contests())
    assert ([contest.workload for contest in inside], outside) == (["u"], ["v"])
    del runs["v"]["sgd"]  # no study at all
    assert takes_part(made(runs).contests())[1] == ["v"]


def test_an_optimizer_without_a_single_complete_trial_takes_part_and_is_last() -> None:
    runs = {w: {"sofim": [0.5, 0.6], "sgd": []} for w in ("u", "v")}
    broken = {w: {"sgd": ["diverged", "diverged", "failed"]} for w in ("u", "v")}
    found = made(runs, trials=broken, targets={"u": 0.5, "v": 0.5}).contests()
    assert takes_part(found)[1] == []
    assert aggregate(found, rng()).set_index("optimizer").loc["sgd", "iqm"] == 0
    assert ranks(found, rng()).set_index("optimizer")["mean_rank"].to_dict() == {"sofim": 1, "sgd": 2}
    _, score = profiles(found, rng())
    assert score.set_index(["axis", "optimizer"]).loc[("epochs", "sgd"), "score"] == 0


def test_algoperfs_score_by_hand() -> None:
    # ratios 1 and 2.5: the profile is 1/2 from 1 on and 1 from 2.5 on; over 3: (0.5 * 1.5 + 1 * 1.5) / 3
    assert profile_score(np.array([1.0, 2.5])) == pytest.approx(0.75)
    assert profile_score(np.array([4.0, np.inf])) == 0
    assert profile_score(np.array([1.0, 1.0])) == 1


@given(st.lists(st.one_of(st.floats(1, 6), st.just(math.inf)), min_size=1, max_size=6).map(np.array))
def test_algoperfs_score_is_the_integral_of_the_profile(ratios: Floats) -> None:
    tau = np.linspace(1, 4, 30_001)
    slow = integrate.trapezoid((ratios <= tau[:, None]).mean(axis=1), tau) / 3
    assert profile_score(ratios) == pytest.approx(slow, abs=1e-3)


def test_profiles_of_a_campaign() -> None:
    # sgd takes 2 s an epoch; a target of 0.5 is reached in epoch 2 by both
    runs = {w: {"sofim": [0.8, 0.8], "sgd": [0.8, 0.8]} for w in ("u", "v")}
    profile, score = profiles(made(runs, targets={"u": 0.5, "v": 0.5}, speed={"sgd": 2.0}).contests(), rng())
    scores = score.set_index(["axis", "optimizer"])["score"]
    assert scores[("seconds", "sofim")] == 1
    assert scores[("seconds", "sgd")] == pytest.approx(2 / 3)
    assert scores[("epochs", "sgd")] == 1
    own = profile[(profile["axis"] == "seconds") & (profile["optimizer"] == "sgd")]
    assert list(zip(own["tau"], own["share"], strict=True)) == [(1.0, 0.0), (2.0, 1.0), (4.0, 1.0)]


def test_nobody_arriving_is_a_score_of_nothing() -> None:
    _, score = profiles(made(THREE, targets={"u": 9, "v": 9, "w": 9}).contests(), rng())
    assert (score[["score", "low", "high"]] == 0).all(axis=None)


def test_each_optimizer_has_an_interval_of_its_own() -> None:
    found = made({"u": {"sofim": [0.8] * 5, "sgd": [0.1] * 5}}, targets={"u": 0.5}).contests()
    table = profiles(found, rng())[1].set_index(["axis", "optimizer"])[["low", "high"]]
    assert table.loc[("epochs", "sofim")].tolist() == [1, 1]
    assert table.loc[("epochs", "sgd")].tolist() == [0, 0]


def test_ranks_by_hand_and_with_what_warning() -> None:
    table = ranks(made(THREE).contests(), rng())
    assert table["optimizer"].tolist() == ["sofim", "sgd", "adam"]
    assert table["mean_rank"].tolist() == [1, 2, 3]
    assert (table["low"] == table["mean_rank"]).all()
    assert table["friedman_p"].tolist() == pytest.approx([1 / 36] * 3)  # all agree: 6 orders, 6 / 6³
    assert table["critical_difference"].iloc[0] == pytest.approx(2.343 * math.sqrt(12 / 18), rel=1e-3)
    assert table["behind_best"].tolist() == [False, False, True]
    assert "3 workloads" in table["warning"].iloc[0]


def test_one_workload_ranks_and_warns_and_tests_nothing() -> None:
    table = ranks(made({"w": {"sofim": [0.5, 0.6], "sgd": [0.5, 0.6], "adam": [0.1, 0.2]}}).contests(), rng())
    assert table["mean_rank"].tolist() == [1.5, 1.5, 3]
    assert table["friedman_p"].isna().all()
    assert not table["behind_best"].any()
    assert table["warning"].iloc[0].startswith("one workload")
    assert ranks(made({"w": {"sofim": [0.5]}}).contests(), rng()).empty
    assert ranks([], rng()).empty


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_values_are_those_of_demsars_table(k: int, q: float) -> None:
    assert critical_difference(k, 20) == pytest.approx(q * math.sqrt(k * (k + 1) / 120), rel=5e-4)


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(3, 5), st.randoms(use_true_random=False))
def test_friedmans_statistic_is_scipys_with_ties_too(n: int, k: int, random: object) -> None:
    table = np.array([[random.randint(0, 3) for _ in range(k)] for _ in range(n)], float)  # type: ignore[attr-defined]
    rows = stats.rankdata(table, axis=1)
    if np.ptp(rows) == 0:
        assert friedman(rows) == 1
        return
    assert _friedman_statistic(rows)[0] == pytest.approx(stats.friedmanchisquare(*table.T).statistic)
    assert 0 <= friedman(rows) <= 1


def test_iman_and_davenports_form_by_hand() -> None:
    # Demšar (2006), 3.2.1: 14 data sets, 4 classifiers, mean ranks 3.143, 2.000, 2.893, 1.964: 9.28 and 3.69
    chi_square = 12 * 14 / 20 * (3.143**2 + 2.0**2 + 2.893**2 + 1.964**2 - 4 * 25 / 4)
    assert chi_square == pytest.approx(9.28, abs=0.03)
    table = np.array([[1.0, 2, 3], [1, 2, 3], [1, 3, 2], [2, 1, 3]])
    statistic = 12 * 4 / 12 * (1.25**2 + 2**2 + 2.75**2 - 3 * 16 / 4)
    ratio = 3 * statistic / (4 * 2 - statistic)
    assert friedman(table) == pytest.approx(stats.f.sf(ratio, 2, 6))
