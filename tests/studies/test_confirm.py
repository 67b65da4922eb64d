"""sofim confirm on a real Ray: exact numbers after a kill, one run alone on a device, test data for it alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import FrozenTrial, TrialState

from studies.ledger import close_storage, fresh_seeds
from tests.studies.fake_campaign import make

pytestmark = pytest.mark.slow

WORKLOAD = "confirm_workload:xor"
OPTIMIZERS = ("sofim", "sgd")
CAMPAIGN = f"""
name = "probe"
workloads = ["{WORKLOAD}"]
optimizers = ["sofim", "sgd"]
trials = 2
sampler = "random"
pruner = "none"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory as a user would have it: a workload of one's own, and a campaign."""
    shutil.copy(Path(__file__).parent / "confirm_workload.py", tmp_path)
    (tmp_path / "probe.toml").write_text(CAMPAIGN)
    (tmp_path / "notes").mkdir()
    return tmp_path


@pytest.fixture
def tuned(home: Path, monkeypatch) -> Path:
    """The same after a search, whose values are made up: nothing was trained."""
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "confirm_workload", raising=False)
    from studies.workloads import resolve

    monkeypatch.setattr("tests.studies.fake_campaign.WORKLOADS", {WORKLOAD: resolve(WORKLOAD)})
    outcomes = {f"{WORKLOAD}/{optimizer}": [0.5, 0.75] for optimizer in OPTIMIZERS}
    make(f"sqlite:///{home}/sofim.db", outcomes, name="probe", workloads=[WORKLOAD], optimizers=list(OPTIMIZERS))
    sys.modules.pop("confirm_workload", None)
    return home


def environment(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PROBE_NOTES": str(home / "notes"), **more}


def python(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=home,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def trials_of(home: Path, optimizer: str, suffix: str = "/confirm") -> list[FrozenTrial]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{home}/sofim.db")
    try:
        return optuna.load_study(study_name=f"probe/{WORKLOAD}/{optimizer}{suffix}", storage=storage).get_trials()
    finally:
        close_storage(storage)


def notes_of(home: Path) -> pd.DataFrame:
    names = ["what", "pid", "gpus", "time"]
    file = home / "notes" / "notes.tsv"
    return pd.read_csv(file, sep="\t", names=names, keep_default_na=False, dtype={"gpus": str})


def complete(home: Path, optimizer: str) -> list[FrozenTrial]:
    return [trial for trial in trials_of(home, optimizer) if trial.state == TrialState.COMPLETE]


def test_tuning_reads_no_test_data_and_confirming_does_both_in_one_go(home):
    """And the numbers are those of plain training in this process, on each fresh seed."""
    done = python(home, "-m", "studies.cli", "launch", "probe.toml", "--confirm")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the winners on fresh seeds, mean ± standard deviation" in done.stdout
    assert done.stdout.count("Nothing was chosen on these seeds or on test data.") == 1
    searched = [trial for optimizer in OPTIMIZERS for trial in trials_of(home, optimizer, "")]
    assert len(searched) == 4
    assert not any(name.startswith("test") for trial in searched for name in trial.user_attrs)
    read = notes_of(home).query("what == 'test'")["time"]
    ends = [trial.datetime_complete for trial in searched]
    assert len(read) > 0
    assert datetime.fromtimestamp(read.min()) > max(end for end in ends if end is not None)

    sys.path.insert(0, str(home))
    try:
        from studies.workloads import resolve

        workload = resolve(WORKLOAD)
    finally:
        sys.path.remove(str(home))
        sys.modules.pop("confirm_workload", None)
    from search_spaces import SEARCH_SPACES
    from sofim import OPTIMIZERS as REGISTRY
    from studies.training import train

    for optimizer in OPTIMIZERS:
        found = complete(home, optimizer)
        assert [trial.user_attrs["seed"] for trial in found] == fresh_seeds(0, WORKLOAD, 10)
        best = max(trials_of(home, optimizer, ""), key=lambda trial: (trial.value, -trial.number))
        arguments = SEARCH_SPACES[optimizer].arguments(best.params)
        for trial in found:
            assert (trial.params, trial.user_attrs["confirms"]) == (best.params, best.number)
            seed = trial.user_attrs["seed"]
            records = list(train(workload, REGISTRY[optimizer], arguments, seed=seed, budget=2, test=True))
            chosen = max(records, key=lambda record: (record.metric, -record.epoch))
            assert trial.user_attrs["history"]["accuracy"] == [record.metric for record in records]
            assert trial.value == chosen.metric
            assert trial.user_attrs["test_metric"] == chosen.test_metric
            assert trial.user_attrs["test_loss"] == chosen.test_loss


def test_a_killed_confirmation_is_continued_to_the_exact_number_one_run_at_a_time(tuned):
    command = ["-m", "studies.cli", "confirm", "probe", "--seeds", "4"]
    driver = subprocess.Popen(
        [sys.executable, *command],
        cwd=tuned,
        env=environment(tuned, PROBE_SECONDS="0.5"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if (tuned / "notes" / "notes.tsv").exists() and len(notes_of(tuned).query("what == 'begin'")) >= 3:
            break
    driver.send_signal(signal.SIGKILL)
    driver.wait(timeout=60)
    before = [trial for optimizer in OPTIMIZERS for trial in complete(tuned, optimizer)]
    assert len(before) < 8, "it was killed too late to show anything"
    first = notes_of(tuned)
    done = python(tuned, *command, PROBE_SECONDS="0.5")
    assert (done.returncode, done.stderr) == (0, "")
    for optimizer in OPTIMIZERS:
        assert not any(trial.state == TrialState.RUNNING for trial in trials_of(tuned, optimizer))
        seeds = [trial.user_attrs["seed"] for trial in complete(tuned, optimizer)]
        assert sorted(seeds) == sorted(fresh_seeds(0, WORKLOAD, 4)), "each once"
        assert all(trial.user_attrs["exclusive"] for trial in complete(tuned, optimizer))
    # alone on the machine: a run sleeps for half a second, and none begins while another does
    second = notes_of(tuned).iloc[len(first) :]
    for notes in (first, second):
        begun = sorted(notes.query("what == 'begin'")["time"])
        assert all(later - earlier >= 0.5 for earlier, later in pairwise(begun))
    intervals = sorted(
        (trial.datetime_start, trial.datetime_complete)
        for optimizer in OPTIMIZERS
        for trial in complete(tuned, optimizer)
    )
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(intervals))


ON_GPUS = """
import sys, ray
ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
from studies.cli import main
for arguments in (["--seeds", "2", "--gpus-per-trial", "1"], ["--seeds", "4", "--cpus-per-trial", "1"]):
    try:
        main(["confirm", "probe.toml", *arguments])
    except SystemExit as end:
        if end.code:
            raise
"""


def test_every_gpu_has_one_run_and_whoever_asks_for_less_is_not_called_alone(tuned):
    done = python(tuned, "-c", ON_GPUS, PROBE_SECONDS="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "one at a time on a GPU" in done.stdout
    begun = notes_of(tuned).query("what == 'begin'").sort_values("time")
    on_gpus, on_cpus = begun.iloc[:4], begun.iloc[4:]
    assert set(on_gpus["gpus"]) == {"0", "1"}
    assert on_gpus["time"].iloc[1] - on_gpus["time"].iloc[0] < 0.9, "both GPUs work"
    for _, own in on_gpus.groupby("gpus"):
        assert all(later - earlier >= 1 for earlier, later in pairwise(own["time"]))
    assert len(on_cpus) == 4
    assert set(on_cpus["gpus"]) == {""}
    for optimizer in OPTIMIZERS:
        assert [trial.user_attrs["exclusive"] for trial in complete(tuned, optimizer)] == [True, True, False, False]
