"""``--save``, through Ray: what is on the disk gives the confirmation run's metric again, in a process of its own."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.support.one_ray import OneRay
from tests.support.probe_home import called, python, trials_in

pytestmark = pytest.mark.cluster

MINE = """
import os, time
from pathlib import Path
import torch
from torch import nn
from studies.workloads import Data, Metric, Workload, accuracy

def load(directory):
    points = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes = (points.prod(dim=1) > 0).long()
    return Data((points[:200], classes[:200]), (points[200:300], classes[200:300]), (points[300:], classes[300:]))

def loss(outputs, targets):
    hang = Path(__file__).with_name("hang")  # with the number of the process that does not
    if hang.exists() and hang.read_text() != str(os.getpid()):
        hang.with_name("hangs").write_text(str(os.getpid()))
        time.sleep(1e6)
    return nn.functional.cross_entropy(outputs, targets)

def xor():
    net = lambda: nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 2))
    return Workload("xor", load, net, loss, Metric("accuracy", "maximize", accuracy), epochs=3)
"""
CAMPAIGN = """
name = "kept"
workloads = ["digits-mlp", "mine:xor"]
optimizers = ["schedule-free-adamw"]
trials = 1
epochs = 2
schedule = "cosine"
"""
OPTIMIZER = "schedule-free-adamw"
LINE = re.compile(r"validation accuracy (\S+), test accuracy (\S+)\n")


def best_of(runs: list[FrozenTrial]) -> FrozenTrial:
    return max((run for run in runs if run.state == TrialState.COMPLETE), key=lambda run: (run.value, -run.number))


def loaded(home: Path, place: str) -> tuple[float, float]:
    """What load.py prints there."""
    done = python(home, f"{place}/load.py")
    assert (done.returncode, done.stderr) == (0, "")
    found = LINE.search(done.stdout)
    assert found is not None, done.stdout
    return float(found[1]), float(found[2])


@pytest.mark.nightly
def test_confirm_saves_the_best_run_of_each_also_long_after_and_again(tmp_path: Path, one_ray: OneRay) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "kept.toml").write_text(CAMPAIGN)
    one_ray.use(tmp_path)
    launched = called(tmp_path, "launch", "kept.toml", "--cpus-per-trial", "2")
    assert (launched.returncode, launched.stderr) == (0, ""), launched.stdout
    (tmp_path / "taken" / "mine.xor" / OPTIMIZER).mkdir(parents=True)
    (tmp_path / "taken" / "mine.xor" / OPTIMIZER / "load.py").write_text("mine = 1\n")
    refused = called(tmp_path, "confirm", "kept", "--save", "taken")
    assert refused.returncode == 2
    assert "has a file load.py that sofim did not write" in refused.stderr
    assert refused.stderr.count("\n") == 1
    command = ("confirm", "kept", "--seeds", "2", "--cpus-per-trial", "1", "--save", "models")
    saved = called(tmp_path, *command)
    assert (saved.returncode, saved.stderr) == (0, ""), saved.stdout
    for workload, folder in (("digits-mlp", "digits-mlp"), ("mine:xor", "mine.xor")):
        runs = trials_in(tmp_path, f"kept/{workload}/{OPTIMIZER}/confirm")
        best = best_of(runs)
        told = json.loads((tmp_path / "models" / folder / OPTIMIZER / "model.json").read_text())
        assert (told["seed"], told["metric"]["value"]) == (best.user_attrs["seed"], best.value)
        assert told["metric"]["test"] == best.user_attrs["test_metric"]
        assert told["schedule"] == "constant", "that of its method"
        assert sorted(told["metric"]["over_seeds"]["values"]) == sorted(run.value for run in runs)
        said = f"{OPTIMIZER} on {workload}, validation accuracy {best.value!r}, as in its confirmation run."
        assert said in saved.stdout
    best = best_of(trials_in(tmp_path, f"kept/mine:xor/{OPTIMIZER}/confirm"))
    assert loaded(tmp_path, f"models/mine.xor/{OPTIMIZER}") == (best.value, best.user_attrs["test_metric"])
    later = called(tmp_path, *command[:-1], "others")
    assert (later.returncode, later.stderr) == (0, ""), later.stdout
    assert "Nothing left to run: the 4 confirmation runs of kept are in the storage." in later.stdout
    files = {
        file.relative_to(tmp_path / "models"): file.read_bytes() for file in tmp_path.rglob("models/**/*.safetensors")
    }
    assert len(files) == 2
    assert {name: (tmp_path / "others" / name).read_bytes() for name in files} == files
    assert not list(tmp_path.glob("*.checkpoints/*")), "nothing of it is left behind"


@pytest.mark.nightly
def test_tune_saves_its_winner_and_where_that_hangs_it_ends_with_all_else(tmp_path: Path, one_ray: OneRay) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    one_ray.use(tmp_path)
    search = ("tune", "mine:xor", "--budget", "2", "--optimizers", "sgd", "--cpus-per-trial", "2")
    command = (*search, "--seeds", "2", "--save", "best")
    done = called(tmp_path, *command)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    best = best_of(trials_in(tmp_path, "tune-mine-xor/mine:xor/any/confirm"))
    assert loaded(tmp_path, "best") == (best.value, best.user_attrs["test_metric"])
    (tmp_path / "hang").write_text(str(os.getpid()))
    hung = called(tmp_path, *command, "--trial-timeout", "12s")
    assert hung.returncode == 2
    assert "Best on mine:xor: sgd, after 2 trials" in hung.stdout, "the result is told first"
    assert hung.stderr == (
        "sofim: sgd on mine:xor could not be trained once more: timed out after 12 s; all else is done and in the "
        f"storage, to save again: sofim {' '.join(command)} --trial-timeout 12s\n"
    )
    worker = int((tmp_path / "hangs").read_text())
    # Ray ends a worker in its own time
    left = [process for process in psutil.process_iter() if process.pid == worker]
    assert not psutil.wait_procs(left, timeout=30)[1]
