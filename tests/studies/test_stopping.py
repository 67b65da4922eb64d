"""Ctrl-C once and twice, and workers that are killed in the middle of a trial, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from search_spaces import SEARCH_SPACES
from sofim import OPTIMIZERS
from studies.training import train
from studies.workloads import resolve
from tests.studies import probe_home
from tests.studies.probe_home import environment, settle, sofim

pytestmark = pytest.mark.slow

SLOW = "probe_workload:slow"


@pytest.fixture
def home(tmp_path):
    return settle(tmp_path, SLOW, trials=3)


@contextmanager
def launched(home: Path, *options: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    driver = subprocess.Popen(
        [sys.executable, "-m", "studies.cli", "launch", "probe.toml", *options],
        cwd=home, env=environment(home, **more), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield driver
    finally:
        if driver.poll() is None:
            driver.kill()
        driver.communicate()


def wait_for_notes(home: Path, what: str, number: int) -> list[list[str]]:
    deadline = time.monotonic() + 120
    while True:
        lines = [line.split("\t") for line in (home / "notes" / "notes.tsv").read_text().splitlines()]
        found = [line for line in lines if line[0] == what]
        if len(found) >= number:
            return found
        assert time.monotonic() < deadline, f"only {len(found)} times {what}"
        time.sleep(0.05)


def trials_of(home: Path) -> list[FrozenTrial]:
    return [trial for o in ("sofim", "sgd") for trial in probe_home.trials_of(home, f"{SLOW}/{o}")]


def undisturbed(home: Path, trial: FrozenTrial, optimizer: str) -> list[dict[str, float]]:
    sys.path.insert(0, str(home))
    try:
        workload = resolve(SLOW)
    finally:
        sys.path.remove(str(home))
        sys.modules.pop("probe_workload", None)
    arguments = SEARCH_SPACES[optimizer].arguments(trial.params)
    return [
        {"accuracy": r.metric, "train_loss": r.train_loss, "validation_loss": r.validation_loss}
        for r in train(workload, OPTIMIZERS[optimizer], arguments, seed=0, budget=6)
    ]


def assert_as_if_nothing_had_happened(home: Path) -> None:
    for optimizer in ("sofim", "sgd"):
        trials = probe_home.trials_of(home, f"{SLOW}/{optimizer}")
        finished = [t for t in trials if t.state == TrialState.COMPLETE]
        assert len(finished) == 3
        assert len({t.user_attrs.get("retry_of", t.number) for t in finished}) == 3
        for trial in finished:
            history = trial.user_attrs["history"]
            columns = ("accuracy", "train_loss", "validation_loss")
            told = [dict(zip(columns, row, strict=True)) for row in zip(*(history[c] for c in columns), strict=True)]
            assert told == undisturbed(home, trial, optimizer)
    assert not list(home.glob("*.checkpoints"))


def test_ctrl_c_lets_epochs_end_saves_them_and_the_same_command_goes_on_from_there(home):
    with launched(home) as driver:
        wait_for_notes(home, "epoch", 3)
        driver.send_signal(signal.SIGINT)
        out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "Stopping when the epochs that run have ended; Ctrl-C again stops at once" in out
    assert err == "\nsofim: interrupted; nothing that had finished is lost, to go on: sofim launch probe.toml\n"
    interrupted = [t for t in trials_of(home) if t.user_attrs.get("failure") == "interrupted"]
    assert 1 <= len(interrupted) <= 2
    assert not any(t.state == TrialState.RUNNING for t in trials_of(home))
    epochs = {len(t.user_attrs["history"]["epoch"]) for t in interrupted}
    assert epochs <= {1, 2, 3, 4}  # all that ended is told
    saved = {int(path.stem) for path in home.glob("sofim.db.checkpoints/*/*.pt")}
    assert saved == {t.number for t in interrupted}
    done = sofim(home, "launch", "probe.toml")
    assert done.returncode == 0, done.stderr
    retried = [t for t in trials_of(home) if "retry_of" in t.user_attrs]
    before = {(str(t.params), len(t.user_attrs["history"]["epoch"])) for t in interrupted}
    assert {(str(t.params), t.user_attrs["resumed"]) for t in retried} == before  # from the very epoch it had ended
    assert_as_if_nothing_had_happened(home)


def test_ctrl_c_twice_stops_in_the_middle_of_an_epoch(home):
    with launched(home, PROBE_EPOCH="300") as driver:
        wait_for_notes(home, "begin", 2)
        time.sleep(2)
        driver.send_signal(signal.SIGINT)
        time.sleep(3)
        assert driver.poll() is None  # it waits for the epoch
        driver.send_signal(signal.SIGINT)
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "to go on: sofim launch probe.toml" in err
    assert {t.user_attrs["failure"] for t in trials_of(home)} == {"interrupted"}
    done = sofim(home, "launch", "probe.toml")
    assert done.returncode == 0, done.stderr
    assert_as_if_nothing_had_happened(home)


@pytest.mark.parametrize("distant", [False, True], ids=["one machine", "another machine"])
def test_a_killed_worker_goes_on_elsewhere_from_its_checkpoint(home, distant, monkeypatch):
    """On another machine, which does not see the driver's files, it comes through an actor beside the driver."""
    options = []
    cluster = None
    if distant:
        from ray.cluster_utils import Cluster

        for name, value in environment(home, SOFIM_TEST_DISTANT="1").items():
            monkeypatch.setenv(name, value)
        blind = home / "sitecustomize.py"  # of the workers: none of them finds the driver's mark
        blind.write_text(BLIND)
        monkeypatch.setenv("PYTHONPATH", f"{home}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
        options = [f"--address={cluster.address}"]
    try:
        with launched(home, *options) as driver:
            killed = wait_for_notes(home, "epoch", 3)[-1]
            os.kill(int(killed[2]), signal.SIGKILL)
            out, err = driver.communicate(timeout=180)
    finally:
        if cluster is not None:
            cluster.shutdown()
    assert (driver.returncode, err) == (0, "")
    assert out.count(" died; it goes on elsewhere, for the first time.") == 1
    assert "raylet" not in out  # Ray has pages to say of it
    trials = trials_of(home)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 6
    assert [t.user_attrs["resumed"] for t in trials if "resumed" in t.user_attrs]
    assert_as_if_nothing_had_happened(home)
    if distant:
        assert (home / "notes" / "blind").exists()


BLIND = """
import os, sys, importlib.abc
if os.environ.get("SOFIM_TEST_DISTANT"):
    from pathlib import Path
    whole = Path.exists
    def exists(self, **options):
        if self.name.startswith("driver-"):
            (Path(os.environ["PROBE_NOTES"]) / "blind").touch()
            return False
        return whole(self, **options)
    Path.exists = exists
"""
