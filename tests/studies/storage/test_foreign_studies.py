"""Studies of other programs beside those of campaigns, whatever they and their attributes are called; damaged ones."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from analysis.dashboard import AnnotationService, NoteContext
from analysis.load import campaigns, confirmations, damaged, studies, trials
from search_spaces.errors import UserError
from studies.commands.find import existing
from studies.storage.database import close_storage, open_storage
from tests.studies.storage.test_away import execute
from tests.support.fake_campaign import campaign, make, open_ledger, play

URL = "sqlite:///sofim.db"
ONE = {"workloads": ["digits-mlp"], "optimizers": ["sgd"]}
OURS = "fake/digits-mlp/sgd"
JUNK: tuple[Any, ...] = (None, True, -1, 10**400, 1e300, "", "text", [], [1, "a"], {}, {"name": ["x"]}, [[{"a": None}]])
OF_STUDIES = ("campaign", "protocol", "workload", "optimizer", "metric", "versions", "search_space", "replicate",
              "metric_split", "metric_scale", "target", "kind", "epochs", "driver", "checkpoints")  # fmt: skip
OF_TRIALS = ("seed", "seconds", "history", "diverged", "failure", "retry_of", "device", "gradient_evaluations",
             "confirms", "rank", "exclusive", "other_cores", "test_metric", "evaluates")  # fmt: skip
NAMES = ("crystal", "a/b/c", "x/confirm", "y/evaluate", "a/b/c/replicate-2", "fake/digits-mlp/adam", "fake",
         f"{OURS}/confirm", f"{OURS}/evaluate", f"{OURS}/replicate-2", "////", "fake//sgd")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made") / "sofim.db"
    make(f"sqlite:///{path}", {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)
    return path


@pytest.fixture(autouse=True)
def ours(made, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(made, "sofim.db")


def add(name: str, attributes: dict[str, Any], of_trials: dict[str, Any], num_trials: int = 3) -> None:
    study = optuna.create_study(study_name=name, storage=optuna.storages.RDBStorage(URL))
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    states = [optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL]
    for number in range(num_trials):
        kind = states[number % 3]
        trial = optuna.trial.create_trial(
            state=kind,
            value=number / num_trials if kind == states[0] else None,
            params={"x": number / num_trials},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
            intermediate_values={1: 0.5},
            user_attrs=of_trials,
        )
        study.add_trial(trial)
    close_storage(study._storage._backend)


def rows(path: str = "sofim.db") -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        return list(opened.iterdump())


def check_all(sofim: Any, *, foreign: str) -> None:
    """The campaign is as if it were alone, and a foreign study is reported as one."""
    for command in (["list"], ["status"], ["status", "fake"], ["export", "fake"]):
        code, out, err = sofim(*command)
        assert (code, err) == (0, ""), (command, err)
        assert "fake" in out
    assert "1 study" in sofim("list")[1]
    code, _, err = sofim("report", "--study", "no such")
    assert code == 2
    assert foreign in err  # nothing is hidden
    with existing(URL) as opened:
        assert campaigns(opened) == ["fake"]
        assert trials(opened, studies(opened, replicates=True))["value"].tolist() == [0.5, 0.75]
        assert confirmations(opened, studies(opened)).empty


@pytest.mark.nightly(by_day=["None", "text", "[[{'a': None}]]"])
@pytest.mark.slow
@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: str(junk)[:20])
def test_attributes_of_any_kind_with_our_names_make_no_study_ours(sofim, junk):
    add("crystal", dict.fromkeys(OF_STUDIES, junk), dict.fromkeys(OF_TRIALS, junk))
    before = rows()
    check_all(sofim, foreign="crystal")
    with existing(URL) as opened:
        from analysis.load import read, study

        frames = read(opened, [study(opened, "crystal")])
        wanted = ["complete", "diverged" if junk is True else "pruned", "failed"]
        assert frames.trials["outcome"].tolist() == wanted
        assert not frames.trials["tested"].any()
        assert frames.curves["value"].tolist() == [0.5, 0.5, 0.5]
    assert rows() == before


@pytest.mark.nightly(by_day=["crystal", "fake"])
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_studies_of_any_name_are_neither_taken_for_ours_nor_hidden_nor_written_to(sofim, name):
    attributes = {"campaign": {"name": "autumn", "beamline": 7}, "protocol": "v3", "metric": "rmse"}
    add(name, attributes, {"seed": "x", "seconds": [1]})
    before = rows()
    check_all(sofim, foreign=name)
    assert rows() == before
    other = optuna.load_study(study_name=name, storage=URL)
    with open_ledger(URL, campaign(**ONE)):  # a driver goes on with ours beside it
        pass
    assert optuna.load_study(study_name=name, storage=URL).user_attrs == other.user_attrs


@pytest.mark.slow
def test_a_benchmark_that_names_studies_and_attributes_as_we_do_is_none_of_ours(sofim):
    attributes = {"workload": "mnist", "optimizer": "adam", "metric": "error", "protocol": 1, "campaign": "spring"}
    add("spring/mnist/adam", attributes, {})
    check_all(sofim, foreign="spring/mnist/adam")
    with existing(URL) as opened:
        assert damaged(opened) == {}


@pytest.mark.slow
def test_a_copy_of_a_campaigns_study_under_another_name_is_a_study_by_itself(sofim):
    optuna.copy_study(from_study_name=OURS, from_storage=URL, to_storage=URL, to_study_name="backup")
    check_all(sofim, foreign="backup")


@pytest.mark.slow
def test_the_report_on_a_study_with_our_names(sofim):
    attributes = {"campaign": {"name": "autumn"}, "protocol": "v3", "search_space": [1], "metric": {"a": 1}}
    add("crystal", attributes, {"history": {"epoch": "x"}, "test_loss": 1, "failure": ["x"]}, num_trials=60)
    code, out, err = sofim("report", "--study", "crystal", "--out", "r")
    assert (code, err) == (0, "")
    assert Path("r/index.html").exists()
    assert "crystal" in out


def test_the_notes_of_the_dashboard_are_on_ours_alone():
    add("crystal", {"campaign": {"name": "autumn"}, "protocol": 3, "workload": 7}, {"seconds": "x"})
    add(f"{OURS}/confirm", {"campaign": [], "protocol": 1}, {"confirms": "x"})
    told: list[str] = []
    storage = open_storage(URL)
    service = AnnotationService(storage, NoteContext(), told.append)
    service.refresh()
    every = {study.study_name: study._study_id for study in storage.get_all_studies()}
    assert service.annotation(every[OURS]) is not None
    assert service.annotation(every["crystal"]) is service.annotation(every[f"{OURS}/confirm"]) is None
    assert told == []
    service.close()
    close_storage(storage)


@pytest.mark.parametrize("num_trials", [0, 3])
def test_a_driver_refuses_a_foreign_study_where_its_own_would_be_and_writes_nothing(num_trials):
    add("new/digits-mlp/sgd", {"author": "Ada", "metric": "rmse"}, {}, num_trials)
    before = rows()
    with pytest.raises(UserError, match="a study 'new/digits-mlp/sgd' that no campaign made"):
        open_ledger(URL, campaign(name="new", **ONE))
    assert rows() == before


def test_confirming_refuses_a_foreign_study_where_its_runs_would_be_and_writes_nothing():
    from tests.studies.ledger.test_confirm_ledger import confirming

    add(f"{OURS}/confirm", {"protocol": 1, "campaign": {"name": "fake"}}, {})
    before = rows()
    with pytest.raises(UserError, match=f"a study '{OURS}/confirm' that no campaign made; delete it"):
        confirming(URL, campaign(**ONE))
    assert rows() == before


@pytest.mark.slow
def test_what_another_program_wrote_on_our_trials_is_no_number(sofim):
    """The trial's own attributes are lost then, and nothing else."""
    for name, value in {"seconds": "3 min", "gradient_evaluations": None, "seed": "x", "history": [1]}.items():
        written = json.dumps(value)
        execute(URL, f"UPDATE trial_user_attributes SET value_json = '{written}' WHERE key = '{name}' AND trial_id = 1")
    for command in (["status"], ["export", "fake"], ["report", "fake", "--out", "r"]):
        code, _, err = sofim(*command)
        assert (code, err) == (0, ""), (command, err)


# ----------------------------------------------------------------------------------------------- damaged ones


@pytest.mark.nightly(by_day=["missing-campaign", "missing-metric", "of another kind-optimizer"])
@pytest.mark.slow
@pytest.mark.parametrize("name", ["campaign", "protocol", "workload", "optimizer", "metric"])
@pytest.mark.parametrize("how", ["missing", "of another kind"])
def test_a_damaged_study_is_named_in_one_line_and_the_rest_is_shown(sofim, name, how):
    make(URL, {"digits-mlp/sgd": [0.25, 0.5]}, name="second", **ONE)
    where = f"WHERE key = '{name}' AND study_id = 1"
    execute(
        URL,
        f"DELETE FROM study_user_attributes {where}" if how == "missing"
        else f"UPDATE study_user_attributes SET value_json = '[7]' {where}",
    )  # fmt: skip
    line = (
        f"sofim: study '{OURS}' of campaign 'fake' is damaged: its attribute '{name}' is missing or not what a campaign"
    )
    line += " stores"
    before = rows()
    for command in (["list"], ["status"]):
        code, out, err = sofim(*command)
        assert (code, err) == (0, f"{line}\n")
        assert "second" in out
    for command in (
        ["status", "fake"],
        ["report", "fake"],
        ["export", "fake"],
        ["launch", "fake"],
        ["confirm", "fake"],
    ):
        code, out, err = sofim(*command)
        assert (code, out, err.count("\n")) == (2, "", 1), command
        assert err.startswith(f"{line}; restore the storage from a copy, or report"), command
    with pytest.raises(UserError, match=f"study '{OURS}' of campaign 'fake' is damaged: '{name}' missing"):
        open_ledger(URL, campaign(**ONE))
    assert rows() == before
    if (name, how) == ("campaign", "missing"):
        code, _, err = sofim("report", "--study", OURS, "--out", "r")
        assert (code, err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["sqlite", "journal"])
def test_a_campaign_that_optuna_copied_to_another_database_goes_on_there(tmp_path, scheme) -> None:
    old, new = f"sqlite:///{tmp_path}/old.db", f"{scheme}:///{tmp_path}/new"
    make(old, {"digits-mlp/sgd": [0.5]}, **ONE, trials=3)
    copy = open_storage(new, create=True)
    for name in optuna.get_all_study_names(old):
        optuna.copy_study(from_study_name=name, from_storage=old, to_storage=copy)
    close_storage(copy)
    with open_ledger(new, campaign(**ONE, trials=3)) as ledger:
        play(ledger, {"digits-mlp/sgd": [0.6, 0.7]})
        assert ledger.ask() is None
    with existing(new) as storage:
        assert list(trials(storage, studies(storage))["value"]) == [0.5, 0.6, 0.7]
