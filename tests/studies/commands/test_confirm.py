"""sofim confirm on a real Ray: exact numbers after a kill, one run alone on a device, test data for it alone."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import FrozenTrial, TrialState

from studies.ledger import fresh_seeds
from studies.training.allowance import affinity
from tests.support import probe_home
from tests.support.fake_campaign import make
from tests.support.probe_home import called, held, settle, wait_until
from tests.system.chaos.home import progress

pytestmark = pytest.mark.cluster

WORKLOAD = "confirm_workload:xor"
OPTIMIZERS = ("sofim", "sgd")


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch) -> Path:
    """The same after a search, whose values are made up: nothing was trained."""
    home = settle(tmp_path, WORKLOAD, trials=2)
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "confirm_workload", raising=False)
    from studies.workloads import resolve

    monkeypatch.setattr("tests.support.fake_campaign.WORKLOADS", {WORKLOAD: resolve(WORKLOAD)})
    outcomes = {f"{WORKLOAD}/{optimizer}": [0.5, 0.75] for optimizer in OPTIMIZERS}
    make(f"sqlite:///{home}/sofim.db", outcomes, name="probe", workloads=[WORKLOAD], optimizers=list(OPTIMIZERS))
    sys.modules.pop("confirm_workload", None)
    return home


def trials_of(home: Path, optimizer: str, suffix: str = "/confirm") -> list[FrozenTrial]:
    return probe_home.trials_of(home, f"{WORKLOAD}/{optimizer}{suffix}")


def notes_of(home: Path) -> pd.DataFrame:
    names = ["what", "pid", "gpus", "time"]
    file = home / "notes" / "notes.tsv"
    return pd.read_csv(file, sep="\t", names=names, keep_default_na=False, dtype={"gpus": str})


def complete(home: Path, optimizer: str) -> list[FrozenTrial]:
    return [trial for trial in trials_of(home, optimizer) if trial.state == TrialState.COMPLETE]


@pytest.fixture(scope="module")
def killed(tmp_path_factory, one_ray) -> tuple[Path, pd.DataFrame, subprocess.CompletedProcess[str]]:
    """A campaign killed amid its confirmation and begun again: where, what was noted before, and what came of it."""
    home = settle(tmp_path_factory.mktemp("killed"), WORKLOAD, trials=2)
    one_ray.use(home)
    (home / "notes" / "PROBE_SECONDS").write_text("0.1")
    command = ["launch", "probe.toml", "--confirm"]
    with held(home, 7, *command):
        wait_until(lambda: progress(f"sqlite:///{home}/sofim.db").finished == 7)
    assert sum(len(complete(home, optimizer)) for optimizer in OPTIMIZERS) == 3, "after four trials of the search"
    return home, notes_of(home), called(home, *command)


def test_a_killed_confirmation_is_continued_to_the_exact_number(killed):
    home, _, done = killed
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Nothing left to run: every trial of probe is in the storage.\n")
    assert "the winners on fresh seeds, mean ± standard deviation" in done.stdout
    assert done.stdout.count("No search saw these seeds or test data.") == 1
    for optimizer in OPTIMIZERS:
        assert len(trials_of(home, optimizer, "")) == 2
        assert not any(trial.state == TrialState.RUNNING for trial in trials_of(home, optimizer))
        seeds = [trial.user_attrs["seed"] for trial in complete(home, optimizer)]
        assert sorted(seeds) == sorted(fresh_seeds(0, 10)), "each once"


def test_one_run_at_a_time_is_on_the_machine(killed):
    """A run sleeps for a while when it begins, and none begins while another does."""
    home, before, _ = killed
    found = sorted(
        (trial for optimizer in OPTIMIZERS for trial in complete(home, optimizer)),
        key=lambda trial: trial.datetime_start,
    )
    assert all(trial.user_attrs["exclusive"] for trial in found)
    cores = len(affinity())
    assert {trial.user_attrs["cores"] for trial in found} == {cores}
    assert all(0 <= trial.user_attrs["other_cores"] <= cores for trial in found)
    assert all(later.datetime_start >= earlier.datetime_complete for earlier, later in pairwise(found))
    after = notes_of(home).iloc[len(before) :].query("what == 'begin'")["time"]
    assert len(after) >= 10
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(sorted(after)))


def test_tuning_reads_no_test_data(killed):
    home, notes, _ = killed
    searched = [trial for optimizer in OPTIMIZERS for trial in trials_of(home, optimizer, "")]
    assert not any(name.startswith("test") for trial in searched for name in trial.user_attrs)
    read = notes.query("what == 'test'")["time"]
    assert datetime.fromtimestamp(read.min()) > max(trial.datetime_complete for trial in searched)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_numbers_are_those_of_plain_training_on_each_seed(killed, monkeypatch, optimizer):
    from search_spaces import SEARCH_SPACES
    from sofim import OPTIMIZERS as REGISTRY
    from studies.training.run import train
    from studies.workloads import resolve

    home, _, _ = killed
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "confirm_workload", raising=False)
    workload = resolve(WORKLOAD)
    sys.modules.pop("confirm_workload", None)
    best = max(trials_of(home, optimizer, ""), key=lambda trial: (trial.value, -trial.number))
    space = SEARCH_SPACES[optimizer]
    arguments = space.arguments({**space.default, **best.params})
    for trial in complete(home, optimizer):
        assert (trial.params, trial.user_attrs["confirms"]) == (best.params, best.number)
        seed = trial.user_attrs["seed"]
        records = list(train(workload, REGISTRY[optimizer], arguments, seed=seed, budget=2, test=True))
        chosen = max(records, key=lambda record: (record.metric, -record.epoch))
        assert trial.user_attrs["history"]["accuracy"] == [record.metric for record in records]
        assert trial.value == chosen.metric
        assert trial.user_attrs["test_metric"] == chosen.test_metric
        assert trial.user_attrs["test_loss"] == chosen.test_loss


@pytest.mark.nightly
def test_every_gpu_has_one_run_and_whoever_asks_for_less_is_not_called_alone(tuned, one_ray):
    one_ray.use(tuned)
    (tuned / "notes" / "PROBE_SECONDS").write_text("0.4")
    (tuned / "notes" / "PROBE_TOGETHER").write_text("2")  # neither goes on before both have begun
    for arguments in (["--seeds", "2", "--gpus-per-trial", "1"], ["--seeds", "4", "--cpus-per-trial", "1"]):
        done = called(tuned, "confirm", "probe.toml", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert ("one at a time on a GPU" in done.stdout) is ("--gpus-per-trial" in arguments)
    begun = notes_of(tuned).query("what == 'begin'").sort_values("time")
    on_gpus, on_cpus = begun.iloc[:4], begun.iloc[4:]
    assert set(on_gpus["gpus"]) == {"0", "1"}
    for _, own in on_gpus.groupby("gpus"):
        assert all(later - earlier >= 0.4 for earlier, later in pairwise(own["time"]))
    assert len(on_cpus) == 4
    assert set(on_cpus["gpus"]) == {""}
    for optimizer in OPTIMIZERS:
        assert [trial.user_attrs["exclusive"] for trial in complete(tuned, optimizer)] == [True, True, False, False]
