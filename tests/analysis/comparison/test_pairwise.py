"""Which of two configurations is called better: by hand, and how often wrongly, and how often rightly.

Whether an optimizer is, over searches, is in `test_searches`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from analysis.comparison.inclusion import inclusion
from analysis.comparison.pairwise import between, comparisons, holm
from analysis.intervals import Floats
from search_spaces import configured
from tests.support.made_campaign import Made, made


@pytest.fixture
def campaigns(nightly: bool) -> int:
    """How many are simulated; the bands of what may be found are computed from it."""
    return 1000 if nightly else 200


def most(campaigns: int) -> float:
    """The share of campaigns that one of ten thousand tests finds exceeded where one campaign of twenty is wrong."""
    return float(binom.ppf(1 - 1e-4, campaigns, 0.05)) / campaigns


def test_a_pair_by_hand() -> None:
    table = comparisons(made({"w": {"sofim": [0.9, 0.8, 0.7], "sgd": [0.6, 0.5, 0.7]}}).contests())
    [row] = table.to_dict("records")
    assert (row["workload"], row["a"], row["b"]) == ("w", "sofim", "sgd")
    assert row["difference"] == pytest.approx(0.2)
    error = math.sqrt(0.01 / 3 + 0.01 / 3)
    assert row["difference_low"] == pytest.approx(0.2 - 2.776445 * error)  # t of 4 degrees of freedom
    assert row["probability_of_improvement"] == pytest.approx(8.5 / 9)
    assert row["configurations"] == "no difference shown"
    assert (row["data"], row["runs_a"], row["runs_b"]) == ("test", 3, 3)


def test_less_is_better_where_it_is_minimized() -> None:
    runs = {"w": {"sofim": [0.1, 0.11, 0.12], "sgd": [0.5, 0.51, 0.52]}}
    [row] = comparisons(made(runs, direction="minimize").contests()).to_dict("records")
    assert row["difference"] == pytest.approx(-0.4)
    assert row["difference_high"] < 0
    assert (row["configurations"], row["probability_of_improvement"]) == ("better", 1.0)


def test_a_run_that_diverged_is_the_worst_and_is_not_dropped() -> None:
    found = made({"w": {"sofim": [0.9, 0.9, "diverged", "failed"], "sgd": [0.8, 0.8, 0.8, 0.8]}}).contests()
    [row] = comparisons(found).to_dict("records")
    # the median of complete runs after their first epoch is 0.8 / 2
    assert row["difference"] == pytest.approx((0.9 + 0.9 + 0.4 + 0.4) / 4 - 0.8)
    assert row["probability_of_improvement"] == 0.5
    assert (row["runs_a"], row["configurations"]) == (4, "no difference shown")


def test_where_runs_are_ordered_it_loses_even_to_one_that_learnt_nothing() -> None:
    campaign = made({"w": {"sofim": ["diverged", "diverged"], "sgd": [0.8, 0.8]}})
    campaign.curves.loc[campaign.curves["study"] == "made/w/sgd", "value"] = 0.8  # so that 0.8 is the worst value too
    [row] = comparisons(campaign.contests()).to_dict("records")
    assert (row["difference"], row["probability_of_improvement"]) == (0, 0)


def test_it_is_the_worst_on_validation_data_too() -> None:
    [contest] = made({"w": {"sofim": [0.9, "diverged"], "sgd": [0.8, 0.7]}}, test=False).contests()
    assert contest.data == "validation"
    assert contest.values(contest.studies[0]).tolist() == [0.9, 0.4]
    [contest] = made({"w": {"sofim": [0.9, "failed"], "sgd": [0.8, 0.7]}}, direction="minimize").contests()
    assert contest.values(contest.studies[0], "validation").tolist() == [0.9, 1.6]


def test_how_bad_it_counts_is_not_for_one_wild_epoch_of_a_third_optimizer_to_say() -> None:
    campaign = made({"w": {"sofim": [0.9, 0.9, "diverged"], "sgd": [0.8, 0.8, 0.8], "adam": [0.7, 0.7, 0.7]}})
    before = comparisons(campaign.contests()).set_index(["a", "b"])
    wild = campaign.curves.index[(campaign.curves["study"] == "made/w/adam") & (campaign.curves["epoch"] == 1)][0]
    campaign.curves.loc[wild, "value"] = -1e4
    after = comparisons(campaign.contests()).set_index(["a", "b"])
    assert after.loc[("sofim", "sgd"), "difference"] == pytest.approx(
        before.loc[("sofim", "sgd"), "difference"], abs=0.1
    )


def test_runs_that_are_asked_again_or_still_run_do_not_count_yet() -> None:
    found = made({"w": {"sofim": [0.9, 0.8, "lost", "running"], "sgd": [0.8, 0.7]}}).contests()
    assert comparisons(found)["runs_a"].tolist() == [2]


def test_all_diverged_lose_to_those_that_did_not() -> None:
    found = made({"w": {"sofim": ["diverged"] * 4, "sgd": [0.81, 0.8, 0.82, 0.8]}}).contests()
    [row] = comparisons(found).to_dict("records")
    assert (row["configurations"], row["probability_of_improvement"]) == ("worse", 0.0)


def test_a_single_seed_shows_no_difference_and_has_no_interval() -> None:
    [row] = comparisons(made({"w": {"sofim": [0.9], "sgd": [0.1]}}).contests()).to_dict("records")
    assert row["difference"] == pytest.approx(0.8)
    assert math.isnan(row["difference_low"])
    assert row["configurations"] == "no difference shown"


def test_ties_are_no_difference() -> None:
    [row] = comparisons(made({"w": {"sofim": [0.9] * 4, "sgd": [0.9] * 4}}).contests()).to_dict("records")
    assert (row["difference"], row["probability_of_improvement"], row["configurations"]) == (
        0,
        0.5,
        "no difference shown",
    )


def test_without_test_data_validation_is_compared_and_the_table_says_so() -> None:
    found = made({"w": {"sofim": [0.9, 0.8], "sgd": [0.5, 0.6]}}, test=False).contests()
    assert comparisons(found)["data"].tolist() == ["validation"]


def test_a_former_winners_runs_do_not_count() -> None:
    campaign = made({"w": {"sofim": [0.9, 0.8, 0.7], "sgd": [0.5, 0.6, 0.5]}})
    of_another = campaign.confirmations["number"] == 0
    campaign.confirmations.loc[of_another, "confirms"] = 1  # the winner is trial 2
    assert comparisons(campaign.contests())["runs_a"].tolist() == [2]


def test_holm_by_hand() -> None:
    levels, adjusted = holm([0.01, math.nan, 0.04, 0.03, 0.001])
    assert [round(level, 4) for level in levels] == [0.9833, 0.95, 0.975, 0.975, 0.9875]
    assert adjusted[0] == pytest.approx(0.03)
    assert math.isnan(adjusted[1])
    assert adjusted[2:] == pytest.approx([0.06, 0.06, 0.004])


@pytest.mark.slow
def test_a_verdict_agrees_with_its_corrected_p_value_and_both_views_of_a_pair_agree() -> None:
    rng = np.random.default_rng(3)
    names = ["sofim", "sgd", "adam", "adamw"]
    for _ in range(20):
        runs = {"w": {name: list(rng.normal(0.4 * place, 0.5, 6)) for place, name in enumerate(names)}}
        table = comparisons(made(runs).contests())
        for row in table.to_dict("records"):
            assert (row["configurations"] != "no difference shown") == (row["p_holm"] <= 0.05)
            other = between(table, "w", row["b"], row["a"])
            assert other is not None
            assert other["difference_low"] == -row["difference_high"]
            assert {row["configurations"], other["configurations"]} in ({"better", "worse"}, {"no difference shown"})
            assert (other["gain"], other["gain_low"], other["gain_high"]) == (
                -row["gain"], -row["gain_high"], -row["gain_low"]
            )  # fmt: skip


def simulated(values: Floats) -> pd.DataFrame:
    """Comparisons of campaigns of one workload each; values (campaigns, optimizers, runs)."""
    _, num_optimizers, num_runs = values.shape
    names = [f"o{i}" for i in range(num_optimizers)]
    [contest] = made({"w": {name: [0.5] * num_runs for name in names}}).contests()
    runs = contest.runs.sort_values("study", key=lambda s: s.str.extract(r"o(\d+)$")[0].astype(int), kind="stable")
    campaigns = [
        dataclasses.replace(contest, workload=str(i), runs=runs.assign(test=drawn.ravel()))
        for i, drawn in enumerate(values)
    ]
    return pd.concat([comparisons([campaign]) for campaign in campaigns], ignore_index=True)


def share_called_different(values: Floats) -> float:
    table = simulated(values)
    return float((table["configurations"] != "no difference shown").groupby(table["workload"]).any().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["normal", pytest.param("skewed", marks=pytest.mark.slow), pytest.param("rounded", marks=pytest.mark.slow)]
)
def test_equal_optimizers_are_called_different_in_at_most_one_campaign_of_twenty(kind: str, campaigns: int) -> None:
    """Two optimizers with ten seeds each."""
    rng = np.random.default_rng(0)
    shape = (campaigns, 2, 10)
    draws = {
        "normal": lambda: rng.standard_normal(shape),
        "skewed": lambda: rng.exponential(size=shape),
        "rounded": lambda: rng.standard_normal(shape).round(),  # as accuracies on few examples are
    }
    assert share_called_different(draws[kind]()) <= most(campaigns)


@pytest.mark.nightly(by_day=["3"])
@pytest.mark.slow
@pytest.mark.parametrize("num_runs", [3, 10])
def test_also_where_four_optimizers_make_six_pairs(num_runs: int, campaigns: int) -> None:
    rng = np.random.default_rng(1)
    assert share_called_different(rng.standard_normal((campaigns // 2, 4, num_runs))) <= most(campaigns // 2)


@pytest.mark.nightly
@pytest.mark.slow
def test_also_where_a_campaign_has_eight_workloads(campaigns: int) -> None:
    """No sentence of a report is corrected for less than all of its pairs."""
    rng = np.random.default_rng(4)
    names = ["sofim", "sgd"]
    [contest] = made({"w": {name: [0.5] * 10 for name in names}}).contests()
    wrong = 0
    for _ in range(campaigns // 5):
        campaign = [
            dataclasses.replace(contest, workload=str(i), runs=contest.runs.assign(test=rng.standard_normal(20)))
            for i in range(8)
        ]
        wrong += (comparisons(campaign)["configurations"] != "no difference shown").any()
    assert wrong / (campaigns // 5) <= most(campaigns // 5)


def test_broken_runs_keep_a_better_mean_from_being_called_better() -> None:
    """They stand in the mean with what others reached after an epoch, which may be nearly as good as the rest."""
    runs = {"w": {"a": [0.975] * 3 + [0.976] * 4 + ["diverged"] * 3, "b": [0.955, 0.956] * 5}}
    campaign = made(runs)
    campaign.curves.loc[campaign.curves["epoch"] == 1, "value"] = 0.95
    [row] = comparisons(campaign.contests()).to_dict("records")
    assert row["difference_low"] > 0, "the means alone would say better"
    assert row["probability_low"] < 0.5
    assert row["configurations"] == "no difference shown"
    runs["w"]["b"] = ["diverged"] * 10
    [row] = comparisons(made(runs).contests()).to_dict("records")
    assert row["configurations"] == "better", "against one that never trains"


@pytest.mark.slow
def test_a_difference_of_one_standard_deviation_is_found_in_at_least_half(campaigns: int) -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal((campaigns, 2, 10))
    values[:, 0] += 1.0
    table = simulated(values)
    assert (table["configurations"] == "better").mean() >= 0.5
    assert (table["configurations"] == "worse").mean() == 0
    covered = (table["difference_low"] <= 1) & (table["difference_high"] >= 1)
    assert binom.ppf(1e-4, campaigns, 0.95) <= covered.sum() <= binom.ppf(1 - 1e-4, campaigns, 0.95)


def test_the_larger_optimizer_loses_only_where_its_interval_says_so() -> None:
    runs = {
        "lost": {"sofim": [0.50, 0.51, 0.52], "sgd": [0.80, 0.81, 0.82], "adam": [0.9, 0.8], "adamw": [0.8, 0.9]},
        "won": {"sofim": [0.80, 0.81, 0.82], "sgd": [0.50, 0.51, 0.52]},
        "once": {"sofim": [0.5], "sgd": [0.9]},
    }
    found = made(runs).contests()
    table = inclusion(found, comparisons(found)).set_index(["workload", "larger", "smaller"])
    assert table.loc[("lost", "sofim", "sgd"), "verdict"] == "search too small"
    assert table.loc[("lost", "sofim", "sgd"), "difference"] == pytest.approx(-0.3)
    assert table.loc[("lost", "adamw", "adam"), "verdict"] == "no loss shown"
    assert table.loc[("won", "sofim", "sgd"), "verdict"] == "larger is better"
    assert table.loc[("once", "sofim", "sgd"), "verdict"] == "not tested"
    assert len(table) == 4


def _give_space(campaign: Made, optimizer: str, space: Mapping[str, object]) -> None:
    campaign.studies = [
        dataclasses.replace(one, attributes={**one.attributes, "search_space": space})
        if one.optimizer == optimizer
        else one
        for one in campaign.studies
    ]


@pytest.mark.parametrize(
    ("larger", "changes", "smaller_changes", "contains"),
    [
        ("sofim", {}, {}, True),
        ("sofim", {}, {"nesterov": [False, True]}, False),
        ("sofim", {}, {"nesterov": True}, False),
        ("sofim", {"decay": "decoupled"}, {}, False),
        ("sofim", {"decay": "decoupled"}, {"weight_decay": 0.0}, True),
        ("sofim", {"weight_decay": 0.0}, {}, False),
        ("sofim", {"weight_decay": 1e-3}, {"weight_decay": 1e-3}, True),
        ("sofim", {"weight_decay": 1e-3}, {"weight_decay": 1e-4}, False),
        ("sofim-tensor", {}, {}, True),
        ("sofim-gradient", {}, {}, None),
        ("adam", {}, {"weight_decay": 0.0}, None),  # its ranges end before SGD's default
    ],
)
def test_who_contains_whom_goes_by_what_was_searched(
    larger: str, changes: dict[str, Any], smaller_changes: dict[str, object], contains: bool | None
) -> None:
    campaign = made({"w": {larger: [0.50, 0.51, 0.52], "sgd": [0.80, 0.81, 0.82]}})
    decay = changes.pop("decay", None)
    _give_space(campaign, "sgd", configured("sgd", smaller_changes).to_dict())
    _give_space(campaign, larger, configured(larger, changes, decay=decay).to_dict())
    contests = campaign.contests()
    told = inclusion(contests, comparisons(contests))["verdict"].tolist()
    assert told == ([] if contains is None else ["search too small" if contains else "not tested"])
    assert comparisons(contests)["configurations"].tolist() == ["worse"], "what one search found is said anyway"
    assert bool(comparisons(contests)["cancelled"].item()) == (contains is True)


def test_an_optimizer_whose_limit_is_fixed_away_contains_nothing() -> None:
    campaign = made({"w": {"sofim": [0.50, 0.51, 0.52], "sgd": [0.80, 0.81, 0.82]}})
    assert inclusion(campaign.contests(), comparisons(campaign.contests()))["verdict"].tolist() == ["search too small"]
    sofim = campaign.studies[0]
    fixed = {**sofim.attributes, "search_space": {"fixed": {"rho": 0.001}}}
    campaign.studies[0] = dataclasses.replace(sofim, attributes=fixed)
    assert inclusion(campaign.contests(), comparisons(campaign.contests()))["verdict"].tolist() == ["not tested"]
