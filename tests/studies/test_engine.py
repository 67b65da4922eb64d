"""Ray for real: one machine, logical GPUs, three nodes, workers that die; what counts is what the database then has."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.studies import probe_home
from tests.studies.probe_home import environment, settle, sofim

pytestmark = pytest.mark.slow

PLAIN = "probe_workload:plain"


@pytest.fixture
def home(tmp_path):
    return settle(tmp_path, PLAIN, trials=4)


def trials_of(home: Path, workload: str = PLAIN, optimizer: str = "sofim") -> list[FrozenTrial]:
    return probe_home.trials_of(home, f"{workload}/{optimizer}")


def notes_of(home: Path) -> pd.DataFrame:
    names = ["what", "node", "pid", "gpus", "file", "package", "time"]
    return pd.read_csv(home / "notes" / "notes.tsv", sep="\t", names=names, keep_default_na=False, dtype={"gpus": str})


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A campaign that ran on one machine, and what the command printed."""
    home = settle(tmp_path_factory.mktemp("tuned"), PLAIN, trials=4)
    return home, sofim(home, "launch", "probe.toml")


def test_one_machine_runs_all_trials_and_says_nothing_of_ray(tuned):
    home, done = tuned
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "ray" not in done.stdout.lower()
    for optimizer in ("sofim", "sgd"):
        assert [t.state for t in trials_of(home, optimizer=optimizer)] == [TrialState.COMPLETE] * 4
    assert "probe_workload:plain" in done.stdout
    assert len(set(notes_of(home)["pid"])) > 1, "one worker did it all: the others never came to run"


def retrained(home: Path, optimizer: str, params: dict[str, object]) -> list[float]:
    """The metric of each epoch, trained in this very process: no Ray, no worker, nothing that dies."""
    from search_spaces import SEARCH_SPACES
    from sofim import OPTIMIZERS
    from studies.training import train
    from studies.workloads import resolve

    sys.path.insert(0, str(home))
    try:
        workload = resolve("probe_workload:plain")
    finally:
        sys.path.remove(str(home))
        sys.modules.pop("probe_workload", None)
    arguments = SEARCH_SPACES[optimizer].arguments(params)
    return [record.metric for record in train(workload, OPTIMIZERS[optimizer], arguments, seed=0, budget=3)]


@pytest.mark.parametrize("optimizer", ["sofim", "sgd"])
def test_the_numbers_do_not_depend_on_ray(tuned, optimizer):
    home, _ = tuned
    for trial in trials_of(home, optimizer=optimizer):
        assert trial.user_attrs["history"]["accuracy"] == retrained(home, optimizer, trial.params)


def test_a_trial_that_raises_fails_with_its_traceback_and_the_others_go_on(home):
    done = sofim(home, "launch", "probe.toml", "--workload", "probe_workload:raising")
    assert done.returncode == 0, done.stderr
    trials = [t for o in ("sofim", "sgd") for t in trials_of(home, "probe_workload:raising", o)]
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert len(trials) == 8
    assert 1 <= len(failed) <= 3  # the second trial of each worker
    assert "RuntimeError: the second trial is cursed" in failed[0].user_attrs["failure"]
    assert "probe_workload.py" in failed[0].user_attrs["failure"]


def test_a_worker_that_dies_costs_nothing(home):
    """The trial begins again on another worker, and every value is as if nothing had died."""
    done = sofim(home, "launch", "probe.toml", "--workload", "probe_workload:dying")
    assert (home / "notes" / "died").exists()
    assert done.returncode == 0, done.stderr
    for optimizer in ("sofim", "sgd"):
        trials = trials_of(home, "probe_workload:dying", optimizer)
        assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
        for trial in trials:
            assert trial.user_attrs["history"]["accuracy"] == retrained(home, optimizer, trial.params)


PACKED = """
import sys, ray
ray.init("local", num_cpus=8, num_gpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
from studies.cli import main
main(["launch", "probe.toml", "--trials", "6", "--gpus-per-trial", "0.5"])
"""


def test_four_trials_share_two_logical_gpus(home):
    done = subprocess.run(
        [sys.executable, "-c", PACKED],
        cwd=home,
        env=environment(home, PROBE_SECONDS="3"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    begun = notes_of(home).query("what == 'begin'")
    assert len(begun) == 12
    assert set(begun["gpus"]) == {"0", "1"}
    by_worker = begun.groupby("gpus")["pid"].nunique()
    assert dict(by_worker) == {"0": 2, "1": 2}
    first = begun.sort_values("time")["time"].to_numpy()
    assert first[3] - first[0] < 3.0, "the fourth began before the first could end"


def test_more_gpus_than_a_node_has_are_refused_in_one_line(home):
    done = sofim(home, "launch", "probe.toml", "--gpus-per-trial", "1")
    assert done.returncode == 2
    assert done.stderr == "sofim: --gpus-per-trial 1: no node has more than 0 GPUs; ask for at most that\n"


def test_three_nodes_share_a_campaign_and_the_code_travels_to_them(home, monkeypatch):
    from ray.cluster_utils import Cluster

    for name, value in environment(home, PROBE_SECONDS="1").items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        done = sofim(home, "launch", "probe.toml", "--trials", "6", "--address", cluster.address)
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stderr
    for optimizer in ("sofim", "sgd"):
        assert [t.state for t in trials_of(home, optimizer=optimizer)] == [TrialState.COMPLETE] * 6
    begun = notes_of(home).query("what == 'begin'")
    assert begun["node"].nunique() == 3
    for column in ("file", "package"):  # the workers ran copies that Ray brought, not the files of this checkout
        assert all("runtime_resources" in path for path in begun[column]), begun[column].unique()


def test_a_cluster_that_does_not_answer_is_one_line(home):
    done = sofim(home, "launch", "probe.toml", "--address", "127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.startswith("sofim: --address 127.0.0.1:1: no Ray cluster answers there")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("send", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_campaign_is_continued_to_the_exact_number(home, send):
    driver = subprocess.Popen(
        [sys.executable, "-m", "studies.cli", "launch", "probe.toml", "--trials", "10"],
        cwd=home,
        env=environment(home, PROBE_SECONDS="0.5"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.5)
        if (home / "notes" / "notes.tsv").exists() and len(notes_of(home).query("what == 'begin'")) >= 6:
            break
    driver.send_signal(send)
    _, stderr = driver.communicate(timeout=60)
    if send == signal.SIGINT:
        assert driver.returncode == 130
        assert "to go on: sofim launch probe.toml --trials 10" in stderr
        assert not any(t.state == TrialState.RUNNING for t in trials_of(home))
    done = sofim(home, "launch", "probe.toml", "--trials", "10")
    assert done.returncode == 0, done.stderr
    for optimizer in ("sofim", "sgd"):
        trials = trials_of(home, optimizer=optimizer)
        finished = [t for t in trials if t.state == TrialState.COMPLETE]
        assert len(finished) == 10
        assert len({t.user_attrs.get("retry_of", t.number) for t in finished}) == 10
        assert not any(t.state == TrialState.RUNNING for t in trials)
