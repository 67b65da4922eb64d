"""The whole comparison: its tables, verdict and methods, whatever is missing, in any order, always the same."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import optuna
import pandas as pd
import pytest

from analysis.comparison import Comparison, compare
from analysis.load import curves, read, studies
from analysis.report._chapter import Options
from analysis.report._write import _compared, _with_replicates
from search_spaces.errors import UserError
from studies.storage.database import close_storage, open_storage
from studies.workloads import WORKLOADS
from tests.analysis.atlas.test_coordinates import SOFIM
from tests.support.fake_campaign import campaign as fake
from tests.support.fake_campaign import end, make, open_ledger
from tests.support.made_campaign import Made, made

TABLES = {
    "leaderboard", "convergence", "time_to_target", "time_ratios", "budget_curve", "comparisons", "aggregate",
    "performance_profile", "profile_score", "ranks", "inclusion", "cost", "fairness", "search_spaces", "improvement",
    "variance", "answer",
}  # fmt: skip


def values(mean: float, n: int = 10, seed: int = 0) -> list[float | str]:
    return list(mean + 0.01 * np.random.default_rng(seed).standard_normal(n))


def campaign(**changes: object) -> Made:
    runs = {
        "u": {"sofim": values(0.8, seed=1), "sgd": values(0.9, seed=2), "adam": [*values(0.7, 9, 3), "diverged"]},
        "v": {"sofim": values(0.6, seed=4), "sgd": values(0.6, seed=5), "adam": values(0.5, seed=6)},
    }
    return made(runs, **{"targets": {"u": 0.9, "v": 0.6}} | changes)


def said(found: Comparison) -> str:
    return "\n".join(found.sentences)


@pytest.mark.slow
def test_all_tables_are_there_with_the_columns_that_files_promise() -> None:
    tables = campaign().compare().tables
    assert set(tables) == TABLES
    assert all(len(table) for table in tables.values())
    assert list(tables["budget_curve"]) == ["study", "k", "expected_best", "low", "high", "method"]
    assert list(tables["comparisons"])[:8] == [
        "workload", "a", "b", "difference", "difference_low", "difference_high", "probability_of_improvement",
        "verdict",
    ]  # fmt: skip


def equal(a: Comparison, b: Comparison) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(a.tables[name], b.tables[name])
    assert (a.sentences, a.methods) == (b.sentences, b.methods)


@pytest.mark.slow
def test_the_order_of_rows_changes_nothing_and_neither_does_asking_twice() -> None:
    found = campaign()
    equal(found.compare(), found.compare())
    equal(found.compare(), found.shuffled(1).compare())


@pytest.mark.nightly
@pytest.mark.slow
def test_the_seed_moves_only_what_is_resampled() -> None:
    one, two = campaign().compare(0).tables, campaign().compare(1).tables
    assert not one["aggregate"].equals(two["aggregate"])
    for name in ("comparisons", "leaderboard", "cost", "convergence", "fairness", "inclusion"):
        pd.testing.assert_frame_equal(one[name], two[name])


@pytest.mark.slow
def test_the_leaderboard_by_hand() -> None:
    board = made({"w": {"sofim": [0.6, 0.8], "sgd": [0.9, "diverged"], "adam": []}}).compare().tables["leaderboard"]
    assert board["optimizer"].tolist() == ["sofim", "sgd", "adam"]
    assert board["rank"].tolist() == [1, 2, -1]
    sofim, sgd, adam = (row for _, row in board.iterrows())
    assert sofim["test"] == pytest.approx(0.7)
    assert (sofim["test_low"], sofim["test_high"]) == (0, 1), "0.7 ± 12.7 * 0.1 is more than an accuracy can be"
    assert sofim["over"] == "2 seeds of one configuration, one split of the data"
    assert sgd["test"] == pytest.approx(
        (0.9 + 0.4) / 2
    )  # complete runs begin at half of what they reach, in the median 0.4
    assert (sgd["runs"], sgd["runs_complete"], sgd["runs_diverged"]) == (2, 1, 1)
    assert (adam["runs"], adam["number"], adam["tuned"]) == (0, 2, 0.7)
    assert math.isnan(adam["test"])
    assert board["few"].tolist() == [True, True, False]
    assert (sofim["params"], sofim["trials"], sofim["complete"]) == ({"lr": 0.1, "batch_size": 32}, 3, 3)


@pytest.mark.slow
def test_equal_means_share_a_rank_and_less_wins_where_it_is_better() -> None:
    runs = {"w": {"sofim": [0.5, 0.5], "sgd": [0.5, 0.5], "adam": [0.4, 0.4]}}
    board = made(runs, direction="minimize").compare().tables["leaderboard"]
    assert list(zip(board["optimizer"], board["rank"], strict=True)) == [("adam", 1), ("sofim", 2), ("sgd", 2)]


@pytest.mark.slow
def test_the_verdict_says_better_worse_or_not_shown_as_the_intervals_do() -> None:
    found = campaign().compare()
    text = said(found)
    assert found.sentences[0].startswith("sofim contains sgd")
    assert "and yet loses to it on u (sgd: gain 0." in found.sentences[0]
    assert "its search was too small, or its range too narrow" in found.sentences[0]
    assert found.sentences[1].startswith(
        "The winner of one search was confirmed, and another would have found other configurations"
    )
    assert "The configuration found for sgd is better on u than that found for sofim (gain 0." in text
    assert "sofim against" not in text, "of the optimizers one search says nothing"
    assert "is better than" not in text.replace("is better on", "")
    assert "1 of 10 of adam on u" in text
    table = found.tables["comparisons"]
    for row in table.to_dict("records"):
        assert (row["configurations"] == "no difference shown") == (
            row["difference_low"] <= 0 <= row["difference_high"]
        )
        assert row["verdict"] == "no difference shown"


@pytest.mark.slow
def test_no_difference_is_a_result() -> None:
    searches = {
        "sofim": [values(0.6, 3, seed) for seed in (1, 2, 3)],
        "sgd": [values(0.6, 3, seed) for seed in (4, 5, 6)],
    }
    found = made({"w": searches}).compare()
    assert found.sentences[0] == "No difference between sofim and sgd could be shown on w."


@pytest.mark.slow
def test_accuracies_differ_by_no_more_than_they_can_and_equal_runs_have_no_interval() -> None:
    found = made({"w": {"sofim": [0.99, 0.60], "sgd": [0.97, 0.55], "adam": [0.95, 0.95]}}).compare()
    table = found.tables["comparisons"]
    ends = table[["difference_low", "difference_high"]].to_numpy()
    assert (np.nanmin(ends), np.nanmax(ends)) == (-1.0, 1.0), "whatever two runs say"
    answer = found.tables["answer"].set_index("optimizer")
    assert answer.loc["adam", ["low", "high"]].isna().all()


def test_without_confirmations_nothing_is_concluded() -> None:
    found = made({"w": {"sofim": [], "sgd": []}}).compare()
    assert found.sentences[0] == (
        "w: no winner was confirmed, and tuning alone cannot tell optimizers apart; confirm the winners on fresh seeds."
    )
    for name in ("comparisons", "time_to_target", "convergence", "cost", "ranks", "aggregate"):
        assert found.tables[name].empty
    assert found.tables["leaderboard"]["rank"].tolist() == [-1, -1]
    assert len(found.tables["budget_curve"]) == 6
    assert "not confirmed" in found.methods


@pytest.mark.slow
def test_all_diverged_is_said_and_compares_nobody() -> None:
    found = made({"w": {"sofim": ["diverged"] * 3, "sgd": ["failed"] * 3}}).compare()
    assert "w: every confirmation run diverged or failed, so nothing can be compared." in found.sentences
    assert found.tables["comparisons"]["verdict"].tolist() == ["no difference shown"]
    assert found.tables["leaderboard"]["runs_diverged"].tolist() == [3, 0]


def test_trials_that_all_diverged_leave_no_winner() -> None:
    broken = ["diverged"] * 3
    found = made({"w": {"sofim": [], "sgd": []}}, trials={"w": {"sofim": broken, "sgd": broken}}).compare()
    assert "w: no trial of any optimizer was complete, so there is no winner to confirm." in found.sentences


@pytest.mark.slow
def test_a_study_that_has_only_begun_is_not_without_hope() -> None:
    begun = {"w": {"sgd": ["diverged"]}}
    found = made({"w": {"sofim": [0.5, 0.6], "sgd": []}}, trials=begun)
    assert "Not confirmed, and so not compared: sgd on w." in found.compare().sentences
    ended = {"w": {"sgd": ["diverged"] * 3}}
    found = made({"w": {"sofim": [0.5, 0.6], "sgd": []}}, trials=ended)
    assert "Without a complete trial, and so last: sgd on w." in found.compare().sentences


@pytest.mark.slow
def test_a_single_seed_is_said_to_be_few_and_shows_nothing() -> None:
    found = made({"w": {"sofim": [0.9], "sgd": [0.1]}}).compare()
    assert "Fewer than 5 seeds, so that intervals rest on little: sofim on w (1) and sgd on w (1)." in found.sentences
    assert "the configuration found for sofim and that for sgd (no interval)" in said(found)
    assert "too few runs for an interval" in said(found)
    assert "nan" not in said(found)


@pytest.mark.slow
def test_a_missing_study_is_named_and_left_out_across_workloads() -> None:
    found = campaign()
    found.studies = [study for study in found.studies if study.name != "made/v/adam"]
    result = found.compare()
    assert "Not confirmed, and so not compared: adam on v." in result.sentences
    assert result.tables["aggregate"]["workloads"].tolist() == [1, 1, 1]
    assert (result.tables["fairness"].set_index(["rule", "workload"])["kept"])[(1, "v")] == "no"


@pytest.mark.nightly
@pytest.mark.slow
def test_runs_of_which_seconds_do_not_compare_are_not_called_slower() -> None:
    found = campaign(targets={"u": 0.5, "v": 0.3}, speed={"adam": 3.0})
    assert "took longer than" in said(found.compare())
    found.confirmations.loc[0, "other_cores"] = found.confirmations.loc[0, "cores"]
    assert "Seconds on u do not compare: other programs left 1 run no core of its own." in said(found.compare())
    found.confirmations["exclusive"] = False
    text = said(found.compare())
    assert "took longer than" not in text
    assert "Seconds on u do not compare: runs shared a device." in text
    assert "Rule 3 was not kept on u" in text


@pytest.mark.slow
def test_methods_have_the_numbers_filled_in() -> None:
    text = campaign().compare().methods
    assert text.startswith("## Methods")
    for part in (
        "We compared sofim, sgd and adam on 2 workloads: u (4 epochs), v (4 epochs)",
        "a budget of 3 trials by random search, without early stopping (18 trials ended in all)",
        "10 fresh seeds",
        "Of 60 runs, 1 diverged or failed",
        "over 6 comparisons",
    ):
        assert part in text
    assert "None" not in text
    assert "nan" not in text


@pytest.mark.slow
def test_methods_say_what_ran_of_the_trials_asked_for() -> None:
    searched = made({"w": {"sofim": [0.8, 0.81], "sgd": [0.5, 0.51]}}, trials={"w": {"sgd": [0.4, 0.5]}})
    for study in searched.studies:
        study.campaign["trials"] = 8
    searched.studies[0].attributes["ended_by"] = {searched.studies[0].name: "the time was spent (85 s)"}
    text = searched.compare().methods
    assert "tuned on each workload with 2 to 3 trials, of 8 asked for, by random search" in text
    assert "(5 trials ended in all). Searches ended before their last trial: the time was spent (85 s). Data" in text
    assert "a budget of 8 trials" not in text


@pytest.mark.slow
def test_one_run_without_a_test_value_does_not_turn_test_data_into_validation_data() -> None:
    campaign = made({"w": {"sofim": [0.8, 0.81, 0.82, 0.83], "sgd": [0.5, 0.51, 0.52, 0.53]}})
    campaign.confirmations.loc[0, "test_metric"] = np.nan
    result = campaign.compare()
    assert set(result.tables["comparisons"]["data"]) == {"test"}
    assert "Runs that ended without a test value count as broken: w: 1 of 8 runs gave no test accuracy." in said(result)
    assert "1 of 4 of sofim on w" in said(result)


@pytest.mark.slow
def test_all_who_are_equal_are_named() -> None:
    text = said(made({"w": {"sofim": [0.5, 0.6], "sgd": [0.5, 0.6], "adam": [0.1, 0.2]}}, targets={"w": 0.5}).compare())
    assert "w: sofim and sgd have the configurations with the best test accuracy" in text
    assert "sofim and sgd have the least median time" in text


@pytest.mark.slow
def test_the_least_median_is_not_called_fastest_where_another_is_faster_on_average() -> None:
    """Six of ten runs at 2 epochs and four that never arrive, against ten that arrive at 2.1."""
    runs = {"w": {"sofim": [0.9] * 6 + [0.4] * 4, "sgd": [0.9] * 10}}
    text = said(made(runs, speed={"sgd": 1.05}, targets={"w": 0.6}).compare())
    assert "sofim has the least median time to the target accuracy 0.6" in text
    assert "On average sgd (" in text
    assert "took less time than sofim" in text
    assert "Not shown to take longer than sofim" not in text


@pytest.mark.slow
def test_pruned_trials_alone_make_no_study_hopeless_before_its_last() -> None:
    campaign = made({"w": {"sofim": [0.5, 0.6], "sgd": []}}, trials={"w": {"sgd": ["pruned"] * 10}})
    asked = {"trials": 50}
    campaign.studies = [dataclasses.replace(s, campaign={**s.campaign, **asked}) for s in campaign.studies]
    assert "Without a complete trial" not in said(campaign.compare())
    asked["trials"] = 10
    campaign.studies = [dataclasses.replace(s, campaign={**s.campaign, **asked}) for s in campaign.studies]
    assert "Without a complete trial, and so last: sgd on w." in said(campaign.compare())


@pytest.mark.slow
def test_replicates_reach_the_budget_curve() -> None:
    found = campaign(sampler="tpe")
    own = found.trials[found.trials["study"] == "made/u/sofim"]
    table = found.compare(replicates={"made/u/sofim": [own, own]}).tables["budget_curve"]
    methods = table.groupby("study")["method"].first()
    assert methods["made/u/sofim"] == "mean of 2 replicates"
    assert methods["made/u/sgd"] == "one study"


def test_protocols_and_campaigns_are_not_mixed() -> None:
    found = campaign()
    first = found.studies[0]
    found.studies[0] = dataclasses.replace(first, attributes={**first.attributes, "protocol": 2})
    with pytest.raises(UserError, match="protocols 1 and 2"):
        found.compare()
    found.studies[0] = dataclasses.replace(first, optimizer="sgd")
    with pytest.raises(UserError, match="two studies of sgd on u"):
        found.compare()


def test_no_studies_are_an_empty_comparison() -> None:
    found = Made([], *(frame.iloc[:0] for frame in (campaign().trials, campaign().confirmations, campaign().curves)))
    result = found.compare()
    assert result.sentences == ["There are no studies to compare."]
    assert all(table.empty for table in result.tables.values())


@pytest.mark.slow
def test_metrics_of_the_optimization_itself_are_compared_on_training_data() -> None:
    found = campaign()
    found.studies = [
        dataclasses.replace(study, attributes={**study.attributes, "metric_split": "train"}) for study in found.studies
    ]
    result = found.compare()
    assert set(result.tables["comparisons"]["data"]) == {"train"}
    assert "best training accuracy" in said(result)


@pytest.mark.slow
def test_a_campaign_in_a_database(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    make(
        url, {"digits-mlp/sofim": [0.5, "diverged"], "digits-mlp/sgd": [0.4, ("pruned", 0.2)]}, workloads=["digits-mlp"]
    )
    storage = open_storage(url)
    try:
        found = studies(storage, "fake")
        result = compare(found, read(storage, found), curves(storage, found, confirmed=True), np.random.default_rng(0))
    finally:
        close_storage(storage)
    assert result.tables["leaderboard"]["tuned"].tolist() == [0.5, 0.4]
    assert result.tables["leaderboard"]["diverged"].tolist() == [1, 0]
    assert "confirm the winners on fresh seeds" in said(result)
    assert set(result.tables["search_spaces"]["optimizer"]) == {"sofim", "sgd"}


@pytest.mark.slow
def test_confirmation_runs_in_a_database(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    make(url, {"digits-mlp/sofim": [0.5, 0.6], "digits-mlp/sgd": [0.4, 0.3]}, workloads=["digits-mlp"], epochs=2)
    storage = open_storage(url)
    try:
        found = studies(storage, "fake")
        for study, best, value in zip(found, (1, 0), (0.8, 0.6), strict=True):
            confirm = optuna.create_study(storage=storage, study_name=f"{study.name}/confirm", direction="maximize")
            for name, entry in study.attributes.items():
                confirm.set_user_attr(name, entry)
            for seed in range(1, 5):
                confirm.add_trial(confirmation(best, seed, value + seed / 100))
            confirm.add_trial(confirmation(1 - best, 9, 0.1))  # of a former winner
        all_curves = curves(storage, found, confirmed=True)
        result = compare(found, read(storage, found), all_curves, np.random.default_rng(0))
    finally:
        close_storage(storage)
    [row] = result.tables["comparisons"].to_dict("records")
    assert (row["runs_a"], row["runs_b"], row["data"], row["configurations"]) == (4, 4, "test", "better")
    assert row["difference"] == pytest.approx(0.2)
    rules = result.tables["fairness"].set_index("rule")
    assert rules.loc[3, "kept"] == "yes"
    assert rules.loc[2, "problems"].startswith("trial 0 of sofim was confirmed (1 run) and then overtaken")
    assert set(result.tables["time_to_target"]["target_source"]) == {"workload"}
    assert set(result.tables["time_to_target"]["target"]) == {WORKLOADS["digits-mlp"].target}
    assert result.tables["cost"]["seconds_per_epoch"].tolist() == [2.0, 2.0]


@pytest.mark.slow
def test_the_winners_of_all_searches_in_a_database_are_compared(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    plan = fake(workloads=["digits-mlp"], trials=2, replicates=3)
    with open_ledger(url, plan) as ledger:
        while (assignment := ledger.ask()) is not None:
            end(ledger, assignment, 0.5 + 0.1 * assignment.number + 0.001 * len(assignment.study))
    storage = open_storage(url)
    try:
        for study in studies(storage, "fake", replicates=True):
            confirm = optuna.create_study(storage=storage, study_name=f"{study.name}/confirm", direction="maximize")
            for name, entry in study.attributes.items():
                confirm.set_user_attr(name, entry)
            middle = (0.8 if study.optimizer == "sofim" else 0.6) + 0.01 * study.replicate
            for seed in range(1, 4):
                confirm.add_trial(confirmation(1, seed, middle + seed / 1000))
        every = _with_replicates(storage, studies(storage, "fake"))
        compared = _compared(storage, every, read(storage, every), Options())
    finally:
        close_storage(storage)
    [row] = compared.tables["comparisons"].to_dict("records")
    assert (row["unit"], row["searches_a"], row["runs_a"], row["verdict"]) == ("searches", 3, 9, "better")
    assert row["difference"] == pytest.approx(0.2)
    rules = compared.tables["fairness"].set_index("rule")
    assert rules.loc[[2, 4], "kept"].tolist() == ["yes", "yes"]
    assert compared.sentences[0] == "sofim against sgd: better on digits-mlp."
    assert "over their searches" in compared.methods
    assert "tuned on each workload in 3 searches, each with a budget of 2 trials by" in compared.methods
    assert "The best configuration of each search was retrained on 3 fresh seeds" in compared.methods
    assert "(seed 0; each further search has a seed of its own)" in compared.methods


def confirmation(confirms: int, seed: int, value: float) -> optuna.trial.FrozenTrial:
    history = {
        "epoch": [1, 2], "seconds": [2.0, 4.0], "gradient_evaluations": [10, 20], "train_loss": [1.0, 0.5],
        "validation_loss": [1.0, 0.6], "accuracy": [value / 2, value],
    }  # fmt: skip
    attributes = {
        "confirms": confirms, "rank": 1, "exclusive": True, "seed": seed, "device": "cpu", "seconds": 4.0,
        "other_cores": 0.1, "cores": 2,
        "gradient_evaluations": 20, "diverged": False, "test_metric": value, "test_loss": 0.5, "history": history,
    }  # fmt: skip
    return optuna.trial.create_trial(value=value, intermediate_values={1: value / 2, 2: value}, user_attrs=attributes)


def test_a_loss_that_counts_for_nothing_is_neither_no_difference_nor_a_rank() -> None:
    values = {"sofim": [[0.3], [0.31], [0.32]], "sgd": [[0.8], [0.81], [0.82]], "lion": [[0.6], [0.61], [0.62]],
              "adam": [[0.7], [0.71], [0.72]]}  # fmt: skip
    found = made(dict.fromkeys("abcdefgh", values))
    found.studies = [
        dataclasses.replace(s, parameters=dict(SOFIM)) if s.optimizer == "sofim" else s for s in found.studies
    ]
    said = found.compare().sentences
    assert any(text.startswith("sofim contains sgd") and "yet loses to it" in text for text in said)
    assert not any("No difference" in text and "sofim" in text and "sgd" in text for text in said)
    [rank] = [text for text in said if text.startswith("Best mean rank: sgd")]
    assert "lion" in rank
    assert "sofim" not in rank


def test_an_interval_that_runs_that_broke_leave_open_says_so() -> None:
    values = {"adam": [0.9, 0.91, 0.92, 0.93, 0.94, "diverged"], "sgd": [0.3, 0.31, 0.32, 0.31, 0.3, 0.31]}
    [said] = [text for text in made({"u": values}).compare().sentences if text.startswith("No difference is shown")]
    assert said.endswith(", which runs that broke leave open).")
