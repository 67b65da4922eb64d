"""Who is ahead, by how much was tried, and who has nothing to show."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison import leaderboard
from analysis.load import studies, trials
from analysis.study import Study
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import make, open_ledger, play

ONE = {"workloads": ["digits-mlp"], "optimizers": ["sofim"]}
FOUR = ["sofim", "sgd", "adam", "adamw"]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


@pytest.fixture
def board(url) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        storage = open_storage(url)
        try:
            found = studies(storage, "fake")
            return leaderboard(found, trials(storage, found))
        finally:
            close_storage(storage)

    return read


def places(board: pd.DataFrame, workload: str) -> list[tuple[int, str]]:
    rows = board[board["workload"] == workload]
    return list(zip(rows["rank"], rows["optimizer"], strict=True))


@pytest.mark.slow
def test_the_greatest_wins_where_greater_is_better_and_the_least_where_it_is_not(url, board):
    values = {"sofim": [0.1, 0.9], "sgd": [0.95, 0.2], "adam": [0.3, 0.4]}
    outcomes = {f"{w}/{o}": v for w in ("digits-mlp", "breast-cancer-logreg") for o, v in values.items()}
    make(url, outcomes, optimizers=["sofim", "sgd", "adam"])
    found = board()
    assert places(found, "digits-mlp") == [(1, "sgd"), (2, "sofim"), (3, "adam")]
    assert places(found, "breast-cancer-logreg") == [(1, "sofim"), (2, "sgd"), (3, "adam")]
    assert found["best"].tolist() == [0.95, 0.9, 0.4, 0.1, 0.2, 0.3]
    assert found["number"].tolist() == [0, 1, 1, 0, 1, 0]
    assert found["metric"].tolist() == ["accuracy"] * 3 + ["gap"] * 3
    assert found["seconds"].tolist() == [1.0] * 6


@pytest.mark.slow
def test_equal_values_share_a_rank_and_the_next_is_counted_on(url, board):
    outcomes = {f"digits-mlp/{o}": [v] for o, v in zip(FOUR, (0.5, 0.9, 0.5, 0.1), strict=True)}
    make(url, outcomes, workloads=["digits-mlp"], optimizers=FOUR, trials=1)
    assert places(board(), "digits-mlp") == [(1, "sgd"), (2, "sofim"), (2, "adam"), (4, "adamw")]


@pytest.mark.slow
def test_studies_without_a_complete_trial_come_last_and_say_so(url, board):
    outcomes = {"sofim": ["diverged", "failed: no"], "sgd": [("pruned", 0.99)], "adam": [-5.0]}
    make(url, {f"digits-mlp/{o}": listed for o, listed in outcomes.items()}, workloads=["digits-mlp"], optimizers=FOUR)
    found = board()
    assert places(found, "digits-mlp") == [(1, "adam"), (2, "sofim"), (2, "sgd"), (2, "adamw")]
    nothing = found[found["optimizer"] == "sofim"].iloc[0]
    assert math.isnan(nothing["best"])
    assert (nothing["number"], nothing["params"]) == (-1, {})


def test_of_equal_trials_the_first_is_named(url, board):
    make(url, {"digits-mlp/sofim": [0.1, 0.7, 0.7]}, trials=3, **ONE)
    assert board().iloc[0]["number"] == 1


def test_the_configuration_named_is_the_best_trials_own(url, board):
    make(
        url,
        {"breast-cancer-logreg/sgd": [0.3, 0.1, 0.2]},
        trials=3,
        workloads=["breast-cancer-logreg"],
        optimizers=["sgd"],
    )
    storage = open_storage(url)
    expected = storage.get_all_trials(studies(storage)[0].study_id)[1].params
    close_storage(storage)
    assert board()["params"][0] == expected
    assert {"momentum", "lr", "batch_size"} <= set(expected)


@pytest.mark.slow
def test_every_trial_is_counted_once_under_its_outcome(url, board):
    outcomes = [0.5, ("pruned", 0.9), "diverged", "failed: no", "diverged", 0.6, "failed: no"]
    with open_ledger(url, made := make(url, {}, trials=9, **ONE)) as ledger:
        play(ledger, {"digits-mlp/sofim": [*outcomes, "running"]})
        ledger.flush()
        first = board().set_index("optimizer").iloc[0]
    names = ["complete", "pruned", "diverged", "failed", "running"]
    assert first[names].tolist() == [2, 1, 2, 2, 1]
    interrupted = board().iloc[0]
    assert interrupted[names].tolist() == [2, 1, 2, 2, 0]
    with open_ledger(url, made) as ledger:
        play(ledger, {"digits-mlp/sofim": [0.7, 0.1]})
    asked_again = board().iloc[0]
    assert asked_again[names].tolist() == [4, 1, 2, 2, 0], "nine were asked for; the interrupted one is no tenth"
    assert asked_again["best"] == 0.7


def test_no_study_is_an_empty_board():
    board = leaderboard([], pd.DataFrame(columns=["study", "outcome", "value", "number", "seconds", "params"]))
    assert board.empty
    assert {"workload", "rank", "best", "running"} <= set(board.columns)


VALUES = st.lists(st.one_of(st.none(), st.integers(-2, 2)), max_size=4)


@pytest.mark.slow
@given(
    values=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUES, min_size=1),
    direction=st.sampled_from(["maximize", "minimize"]),
)
def test_ranks_are_one_more_than_the_number_of_those_who_are_better(values, direction):
    """The obvious twin: count, for every study, how many are strictly better."""
    found = [Study(i, name, {}, "w", name, "m", direction, {}) for i, name in enumerate(values)]
    rows = [
        {
            "study": name,
            "number": number,
            "outcome": "complete" if value is not None else "diverged",
            "value": math.nan if value is None else float(value),
            "seconds": 1.0,
            "params": {},
        }
        for name, listed in values.items()
        for number, value in enumerate(listed)
    ]
    frame = pd.DataFrame(rows, columns=["study", "number", "outcome", "value", "seconds", "params"])
    board = leaderboard(found, frame)
    sign = 1 if direction == "maximize" else -1
    score = {
        name: max((sign * value for value in listed if value is not None), default=-math.inf)
        for name, listed in values.items()
    }
    expected = {name: 1 + sum(other > score[name] for other in score.values()) for name in values}
    assert dict(zip(board["optimizer"], board["rank"], strict=True)) == expected
    assert board["rank"].is_monotonic_increasing
    for row in board.to_dict("records"):
        assert (sign * row["best"] == score[row["optimizer"]]) or (
            math.isnan(row["best"]) and score[row["optimizer"]] == -math.inf
        )
