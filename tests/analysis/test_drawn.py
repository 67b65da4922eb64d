"""Who drew the trials, in words: a model is not credited with what chance drew, nor where nobody knows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.drawn import drawn_counts, drawn_in_words
from analysis.load import studies, trials
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import campaign, end, open_ledger
from tests.support.made_campaign import made


def table(**drawers: list[str | None]) -> pd.DataFrame:
    rows = [(study, "complete", drawer) for study, own in drawers.items() for drawer in own]
    return pd.DataFrame(rows, columns=["study", "outcome", "drawn_by"])


def test_counts_are_of_each_study_and_of_trials_that_count() -> None:
    found = table(a=["given", "random", "model"], b=["given", "model", "model"])
    found.loc[1, "outcome"] = "lost"
    counts = drawn_counts(found)
    assert counts is not None
    assert counts.loc["a"].to_dict() == {"given": 1, "random": 0, "model": 1}
    assert counts.loc["b"].to_dict() == {"given": 1, "random": 0, "model": 2}
    said = drawn_in_words(counts)
    assert said == "of 2 to 3 trials of a study the model drew 1 to 2, and 1 was given"


@pytest.mark.parametrize("drawer", [None, "chance"])
def test_one_trial_that_does_not_tell_leaves_all_unknown(drawer: str | None) -> None:
    assert drawn_counts(table(a=["given", "random", drawer])) is None
    assert drawn_counts(table(a=["given", "random"]).drop(columns="drawn_by")) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "drawn", "expected"),
    [
        ("tpe", None, "by the tree-structured Parzen estimator (how many of the trials the model drew is not known)"),
        ("tpe", ["given", "random", "random"],
         "by random draws (the campaign names the tree-structured Parzen estimator; of 3 trials of a study the model "
         "drew none, 2 were random, and 1 was given)"),
        ("tpe", ["given", "random", "model"],
         "by the tree-structured Parzen estimator (of 3 trials of a study the model drew 1, 1 was random, and 1 was "
         "given)"),
        ("random", ["random"] * 3, "by random search, without early stopping"),
    ],
)  # fmt: skip
def test_methods_credit_a_sampler_with_what_its_model_drew(
    sampler: str, drawn: list[str] | None, expected: str
) -> None:
    found = made({"w": {"sofim": [0.5, 0.6], "sgd": [0.5, 0.7]}}, sampler=sampler)
    if drawn is not None:
        found.trials["drawn_by"] = drawn * 2
    methods = found.compare().methods
    assert expected in methods
    assert "protocol" in methods


@pytest.mark.slow
def test_the_column_is_what_the_search_stored(tmp_path: Path) -> None:
    """Of a default campaign of 12 trials: one is the default's, nine are the start-up, and the model draws two."""
    url = f"sqlite:///{tmp_path}/trials.db"
    one = campaign(workloads=["digits-mlp"], optimizers=["sgd"], trials=12, sampler="tpe", pruner="hyperband")
    with open_ledger(url, one) as ledger:
        while (assignment := ledger.ask()) is not None:
            end(ledger, assignment, 0.5)
    storage = open_storage(url, create=False)
    frame = trials(storage, studies(storage))
    close_storage(storage)
    assert frame["drawn_by"].tolist() == ["given", *["random"] * 9, *["model"] * 2]
