"""``sofim evaluate``: real runs of what each workload recommends, exact after a kill, and regrets of them."""

from __future__ import annotations

import itertools
import os
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from sofim import OPTIMIZERS
from studies.commands.evaluate import TYPED, _typed
from studies.ledger import fresh_seeds
from studies.storage.database import close_storage, open_storage
from tests.support.probe_home import held, wait_until
from tests.support.report_studies import make, ridge

WORKLOADS = ("digits-mlp", "breast-cancer-logreg")
STUDIES = [f"fake/{workload}/sofim/evaluate" for workload in WORKLOADS]
COMMAND = ("evaluate", "fake", "--optimizer", "sofim", "--seeds", "2")
EXPORT = ("export", "fake", "--optimizer", "sofim")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A campaign that was tuned, on paper."""
    home = tmp_path_factory.mktemp("made")
    make(f"sqlite:///{home}/sofim.db", ridge, trials=60, optimizers=["sofim", "sgd"])
    return home / "sofim.db"


@pytest.fixture
def home(made, tmp_path) -> Path:
    shutil.copy(made, tmp_path / "sofim.db")
    return tmp_path


def runs(home: Path) -> dict[str, list[FrozenTrial]]:
    storage = open_storage(f"sqlite:///{home}/sofim.db")
    try:
        there = {study.study_name: study._study_id for study in storage.get_all_studies()}
        return {name: storage.get_all_trials(there[name]) if name in there else [] for name in STUDIES}
    finally:
        close_storage(storage)


def ended(home: Path) -> int:
    return sum(trial.state.is_finished() for listed in runs(home).values() for trial in listed)


@pytest.mark.nightly
@pytest.mark.cluster
def test_after_kill_9_each_recommendation_is_run_once_a_seed_and_workload(home, sofim, one_ray) -> None:
    with held(home, 3, *COMMAND):
        wait_until(lambda: ended(home) >= 3)
    assert 3 <= ended(home) < 8  # runs may diverge too, of which fewer than these are complete

    there = ended(home)
    code, out, err = sofim(*COMMAND, "--log", "tensorboard:logs", "--cpus-per-trial", "2")
    assert (code, err) == (0, "")
    assert len(list((home / "logs").rglob("*tfevents*"))) >= 8 - there
    assert "Evaluating what is recommended on fake, 2 fresh seeds: 8 runs, " in out
    assert out.endswith("regrets of these runs:\n  sofim export fake --optimizer sofim\n")
    code, out, err = sofim(*EXPORT)
    assert (code, err) == (0, "")
    document = tomllib.loads(out)
    assert document["made"]["by"] == "sofim export fake --optimizer sofim"
    assert document["made"]["regrets"] == "of runs on 2 fresh seeds"

    every = runs(home)
    for name, listed in every.items():
        optimizer = name.split("/")[2]
        kept = [trial for trial in listed if trial.user_attrs.get("failure") not in ("driver lost", "interrupted")]
        assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in kept)
        own = document["optimizers"][optimizer]["workloads"]
        given = {str(sorted(own[other]["params"].items())) for other in WORKLOADS}
        found = Counter((str(sorted(t.user_attrs["evaluates"].items())), t.user_attrs["seed"]) for t in kept)
        # what diverged gave way to a winner, which was run in its place
        replaced = [other for other in WORKLOADS if any("measured to be worse" in note for note in own[other]["notes"])]
        every_given = given | {one for one, _ in found}
        assert len(every_given - given) <= len(replaced)
        assert found == Counter(itertools.product(every_given, fresh_seeds(0, 2)))
        for other in WORKLOADS:
            told = own[other]["evidence"]
            gave_way = any("measured to be worse" in note for note in own[other]["notes"])
            assert told["seeds"] == 2
            assert gave_way or not told["diverged"]
        assert not any(key.startswith("test_") for trial in listed for key in trial.user_attrs)

    check_regrets(document, every)
    code, out, err = sofim(*EXPORT, "--evaluate", "--seeds", "2")
    assert (code, err.count("\n")) == (0, 4), "nothing is left to run"
    assert "\nexport --evaluate is now: sofim evaluate; export reads its runs\n" in err
    assert tomllib.loads(out)["optimizers"] == document["optimizers"]
    _, out, _ = sofim("status")
    assert "evaluate" not in out, "no studies of a search"


def check_regrets(document: dict[str, Any], every: dict[str, list[FrozenTrial]]) -> None:
    """Of the default, from the means of the runs as they are stored; training started (on paper) where it ended."""
    for optimizer, own in document["optimizers"].items():
        assert own["default"]["left_out"].keys() >= {"regret", "regret_interval"}
        left_out = own["default"]["left_out"]["workloads"]
        for workload, other in zip(WORKLOADS, reversed(WORKLOADS), strict=True):
            assert left_out[workload]["from"] == other
            sign = 1.0 if workload == "digits-mlp" else -1.0
            listed = every[f"fake/{workload}/{optimizer}/evaluate"]
            mean = {
                of: sum(t.value or 0.0 for t in mine) / len(mine)
                for of in WORKLOADS
                if (
                    mine := [
                        trial
                        for trial in listed
                        if trial.user_attrs["evaluates"] == own["workloads"][of]["params"]
                        and trial.state == TrialState.COMPLETE
                    ]
                )
            }
            better = sign * (mean[other] - mean[workload]) >= 0
            assert (left_out[workload]["regret"] == 0.0) is better


def test_surrogates_tell_as_long_as_not_all_has_been_run(home, sofim, monkeypatch) -> None:
    monkeypatch.chdir(home)
    code, out, err = sofim(*EXPORT)
    assert (code, err) == (0, "")
    assert tomllib.loads(out)["made"]["regrets"] == "of surrogates"


@pytest.mark.parametrize("option", [("--seeds", "5"), ("--cpus-per-trial", "2")])
def test_export_runs_nothing_and_takes_no_option_of_that(home, sofim, monkeypatch, option) -> None:
    monkeypatch.chdir(home)
    code, out, err = sofim("export", "fake", *option)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"sofim: No such option '{option[0]}'"), err


@pytest.mark.slow
def test_a_driver_that_runs_the_campaign_is_not_disturbed(home, sofim, monkeypatch) -> None:
    from studies.campaign.resolve import ResolvedCampaign
    from studies.ledger import open_search
    from studies.workloads import WORKLOADS as KNOWN
    from tests.support.fake_campaign import campaign

    fake = campaign(trials=60)
    monkeypatch.chdir(home)
    plans = ResolvedCampaign(fake, {name: KNOWN[name] for name in WORKLOADS}).study_plans()
    with open_search("sqlite:///sofim.db", fake.stored(), plans, {}):
        code, out, err = sofim(*COMMAND)
    assert (code, out) == (2, "")
    assert f"campaign 'fake' in sqlite:///sofim.db is being run by process {os.getpid()} " in err
    assert err.endswith("wait for it (--wait), or stop it\n")
    assert not any(runs(home).values())


@pytest.mark.parametrize("optimizer", TYPED)
def test_what_people_type_is_run_as_they_type_it(optimizer: str) -> None:
    candidate, (text, _) = _typed(optimizer), TYPED[optimizer]
    name, _, given = text.rstrip(")").partition("(")
    weights = [torch.nn.Parameter(torch.zeros(1))]
    theirs = getattr(torch.optim, name)(weights, **eval(f"dict({given})"))
    arguments = {key: value for key, value in candidate.arguments.items() if key != "batch_size"}
    assert OPTIMIZERS[optimizer].factory(weights, **arguments).defaults == theirs.defaults
    assert candidate.configuration == {"as_typed": text, "batch_size": 64}
    assert candidate.arguments["batch_size"] == 64
