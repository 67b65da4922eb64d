"""Times to target, curves and costs of the confirmation runs: by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.comparison.convergence import convergence
from analysis.comparison.cost import batch_sentences, cost
from analysis.comparison.time_to_target import (
    _share,
    lower_medians,
    ratio_of_medians,
    ratio_of_restricted_means,
    resample,
    target,
    time_to_target,
    times,
)
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.parameters import ParameterInfo
from tests.support.made_campaign import EPOCHS, Made, made

# A run to 0.8 goes 0.4, 0.533, 0.667, 0.8 in its four epochs, one to 0.6 goes 0.3, 0.4, 0.5, 0.6
RUNS = {"w": {"sofim": [0.8, 0.9, 0.8], "sgd": [0.6, 0.5, 0.6]}}


def both(campaign: Made) -> tuple[pd.DataFrame, pd.DataFrame]:
    found, ratios = time_to_target(campaign.contests(), np.random.default_rng(0))
    return found.set_index(["optimizer", "axis"]), ratios.set_index("axis")


def test_the_target_is_the_campaigns_else_the_workloads_and_never_a_contestants() -> None:
    campaign = made(RUNS)
    [contest] = campaign.contests()
    assert math.isnan(target(contest)[0])
    assert all(table.empty for table in time_to_target([contest], np.random.default_rng(0)))
    campaign.studies = [
        dataclasses.replace(study, attributes={**study.attributes, "target": 0.7}) for study in campaign.studies
    ]
    [contest] = campaign.contests()
    assert target(contest) == (0.7, "workload")
    campaign.studies = [
        dataclasses.replace(study, campaign={**study.campaign, "targets": {"w": 0.5}}) for study in campaign.studies
    ]
    [contest] = campaign.contests()
    assert target(contest) == (0.5, "campaign")


@pytest.mark.slow
def test_without_a_target_the_report_says_so_and_how_to_give_one() -> None:
    told = made(RUNS).compare()
    assert 'Times to a target are not told on w, which has none: give one in the campaign, [targets] "w" = …' in (
        told.sentences
    )
    assert told.tables["performance_profile"].empty
    assert told.tables["leaderboard"]["target_source"].tolist() == ["none", "none"]


@pytest.mark.slow
@pytest.mark.parametrize(("reached", "told"), [(1, True), (4, False), (5, False)])
def test_fewer_than_half_is_said_where_the_interval_says_so(reached: int, told: bool) -> None:
    values = [0.9] * reached + [0.4] * (10 - reached)
    found = made({"w": {"sgd": values, "adam": [0.9] * 10}}, targets={"w": 0.8}).compare()
    said = [text for text in found.sentences if text.startswith("Fewer than half of the runs")]
    row = found.tables["time_to_target"].iloc[0]
    known = stats.binomtest(reached, 10).proportion_ci()
    assert (row["share_low"], row["share_high"]) == pytest.approx((known.low, known.high))
    assert bool(said) == told
    if told:
        assert said[0].startswith("Fewer than half of the runs of sgd (1 of 10: 10 % [0, 45]) reach the target")


@pytest.mark.slow
def test_where_nobody_arrives_it_is_said_with_counts_and_nobody_is_called_sooner() -> None:
    sgd, adam = [0.9] * 3 + [0.4] * 7, [0.4] * 10
    said = " ".join(made({"w": {"sgd": sgd, "adam": adam}}, targets={"w": 0.8}).compare().sentences)
    told = "on validation data of w in half of its runs (sgd in 3 of 10 runs and adam in 0 of 10 runs)"
    assert "No optimizer reaches the target accuracy 0.8 " + told in said
    assert "Fewer than half of the runs of" not in said
    assert "median time" not in said
    one_does = " ".join(made({"w": {"sgd": [0.9] * 10, "adam": adam}}, targets={"w": 0.8}).compare().sentences)
    assert "No optimizer reaches" not in one_does


def test_equal_optimizers_are_not_told_to_miss_a_target_that_half_of_their_runs_reach() -> None:
    """Three optimizers of ten runs: of 200 campaigns no more than chance adds to 3 %."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        shares = rng.binomial(10, 0.5, 3) / 10
        wrong += any(_share(round(10 * share), 10)[1] < 0.5 for share in shares)
    assert wrong / 200 <= 0.07


def test_over_searches_a_time_is_that_of_a_search() -> None:
    runs = [[0.8, 0.8], [0.8, 0.4], [0.4, 0.4]]
    campaign = made({"w": {"sofim": runs, "sgd": [[0.8, 0.8]] * 3}}, targets={"w": 0.8})
    row = both(campaign)[0].loc[("sofim", "epochs")]
    assert (row["unit"], row["units"], row["runs"], row["reached"]) == ("searches", 3, 6, 3)
    assert (row["median"], row["low"], row["high"], row["coverage"]) == (4.0, 4.0, math.inf, 0.75)
    assert math.isnan(row["share_high"]), "the runs of a search do not count one each"
    [contest] = campaign.contests()
    assert times(contest, 0.8)["epochs"]["sofim"].tolist() == [4.0, 4.0, math.inf]


def test_epochs_that_tie_are_no_certainty() -> None:
    found = both(made({"w": {"sofim": [0.8] * 3, "sgd": [0.6] * 3}}, targets={"w": 0.5}))[1].loc["epochs"]
    assert found["restricted_ratio"] == pytest.approx(2 / 3)
    assert found["restricted_low"] < 1 < found["restricted_high"]


def test_times_are_those_of_the_first_epoch_that_reached_it() -> None:
    found, ratios = both(made(RUNS, targets={"w": 0.5}, speed={"sgd": 2.0}))
    sofim, sgd = found.loc[("sofim", "epochs")], found.loc[("sgd", "epochs")]
    assert (sofim["median"], sofim["reached"], sofim["runs"]) == (2.0, 3, 3)
    assert (sgd["median"], sgd["low"], sgd["high"]) == (3.0, 3.0, 4.0)
    assert found.loc[("sgd", "seconds"), "median"] == 6.0
    assert found.loc[("sgd", "gradient_evaluations"), "median"] == 30.0
    assert sofim["ratio"] == pytest.approx(2 / 3)
    assert sofim["restricted_ratio"] == pytest.approx(2 / (10 / 3))
    assert ratios.loc["seconds", "ratio"] == pytest.approx(2 / 6)
    assert ratios.loc["seconds", "horizon"] == 4.0


def test_ratios_to_a_reference_that_comes_first_are_turned_with_their_intervals() -> None:
    runs = {"w": {"sgd": [0.6, 0.5, 0.6, 0.9, 0.8, 0.6], "adam": [0.9, 0.8, 0.6, 0.8, 0.6, 0.8]}}
    found, ratios = both(made(runs, targets={"w": 0.5}))
    adam, pair = found.loc[("adam", "epochs")], ratios.loc["epochs"]
    assert (pair["a"], pair["b"]) == ("sgd", "adam")
    for name, of_pair in (("ratio", ""), ("restricted", "restricted_")):
        low, high = adam[f"{name}_low"], adam[f"{name}_high"]
        assert (low, high) == pytest.approx((1 / pair[f"{of_pair}high"], 1 / pair[f"{of_pair}low"]))
        assert low <= adam["ratio" if name == "ratio" else "restricted_ratio"] <= high


def test_runs_that_do_not_arrive_are_censored_not_dropped() -> None:
    found, ratios = both(made(RUNS, targets={"w": 0.8}))
    sofim, sgd = found.loc[("sofim", "epochs")], found.loc[("sgd", "epochs")]
    assert (sofim["median"], sofim["reached"]) == (4.0, 3)
    assert (sgd["median"], sgd["reached"], sgd["high"]) == (math.inf, 0, math.inf)
    assert sofim["ratio"] == 0.0
    assert ratios[["low", "high"]].isna().all(axis=None), "three runs are too few for a bootstrap"


def test_a_run_that_broke_never_arrives_even_if_it_was_there() -> None:
    campaign = made({"w": {"sofim": [0.8, "diverged", "failed"], "sgd": [0.8, 0.8, 0.8]}})
    campaign.curves.loc[campaign.curves["number"] == 1, "value"] = 0.95
    [contest] = campaign.contests()
    assert sorted(times(contest, 0.8)["epochs"]["sofim"]) == [4.0, math.inf, math.inf]


def test_nobody_arriving_is_no_ratio_at_all() -> None:
    found, ratios = both(made({"w": {"sofim": [0.8] * 5, "sgd": [0.6] * 5}}, targets={"w": 5.0}))
    assert found.loc[["sofim"], "ratio"].isna().all()
    assert (ratios["low"] == 0).all()
    assert (ratios["high"] == math.inf).all()
    assert ratios[["restricted_ratio", "restricted_low", "restricted_high"]].isna().all(axis=None)


@pytest.mark.slow
def test_seconds_of_runs_that_shared_a_device_do_not_compare() -> None:
    campaign = made(RUNS, targets={"w": 0.8})
    assert both(campaign)[0]["comparable"].all()
    campaign.confirmations.loc[0, "exclusive"] = False
    found, ratios = both(campaign)
    assert not found.loc[("sofim", "seconds"), "comparable"]
    assert found.loc[("sofim", "epochs"), "comparable"]
    assert not ratios.loc["seconds", "comparable"]
    assert not both(Made(**{**vars(campaign), "confirmations": made(RUNS).confirmations.drop(columns="exclusive")}))[0][
        "comparable"
    ].all()


def test_a_single_run_has_a_ratio_and_no_interval() -> None:
    found, _ = both(made({"w": {"sofim": [0.8], "sgd": [0.8]}}, targets={"w": 0.8}))
    row = found.loc[("sofim", "epochs")]
    assert row["ratio"] == 1.0
    assert row[["ratio_low", "ratio_high", "low", "high"]].isna().all()


def test_lower_medians_are_of_the_last_axis() -> None:
    assert lower_medians(np.array([[3.0, 1.0, 2.0, 9.0], [5.0, 5.0, np.inf, np.inf]])).tolist() == [2.0, 5.0]


@pytest.mark.slow
def test_coverage_of_both_ratios() -> None:
    """Of times that are exponential with means 2 and 1, every run cut off at 2: medians and restricted means."""
    rng = np.random.default_rng(5)
    scales, horizon = np.array([2.0, 1.0]), 2.0
    restricted = scales * (1 - np.exp(-horizon / scales))
    held = np.zeros(2)
    for _ in range(1000):
        arrived = scales[:, None] * rng.exponential(size=(2, 10))
        a, b = np.where(arrived < horizon, arrived, np.inf)
        drawn = [lower_medians(resample(values, rng, 400)) for values in (a, b)]
        _, low, high = ratio_of_medians(a, b, drawn[0], drawn[1])
        ends = np.exp(ratio_of_restricted_means(a, b, horizon).interval())
        held += (low <= 2.0 <= high, ends[0] <= restricted[0] / restricted[1] <= ends[1])
    assert held / 1000 == pytest.approx([0.97, 0.96], abs=0.02)


def test_curves_have_the_median_and_an_interval_of_it_at_every_epoch() -> None:
    found = convergence(made({"w": {"sofim": [0.8, 0.4, 0.6]}}).contests())
    own = found[(found["axis"] == "epochs") & (found["quantity"] == "metric")]
    assert own["at"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert own["median"].tolist() == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert own["low"].tolist() == pytest.approx([0.2, 0.4 * 2 / 3, 0.4 * 5 / 6, 0.4])
    assert own["high"].iloc[-1] == 0.8
    assert own["coverage"].tolist() == [0.75] * 4
    assert set(found["quantity"]) == {"train_loss", "validation_loss", "metric"}


def test_curves_over_costs_are_interpolated_and_never_beyond_a_run() -> None:
    campaign = made({"w": {"sofim": [0.8, 0.8]}})
    campaign.curves.loc[campaign.curves["number"] == 1, "seconds"] *= 2  # epochs end at 2, 4, 6, 8 s instead of 1 to 4
    found = convergence(campaign.contests())
    own = found[(found["axis"] == "seconds") & (found["quantity"] == "train_loss")]
    assert (own["at"].min(), own["at"].max()) == (2.0, 4.0)
    # after 4 s one run is at 2 / 4, the other, after its second epoch, at 2 / 2
    assert (own["low"].iloc[-1], own["high"].iloc[-1], own["median"].iloc[-1]) == pytest.approx((0.5, 1.0, 0.75))


def test_a_run_that_broke_is_the_worst_of_the_band() -> None:
    found = convergence(made({"w": {"sofim": [0.8, "diverged", 0.6]}}).contests())
    last = found[(found["axis"] == "epochs") & (found["at"] == EPOCHS)].set_index("quantity")
    assert (last.loc["metric", "median"], last.loc["metric", "low"]) == (0.6, -math.inf)
    assert (last.loc["train_loss", "median"], last.loc["train_loss", "high"]) == (0.5, math.inf)
    assert last["finite"].tolist() == [2] * 3
    assert last["runs"].tolist() == [3] * 3


def test_a_run_that_broke_is_as_good_as_it_was_until_then() -> None:
    campaign = made({"w": {"sofim": [0.8, "diverged"]}})
    broken = campaign.curves["number"] == 1
    campaign.curves.loc[broken, ["value", "train_loss", "validation_loss"]] = [0.7, 0.1, 0.1]
    found = convergence(campaign.contests())
    own = found[(found["axis"] == "epochs") & (found["quantity"] == "metric")]
    assert own["high"].tolist()[0] == 0.7
    assert own["finite"].tolist() == [2, 1, 1, 1]
    assert own["low"].tolist()[1:] == [-math.inf] * 3


def test_without_a_complete_run_there_is_no_curve() -> None:
    assert convergence(made({"w": {"sofim": ["diverged", "failed"]}}).contests()).empty
    assert convergence([]).empty


def slowed(found: Made, optimizer: str, evaluations: float) -> list[WorkloadRuns]:
    own = found.curves["study"].str.endswith(f"/{optimizer}")
    found.curves.loc[own, "gradient_evaluations"] *= evaluations
    return found.contests()


def test_costs_relative_to_sgd_by_hand() -> None:
    campaign = made({"w": {"adahessian": [0.8, 0.7], "sgd": [0.8, 0.8]}}, speed={"adahessian": 3.0})
    own = campaign.trials["study"].str.endswith("/adahessian")
    campaign.trials.loc[own, "params"] = pd.Series([{"batch_size": 64}] * own.sum(), index=campaign.trials.index[own])
    # SGD: 10 evaluations of 32 examples an epoch. AdaHessian: 5 steps of 64, two evaluations each
    table = cost(campaign.contests()).set_index("optimizer")
    hessian, sgd = table.loc["adahessian"], table.loc["sgd"]
    assert (sgd["steps_per_epoch"], sgd["gradient_evaluations_per_step"], sgd["seconds_per_step"]) == (10, 1, 0.1)
    assert (hessian["steps_per_epoch"], hessian["gradient_evaluations_per_step"]) == (5, 2)
    assert hessian["seconds_per_step"] == pytest.approx(0.6)
    assert (hessian["epoch_ratio"], hessian["evaluation_ratio"], hessian["step_ratio"]) == pytest.approx((3, 3, 6))
    assert (hessian["step_ratio_low"], hessian["step_ratio_high"]) == pytest.approx((6, 6))  # no run differs
    assert hessian["comparable"]
    assert sgd["epoch_ratio"] == 1


def test_smaller_last_batches_are_counted_as_steps() -> None:
    campaign = made({"w": {"sofim": [0.8, 0.7], "sgd": [0.8, 0.8]}})
    # 1,227 examples: 19 steps of 65 by SGD, 17 of 74 by SOFIM, which 19 * 65 = 1,235 examples would give too
    for optimizer, batch, steps in (("sgd", 65, 19), ("sofim", 74, 17)):
        own = campaign.trials["study"].str.endswith(f"/{optimizer}")
        campaign.trials.loc[own, "params"] = pd.Series([{"batch_size": batch}] * 3, index=campaign.trials.index[own])
        of = campaign.curves["study"].str.endswith(f"/{optimizer}")
        campaign.curves.loc[of, "gradient_evaluations"] = steps * campaign.curves.loc[of, "epoch"].astype(float)
    table = cost(campaign.contests()).set_index("optimizer")
    assert table["steps_per_epoch"].to_dict() == {"sofim": 17, "sgd": 19}
    assert table["gradient_evaluations_per_step"].tolist() == [1, 1]


def test_extra_evaluations_show_in_the_cost_of_a_step_not_of_an_evaluation() -> None:
    campaign = made({"w": {"lbfgs": [0.8, 0.7], "sgd": [0.8, 0.8]}}, speed={"lbfgs": 20.0})
    table = cost(slowed(campaign, "lbfgs", 20.0)).set_index("optimizer")
    assert table.loc["lbfgs", "gradient_evaluations_per_step"] == pytest.approx(20)
    assert table.loc["lbfgs", "evaluation_ratio"] == pytest.approx(1)
    assert table.loc["lbfgs", "step_ratio"] == pytest.approx(20)


def test_a_run_of_which_one_cost_is_missing_counts_for_none() -> None:
    campaign = made(RUNS, speed={"sgd": 2.0})
    campaign.curves.loc[campaign.curves["number"] == 0, "gradient_evaluations"] = np.nan
    table = cost(campaign.contests()).set_index("optimizer")
    assert (table["runs"] == table["runs"].max()).all()
    assert table.loc["sgd", "runs"] == len(RUNS["w"]["sgd"]) - 1
    assert table.loc["sgd", "seconds_per_epoch"] == pytest.approx(2.0)


def test_the_part_of_an_epoch_before_a_run_diverged_is_no_epoch() -> None:
    runs = {"w": {"sofim": [0.8] * 3, "sgd": [0.6, 0.6, "diverged"]}}
    campaign = made(runs)
    part = (campaign.curves["study"] == "made/w/sgd") & (campaign.curves["number"] == 2)
    campaign.curves.loc[part, ["seconds", "gradient_evaluations"]] = 0.3, 3.0
    table = cost(campaign.contests()).set_index("optimizer")
    assert table.loc["sgd", "runs"] == 2
    assert table.loc["sofim", "epoch_ratio"] == pytest.approx(1.0)
    assert table.loc["sgd", "gradient_evaluations_per_epoch"] == pytest.approx(10.0)


def test_without_sgd_costs_are_relative_to_nothing() -> None:
    table = cost(made({"w": {"adam": [0.8, 0.7]}}).contests())
    assert table["seconds_per_epoch"].tolist() == [1.0]
    assert table["reference"].isna().all()
    assert table[["epoch_ratio", "step_ratio", "seconds_per_step"]].isna().all(axis=None)
    assert not table["comparable"].any()


@pytest.mark.parametrize("power", [0.0, -0.5, -1.0])
def test_what_a_smaller_batch_bought_is_told_from_the_search(power: float) -> None:
    """The winner has a quarter of the default's batch; an epoch's seconds are a power of the batch size."""
    sizes = [64, 16, 256, 128, 32, 24]
    values = [0.6, 0.9, 0.5, 0.5, 0.7, 0.7]
    campaign = made({"w": {"sgd": [0.8, 0.7]}}, trials={"w": {"sgd": values}})
    campaign.trials["params"] = pd.Series([{"batch_size": size} for size in sizes])
    campaign.trials["seconds"] = [8.0 * (size / 64) ** power for size in sizes]
    campaign.trials.loc[2, "seconds"] *= 7  # another program ran beside it
    batch = ParameterInfo("batch_size", "int", 16, 256, log=True, default=64)
    campaign.studies[0] = dataclasses.replace(campaign.studies[0], parameters={"batch_size": batch})
    table = cost(campaign.contests())
    [row] = table.to_dict("records")
    assert (row["batch_size"], row["default_batch_size"], row["batch_steps_ratio"]) == (16, 64, 4)
    assert row["batch_seconds_ratio"] == pytest.approx(0.25**power)
    [sentence] = batch_sentences(table)
    assert "sgd on w has batches of 16, not of 64 as by default: 4 times" in sentence
    assert "times the steps an epoch, in" in sentence
    # with few complete trials the seconds are not known, and with the default's size there is nothing to tell
    few = dataclasses.replace(campaign.contests()[0], trials=campaign.trials.iloc[:3])
    assert math.isnan(cost([few])["batch_seconds_ratio"].iloc[0])
    assert "seconds" not in batch_sentences(cost([few]))[0]
    campaign.trials["params"] = [{"batch_size": 64}] * len(sizes)
    assert batch_sentences(cost(campaign.contests())) == []


def test_most_trials_may_have_the_same_batch_size() -> None:
    sizes = [64] * 12 + [32]
    campaign = made({"w": {"sgd": [0.8, 0.7]}}, trials={"w": {"sgd": [0.5] * 12 + [0.9]}})
    campaign.trials["params"] = pd.Series([{"batch_size": size} for size in sizes])
    campaign.trials["seconds"] = [8.0] * 12 + [12.0]
    batch = ParameterInfo("batch_size", "int", 16, 256, log=True, default=64)
    campaign.studies[0] = dataclasses.replace(campaign.studies[0], parameters={"batch_size": batch})
    [row] = cost(campaign.contests()).to_dict("records")
    assert (row["batch_steps_ratio"], row["batch_seconds_ratio"]) == (2, pytest.approx(1.5))


@pytest.mark.slow
def test_of_a_loop_that_counts_no_gradient_evaluations_epochs_and_seconds_are_told() -> None:
    """As a training function's: unknown is not infinite."""
    campaign = made(RUNS, targets={"w": 0.7})
    for frame in (campaign.trials, campaign.confirmations, campaign.curves):
        frame["gradient_evaluations"] = math.nan
    comparison = campaign.compare()
    found = comparison.tables["time_to_target"]
    assert set(found["axis"]) == {"epochs", "seconds"} == set(comparison.tables["performance_profile"]["axis"])
    [quick] = found.loc[(found["optimizer"] == "sofim") & (found["axis"] == "seconds"), "median"]
    assert quick == 4.0
    costs = comparison.tables["cost"].set_index("optimizer").loc["sofim"]
    assert (costs["runs"], costs["seconds_per_epoch"]) == (3, 1.0)
    assert math.isnan(costs["gradient_evaluations_per_epoch"])
    [cost_rule] = comparison.tables["fairness"].query("rule == 5").to_dict("records")
    assert (cost_rule["kept"], "does not count gradient evaluations" in cost_rule["evidence"]) == ("unknown", True)
    assert "The seeds of what a training function draws, the learning-rate schedule" in comparison.methods


def test_two_seeds_whose_ratio_ends_beyond_floats_still_give_a_report() -> None:
    names = ["sofim", "sgd", "adam", "lion", "muon", "lbfgs", "adamw", "rmsprop"]
    workloads = "abcdefgh"
    found = made({w: {name: [0.9, 0.91] for name in names} for w in workloads}, targets=dict.fromkeys(workloads, 0.6))
    rng = np.random.default_rng(0)
    which = found.curves.groupby(["study", "number"]).ngroup()
    slower = rng.normal(1, 0.01, which.max() + 1)
    found.curves["seconds"] *= (slower * np.where(rng.random(which.max() + 1) < 0.33, 6, 1))[which]
    _, ratios = time_to_target(found.contests(), np.random.default_rng(0))
    assert np.isinf(ratios["restricted_high"]).any()
