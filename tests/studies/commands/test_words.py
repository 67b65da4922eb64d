"""What is said of one, of none and of many: a table of messages."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from rich.console import Console

from analysis.load import ParameterInfo
from analysis.report._answer import export_command
from analysis.sensitivity.eligibility import obstacle
from analysis.sensitivity.outcomes import Outcomes
from analysis.text import about
from search_spaces.errors import number_of
from studies.cli import sofim as command
from studies.commands.confirm import _announcement
from studies.commands.progress import stopped_lines
from studies.commands.status import _state
from studies.commands.tables import _confirmed_rows, _print_rows
from studies.commands.tuning import Budget
from studies.commands.tuning._tuned import in_words
from studies.engine import Resources
from studies.storage.database import close_storage
from tests.studies.commands.test_progress import tally
from tests.studies.commands.test_tune import tuned
from tests.support.fake_campaign import make
from tests.support.made_campaign import made

Sofim = Callable[..., tuple[int, str, str]]


def few(outcomes: list[str], parameters: int = 1) -> str | None:
    """Why nothing can be said of trials that ended so."""
    trials = pd.DataFrame({"outcome": outcomes})
    valued = trials[trials["outcome"] != "diverged"]
    none, every = np.zeros(len(valued), dtype=bool), np.ones(len(valued), dtype=bool)
    used = Outcomes(valued, np.arange(len(valued), dtype=float), 1.0, 0, "", none, (), every, ())
    return obstacle(trials, used, parameters)


RUN = {"runs": "confirmation runs"}
SAID = [
    (number_of(1, "trial"), "1 trial"),
    (number_of(0, "study", "studies"), "0 studies"),
    (str(Budget(trials=1)), "1 trial"),
    (str(Budget(trials=2)), "2 trials"),
    (about(0.2), "under 1 s"),
    (about(3), "about 3 s"),
    (in_words({"complete": 1, "pruned": 0}), "1 trial (1 complete)"),
    (in_words({"complete": 0, "pruned": 0}), "0 trials"),
    (few(["complete"]), "1 trial is too few, at least 20 are needed"),
    (few(["complete"] * 2), "2 trials are too few, at least 20 are needed"),
    (few(["complete"] * 24, 5), "24 trials are too few, at least 25 are needed for 5 parameters"),
    (few(["complete"] + ["pruned"] * 20), "only 1 trial is complete, at least 5 are needed"),
    (few(["diverged"]), "the only trial diverged"),
    (few(["diverged"] * 2), "all 2 trials diverged"),
    (few(["complete"] * 30, 0), "no parameter varies"),
    (few([]), "no trial has a value"),
    (_state("not running", [tally(complete=10)]), "finished"),
    (_state("not running", [tally(complete=9)]), "not running"),
    (_state("not running", [tally(complete=10), tally(failed=5, stopped="x")]), "stopped"),
    (_state("running, process 1 on x", [tally(complete=10)]), "running, process 1 on x"),
    (_state("its driver was lost; launch it again to go on", [tally(complete=10)]), "finished"),
    (
        _state("its driver was lost; confirm it again to go on", [tally(complete=10)]),
        "its driver was lost; confirm it again to go on",
    ),
    (stopped_lines([tally()]), []),
    (export_command("my campaign; x", "sqlite:////tmp/a b.db"),
     "sofim export 'my campaign; x' --storage 'sqlite:////tmp/a b.db'"),
    (export_command("quickstart", "sqlite:///sofim.db"), "sofim export quickstart"),
    (
        _announcement([tally(asked_for=1, **RUN)], 1, Resources(None, None, 0.0)),
        "Confirming winners on 1 fresh seed: 1 run; one at a time on a node, whole budgets, no pruner.",
    ),
    (
        _announcement([tally(asked_for=4, complete=1, **RUN)], 2, Resources(None, None, 0.0)),
        "Confirming winners on 2 fresh seeds: 4 runs, 1 is there; one at a time on a node, whole budgets, no pruner.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), SAID, ids=[str(expected)[:50] for _, expected in SAID])
def test_it_is_said_right(said: object, expected: object) -> None:
    assert said == expected


def test_one_trial_is_one_trial() -> None:
    one = tuned(trials={"complete": 1, "pruned": 0, "diverged": 0, "failed": 0}, ended="the only trial was run")
    assert "after 1 trial (1 complete) in 1 min 01 s (the only trial was run)" in str(one)


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch) -> str:
    """Studies of another program with little in them."""
    monkeypatch.chdir(tmp_path)
    url = "sqlite:///s.db"
    storage = optuna.storages.RDBStorage(url)

    def search(name: str, trials: int, objective: Callable[[optuna.Trial], float]) -> None:
        study = optuna.create_study(study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(objective, n_trials=trials)

    search("empty", 0, lambda trial: 0.0)
    search("one", 1, lambda trial: trial.suggest_float("x", 0, 1))
    search("none", 30, lambda trial: float(trial.number))
    with pytest.warns(UserWarning, match="Choices for a categorical"):
        search("lists", 22, lambda trial: float(len(trial.suggest_categorical("layers", [[64], [64, 64]]))))
    close_storage(storage)
    return url


@pytest.mark.nightly(by_day=["one-No conclusion can be drawn: 1 trial is too few, at least 20 are needed."])
@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "says"),
    [
        ("empty", "No conclusion can be drawn: no trial has a value."),
        ("one", "No conclusion can be drawn: 1 trial is too few, at least 20 are needed."),
        ("none", "No conclusion can be drawn: no parameter varies."),
        ("lists", "layers is the only parameter"),
    ],
)
def test_small_studies_are_reported_in_whole_sentences(sofim: Sofim, foreign: str, study: str, says: str) -> None:
    code, out, err = sofim("report", "--study", study, "--storage", foreign, "--out", "r")
    assert (code, err) == (0, ""), "no library warns"
    assert says in out
    page = Path("r/index.html").read_text(encoding="utf-8")
    for text in (out, page):
        assert "1 trials" not in text
        assert ", with ." not in text
        assert "site-packages" not in text
    assert math.isnan(ParameterInfo("x", "categorical", math.nan, math.nan).low)


@pytest.mark.slow
def test_a_campaign_of_one_is_told_so(sofim: Sofim) -> None:
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5]}, trials=1, workloads=["digits-mlp"], optimizers=["sgd"])
    for arguments in (
        ["status"],
        ["list"],
        ["launch", "fake"],
        ["export", "fake", "--format", "python"],
        ["report", "fake"],
    ):
        code, out, err = sofim(*arguments)
        assert (code, err) == (0, "")
        for noun in ("trials", "studies", "runs", "seeds", "optimizers", "workloads", "epochs"):
            assert f" 1 {noun}" not in f" {out}", out
    page = Path("reports/fake/index.html").read_text(encoding="utf-8")
    assert "1 trials" not in page
    assert "fake: finished" in sofim("status")[1]


def test_gap_is_explained_where_it_is_first_said(sofim: Sofim) -> None:
    assert "gap (training loss less the least possible), minimize" in sofim("list")[1]


def test_help_says_what_a_report_is_about(sofim: Sofim) -> None:
    assert "which optimizer is better" in command.commands["report"].help


def on_fresh_seeds(runs: dict[str, Any], **options: Any) -> str:
    """What the command line says of winners whose runs gave these values."""
    found = made({"w": runs}, **options)
    of: dict[str, list[Any]] = {}
    for study in found.studies:
        of.setdefault(study.optimizer, []).append(study)
    console = Console(file=io.StringIO(), width=200)
    rows = [row for own in of.values() for row in _confirmed_rows(own, found.trials, found.confirmations, 1)]
    _print_rows(found.studies[0], rows, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_heading_of_winners_says_what_each_number_is_over_and_who_stands_last() -> None:
    three = [0.5, 0.9, 0.7]
    assert "over searches (of one search over seeds);" in on_fresh_seeds(
        {"sgd": [[0.9, 0.8], [0.7, 0.6]], "adamw": [three, []]}
    )
    assert "over searches;" in on_fresh_seeds({"sgd": [[0.9, 0.8], [0.7, 0.6]], "adamw": [three, three]})
    broke = {"sgd": [0.9, 0.95, 0.94, "diverged"], "adamw": three}
    assert "(higher is better), those with runs that broke last" in on_fresh_seeds(broke)
    assert "broke last" not in on_fresh_seeds({"sgd": three, "adamw": three})
