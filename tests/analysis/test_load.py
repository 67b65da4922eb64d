"""What the database says, read back: whose studies, which outcomes, and what stands beside them."""

from __future__ import annotations

import math

import optuna
import pandas as pd
import pytest

from analysis.load import campaigns, studies, trials
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import end, make, open_ledger, play, record

ONE = {"workloads": ["digits-mlp"], "optimizers": ["sofim"]}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


@pytest.fixture
def opened(url):
    """The storage, as a reader opens it."""
    storage = open_storage(url)
    yield storage
    close_storage(storage)


def test_a_study_is_described_by_its_attributes(url, opened):
    made = make(url, {})
    found = studies(opened)
    assert [study.name for study in found] == [
        "fake/digits-mlp/sofim",
        "fake/digits-mlp/sgd",
        "fake/breast-cancer-logreg/sofim",
        "fake/breast-cancer-logreg/sgd",
    ]
    first, last = found[0], found[-1]
    assert (first.workload, first.optimizer, first.metric, first.direction) == (
        "digits-mlp", "sofim", "accuracy", "maximize",
    )  # fmt: skip
    assert (last.workload, last.optimizer, last.metric, last.direction) == (
        "breast-cancer-logreg", "sgd", "gap", "minimize",
    )  # fmt: skip
    assert first.campaign == made.stored()
    assert first.attributes["protocol"] == 2


@pytest.mark.slow
def test_campaigns_are_told_apart_and_listed_oldest_first(url, opened):
    make(url, {}, name="zebra")
    make(url, {}, name="ant", optimizers=["adam"])
    assert campaigns(opened) == ["zebra", "ant"]
    assert {study.optimizer for study in studies(opened, "ant")} == {"adam"}
    assert len(studies(opened, "zebra")) == 4
    assert len(studies(opened)) == 6
    assert studies(opened, "bee") == []


def test_every_way_a_trial_can_end_has_its_word(url, opened):
    outcomes = [0.5, ("pruned", 0.25), "diverged", "failed: ValueError: no"]
    make(url, {"digits-mlp/sofim": outcomes}, trials=4, **ONE)
    found = trials(opened, studies(opened)).set_index("number")
    assert found["outcome"].tolist() == ["complete", "pruned", "diverged", "failed"]
    assert found["value"].tolist()[:2] == [0.5, 0.25]
    assert found["value"][2:].isna().all()
    assert found["failure"][:3].isna().all()
    assert found["failure"][3].endswith("ValueError: no")
    assert found["seconds"].tolist() == [0.5, 0.5, 0.5, 0.0]
    assert found["gradient_evaluations"].tolist() == [10, 10, 10, 0]
    assert set(found["params"][0]) == {"lr", "rho", "beta", "weight_decay", "batch_size"}
    assert set(found["study"]) == {"fake/digits-mlp/sofim"}


@pytest.mark.slow
def test_a_trial_that_runs_is_running_and_one_that_was_interrupted_is_lost(url, opened):
    with open_ledger(url, made := make(url, {}, **ONE)) as ledger:
        play(ledger, {"digits-mlp/sofim": ["running"]})
        ledger.flush()
        assert trials(opened, studies(opened))["outcome"].tolist() == ["running"]
    assert trials(opened, studies(opened))["outcome"].tolist() == ["lost"]
    with open_ledger(url, made) as ledger:
        play(ledger, {"digits-mlp/sofim": [0.7]})
    again = trials(opened, studies(opened))
    assert again["outcome"].tolist() == ["lost", "complete"]
    assert again["params"][0] == again["params"][1]


@pytest.mark.slow
def test_a_trial_of_a_driver_that_died_is_lost_once_the_next_driver_has_come(url, opened):
    made = make(url, {"digits-mlp/sofim": [0.5]}, **ONE)
    [study] = studies(opened)
    opened.create_new_trial(study.study_id)  # what a killed driver leaves: RUNNING for ever
    assert trials(opened, [study])["outcome"].tolist() == ["complete", "running"]
    open_ledger(url, made).close()
    assert trials(opened, [study])["outcome"].tolist() == ["complete", "lost"]


def test_a_campaign_without_trials_is_a_frame_without_rows(url, opened):
    make(url, {}, **ONE)
    found = trials(opened, studies(opened))
    assert found.empty
    assert list(found.columns) == [
        "study", "workload", "optimizer", "number", "outcome", "value", "seconds", "gradient_evaluations",
        "failure", "params", "seed", "tested", "drawn_by",
    ]  # fmt: skip


def test_values_are_numbers_even_where_none_is(url, opened):
    make(url, {"digits-mlp/sofim": ["diverged", "failed: x"]}, **ONE)
    assert pd.api.types.is_float_dtype(trials(opened, studies(opened))["value"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"campaign": "spring"},
        {"campaign": {"name": "fake"}, "workload": "digits-mlp"},
        {"campaign": 7, "protocol": 1},
        {"protocol": "http"},
    ],
)
def test_studies_of_other_programs_in_the_same_database_are_none_of_ours(url, opened, attributes):
    foreign = optuna.create_study(storage=opened, study_name="fake/digits-mlp/adam", direction="maximize")
    foreign.add_trial(optuna.trial.create_trial(value=9.0))
    for name, value in attributes.items():
        foreign.set_user_attr(name, value)
    optuna.create_study(storage=opened, directions=["maximize", "minimize"])
    make(url, {"digits-mlp/sofim": [0.5]}, **ONE)
    assert len(studies(opened)) == 1
    assert campaigns(opened) == ["fake"]
    assert trials(opened, studies(opened))["value"].tolist() == [0.5]


def test_confirmation_runs_are_no_trials_of_the_search(url, opened):
    make(url, {"digits-mlp/sofim": [0.5]}, **ONE)
    ours = studies(opened)[0]
    confirm = optuna.create_study(storage=opened, study_name=f"{ours.name}/confirm", direction="maximize")
    for name, value in ours.attributes.items():
        confirm.set_user_attr(name, value)
    confirm.add_trial(optuna.trial.create_trial(value=0.9))
    assert len(studies(opened)) == 1
    assert trials(opened, studies(opened))["value"].tolist() == [0.5]


def test_the_value_is_the_best_of_all_epochs_and_seconds_are_to_the_end(url, opened):
    with open_ledger(url, make(url, {}, **ONE)) as ledger:
        assignment = ledger.ask()
        for epoch, value in ((1, 0.2), (2, 0.9), (3, math.nan)):
            ledger.report(assignment, record(epoch, value, seconds=float(epoch)))
        end(ledger, assignment, 0.1, seconds=3.0)
    [row] = trials(opened, studies(opened)).to_dict("records")
    assert (row["value"], row["seconds"]) == (0.9, 3.0)
