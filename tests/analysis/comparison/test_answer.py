"""The answer: ranks, ties, hyperparameters and costs as the tables have them, and a sentence that follows."""

from __future__ import annotations

import ast
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.answer import keyword_arguments, seconds_compare
from search_spaces import SEARCH_SPACES
from tests.support.made_campaign import Made, made, study


def around(mean: float, n: int = 10, seed: int = 0) -> list[float | str]:
    return list(mean + 0.01 * np.random.default_rng(seed).standard_normal(n))


def told(found: Made) -> str:
    return found.compare().answer


def rows(found: Made) -> pd.DataFrame:
    return found.compare().tables["answer"].set_index("optimizer")


@pytest.mark.slow
def test_the_answer_has_the_order_and_the_numbers_of_the_leaderboard_and_ties_of_the_comparisons() -> None:
    found = made({"u": {"sofim": around(0.8, seed=1), "sgd": around(0.802, seed=2), "adam": around(0.6, seed=3)}})
    table, board = rows(found), found.compare().tables["leaderboard"]
    assert table.index.tolist() == board["optimizer"].tolist()
    assert table["value"].tolist() == board["test"].tolist()
    assert table["decides"].unique().tolist() == ["test accuracy"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["tied"].tolist() == [True, True, False]
    assert (table["epochs"] == 4).all()
    assert (table["gradient_evaluations"] == 40).all()
    assert table["runs"].tolist() == [10, 10, 10]


@pytest.mark.slow
@pytest.mark.parametrize("names", [["sofim", "sgd"], ["sgd", "sofim"]])
def test_equal_values_share_a_rank_whoever_comes_first(names: list[str]) -> None:
    table = rows(made({"u": {name: [0.5, 0.6, 0.7] for name in names}}))
    assert table["rank"].tolist() == [1, 1]
    assert table["tied"].all()


@pytest.mark.slow
def test_an_interval_ends_where_the_metric_does() -> None:
    table = rows(made({"u": {"sofim": [1.0, 0.7, 1.0], "sgd": [0.1, 0.0, 0.4]}}))
    assert table.loc["sofim", "high"] == 1.0
    assert table.loc["sgd", "low"] == 0.0
    loss = rows(made({"u": {"sofim": [1.0, 0.1, 3.0], "sgd": [1.0, 2.0, 3.0]}}, direction="minimize"))
    assert loss.loc["sofim", "low"] < 0, "nobody knows what a loss of any name can be"


CASES = {
    "all tied": (
        {"sofim": around(0.8, seed=1), "sgd": around(0.8, seed=2)},
        "On u the configurations of two optimizers cannot be told apart.",
    ),
    "one alone best": (
        {"sofim": around(0.8, seed=1), "sgd": around(0.6, seed=2), "adam": around(0.6, seed=3)},
        "On u the configuration of sofim is better than those of the two others.",
    ),
    "some tied": (
        {"sofim": around(0.8, seed=1), "sgd": around(0.802, seed=2), "adam": around(0.6, seed=3)},
        "On u the configuration of sofim is better than that of adam, and cannot be told from sgd.",
    ),
    # lbfgs may be anywhere, but adam is worse than sgd is
    "ties that are none among each other": (
        {"lbfgs": [0.1, 0.9, 0.9, 0.9], "sgd": [0.68, 0.681, 0.682, 0.683], "adam": [0.6, 0.601, 0.602, 0.603]},
        "On u none of the configurations of three optimizers is told worse than the best, lbfgs's.",
    ),
    "one confirmed": ({"sofim": around(0.8), "sgd": []}, "On u sofim alone was confirmed"),
    "none confirmed": ({"sofim": [], "sgd": []}, "On u no winner was confirmed on fresh seeds"),
    "all broke": ({"sofim": ["diverged"] * 3, "sgd": ["diverged"] * 3}, "On u every confirmation run broke"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_sentence_says_what_the_comparisons_say(case: str) -> None:
    runs, begins = CASES[case]
    assert told(made({"u": runs})).startswith(begins)


@pytest.mark.slow
def test_what_one_search_tells_is_told_of_configurations() -> None:
    found = made({"u": {"sofim": around(0.8), "sgd": around(0.6)}})
    assert "One search of each was confirmed: this is about these configurations" in told(found)
    assert "searched" not in told(made({"u": {"sofim": around(0.8), "sgd": []}}))


@pytest.mark.slow
def test_what_three_searches_tell_is_told_of_optimizers() -> None:
    found = made(
        {"u": {name: [around(at, seed=seed) for seed in (1, 2, 3)] for name, at in (("sofim", 0.8), ("sgd", 0.6))}}
    )
    table = rows(found)
    assert table["basis"].tolist() == ["optimizers"] * 2
    assert table["tied"].tolist() == [True, False]
    assert told(found).startswith(
        "On u sofim is better than sgd. 3 searches of each were confirmed: this is about the optimizers."
    )


@pytest.mark.slow
def test_what_one_search_tells_is_a_verdict_on_configurations() -> None:
    table = rows(made({"u": {"sofim": around(0.8), "sgd": around(0.6)}}))
    assert table["tied"].tolist() == [True, False]
    assert table["basis"].unique().tolist() == ["configurations"]


@pytest.mark.slow
def test_an_accuracy_in_percent_keeps_its_interval() -> None:
    table = rows(made({"u": {"sofim": around(97.0), "sgd": around(95.0)}}))
    assert (table["high"] > table["value"]).all()
    share = rows(made({"u": {"sofim": [0.98, 1.0, 1.0], "sgd": around(0.9)}}))
    assert share["high"].max() <= 1.0


@pytest.mark.slow
def test_without_confirmation_the_search_ranks_and_says_so() -> None:
    trials = {"u": {"sofim": [0.5, 0.6], "sgd": [0.9, 0.2], "adam": ["diverged"]}}
    table = rows(made({"u": {"sofim": [], "sgd": [], "adam": []}}, trials=trials))
    assert table.index.tolist() == ["sgd", "sofim", "adam"]
    assert table["rank"].tolist()[:2] == [1, 2]
    assert pd.isna(table["rank"].iloc[2])
    assert table["tied"].isna().all()
    assert set(table["decides"]) == {"validation accuracy, best of the search"}


@pytest.mark.slow
def test_seconds_are_there_only_where_they_compare() -> None:
    found = made({"u": {"sofim": around(0.8), "sgd": around(0.6)}})
    assert rows(found)["seconds"].notna().all()
    found.confirmations.loc[0, "exclusive"] = False
    assert not seconds_compare(found.contests()[0])
    assert rows(found)["seconds"].isna().all()


def test_hyperparameters_are_what_one_types() -> None:
    space = SEARCH_SPACES["adam"].override({"eps": 1e-8})
    one = study("u", "adam")
    one = replace(one, attributes={**one.attributes, "search_space": space.to_dict()})
    params = {"lr": 0.0123456789, "beta1": 0.9, "beta2": 0.999876, "batch_size": 64}
    exact = keyword_arguments(one, params)
    called = ast.parse(f"Adam({exact})", mode="eval").body
    assert isinstance(called, ast.Call)
    given = {word.arg: ast.literal_eval(word.value) for word in called.keywords}
    assert given == {"lr": 0.0123456789, "betas": (0.9, 0.999876), "eps": 1e-8, "batch_size": 64}
    shown = keyword_arguments(one, params, 3)
    assert "lr=0.0123," in shown
    assert "0.999876)" in shown, "it is not 1"
    assert keyword_arguments(one, {}) == ""


def test_a_space_that_cannot_be_read_gives_what_is_stored() -> None:
    one = study("u", "theirs")
    one = replace(one, attributes={**one.attributes, "search_space": {"fixed": {"beta": 0.9}, "of": "a later version"}})
    assert keyword_arguments(one, {"lr": 0.5, "mode": "a b"}) == "lr=0.5, mode='a b', beta=0.9"


@pytest.mark.slow
def test_runs_that_broke_are_counted() -> None:
    table = rows(made({"u": {"sofim": [0.5, 0.6, "diverged"], "sgd": [0.6, 0.7, 0.8]}}))
    assert table.loc["sofim", ["runs", "broken"]].tolist() == [3, 1]
    assert not math.isnan(table.loc["sofim", "epochs"])


@pytest.mark.nightly
@pytest.mark.slow
def test_over_many_workloads_the_answer_begins_with_who_is_first_and_says_the_like_once() -> None:
    """Three searches on each tell little there; that one is first on all of eight tells much."""
    rng = np.random.default_rng(0)
    searches = {"adam": 0.6, "lion": 0.5, "muon": 0.65}
    runs = {w: {o: [[m + x] for x in rng.uniform(-0.04, 0.04, 3)] for o, m in searches.items()} for w in "abcdefgh"}
    said = made(runs).compare().answer
    assert said.startswith(
        "Over 8 workloads muon ranks first, ahead of lion by more than the critical difference. On a, "
    )
    assert said.count("cannot be told apart") <= 1
    assert (
        "Over 8 workloads"
        not in made({w: {o: v[0] for o, v in own.items()} for w, own in runs.items()}).compare().answer
    )
    larger = {w: {"sgd": own["muon"], "sofim": own["lion"], "adam": own["adam"]} for w, own in runs.items()}
    assert "ahead of sofim" not in made(larger).compare().answer, "it contains sgd: its search was too small"


def test_of_two_searches_value_and_hyperparameters_are_of_the_same_one() -> None:
    found = made(
        {"u": {"adam": [[0.60, 0.61, 0.62], [0.9, 0.91, 0.92]], "lion": [[0.7, 0.71, 0.72], [0.5, 0.51, 0.52]]}}
    )
    second = found.trials["study"] == "made/u/adam/replicate-2"
    found.trials.loc[second, "params"] = pd.Series([{"lr": 7.7}] * int(second.sum()), index=found.trials.index[second])
    row = rows(found).loc["adam"]
    assert row["value"] == pytest.approx(0.61)
    assert "7.7" not in row["hyperparameters"]
    assert (row["searches"], row["trials"]) == (
        2,
        2 * rows(made({"u": {"adam": [0.6], "lion": [0.5]}})).loc["adam", "trials"],
    )


def test_a_search_without_a_winner_is_not_told_as_confirmed() -> None:
    found = made({"u": {"adam": [[0.9, 0.91], [0.92, 0.9], [0.91, 0.9]], "sgd": [[0.5, 0.52], [0.51, 0.5], []]}})
    lost = found.trials["study"] == "made/u/sgd/replicate-3"
    found.trials.loc[lost, ["outcome", "value"]] = ["diverged", math.nan]
    compared = found.compare()
    assert (
        compared.answer
        == "On u adam is better than sgd. 2 to 3 searches of each were confirmed: this is about the optimizers."
    )
    assert "Searches without a complete trial count as the worst run: 1 of 3 of sgd on u." in compared.sentences
    board = compared.tables["leaderboard"].set_index("optimizer")
    assert board.loc["sgd", "over"] == "2 searches of 2 seeds, one split of the data, 1 more without a complete trial"


@pytest.mark.parametrize("names", [["adam", "lion", "sgd"], ["lion", "adam", "sgd"], ["sgd", "lion", "adam"]])
def test_of_two_that_tie_for_the_first_place_the_order_does_not_decide_what_is_said(names: list[str]) -> None:
    values = {
        "adam": [0.699, 0.70, 0.701, 0.70, 0.70],
        "lion": [0.6, 0.7, 0.8, 0.9, 0.5],
        "sgd": [0.69, 0.691, 0.692, 0.69, 0.691],
    }
    said = told(made({"u": {name: values[name] for name in names}}))
    assert said.startswith("On u the configuration of adam is better than that of sgd, and cannot be told from lion")


def test_the_others_are_those_that_were_confirmed() -> None:
    low = [0.5, 0.51, 0.52]
    said = told(made({"u": {"sofim": [0.9, 0.91, 0.92], "sgd": low, "adam": low, "lion": []}}))
    assert "is better than those of the two others that were confirmed" in said
