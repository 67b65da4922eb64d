"""Every optimizer on every workload, through Ray, from files as they are published."""

from __future__ import annotations

from importlib.util import find_spec

import optuna
import pytest
from optuna.trial import TrialState

from sofim import OPTIMIZERS
from studies.storage.database import close_storage
from studies.workloads import WORKLOADS
from tests.reference.published_formats import write
from tests.support.probe_home import called

# so few images because a ResNet18 costs a second for every fifteen of them, and there are many optimizers
FILES = {
    "cifar10": {"num_per_batch": 4},
    "cifar100": {"num_train": 24},
    "svhn": {"num_train": 24},
    "fashion-mnist": {"num_train": 300},
}

# an epoch of its own takes a core seconds
TINY = """
from dataclasses import replace
from studies.workloads import WORKLOADS

def gpt():
    return replace(WORKLOADS["shakespeare-gpt"], name="tiny", examples=16)
"""
PAIRED = [
    "tiny:gpt" if name == "shakespeare-gpt" else name
    for name in WORKLOADS
    if name != "cartpole-reinforce" or find_spec("gymnasium")
]

CAMPAIGN = """
trials = 1
sampler = "qmc"
pruner = "none"
epochs = 1
"""
MORE = {"lbfgs": "max_iter = 2\nhistory_size = [5, 6]\n", "nystrom-sgd": "rank = [1, 2]\n"}


@pytest.mark.nightly
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_every_optimizer_runs_on_every_workload_through_ray(tmp_path, one_ray):
    """By day, and without Ray, test_every_row.py has every optimizer on each that needs no files."""
    for dataset, sizes in FILES.items():
        write(dataset, tmp_path / "data", **sizes)
    (tmp_path / "tiny.py").write_text(TINY)
    optimizers = list(OPTIMIZERS)
    text = f"name = 'all'\nworkloads = {PAIRED}\noptimizers = {optimizers}\n{CAMPAIGN}"
    tables = (f"[search_space.{key}]\nbatch_size = 256\n{MORE.get(key, '')}" for key in optimizers)
    (tmp_path / "all.toml").write_text(text.replace("'", '"') + "".join(tables))
    done = called(tmp_path, "launch", "all.toml", "--data", "data", "--cpus-per-trial", "2")
    assert done.returncode == 0, done.stderr
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/sofim.db")
    try:
        found = {s.study_name: storage.get_all_trials(s._study_id) for s in storage.get_all_studies()}
    finally:
        close_storage(storage)
    assert set(found) == {f"all/{workload}/{key}" for workload in PAIRED for key in optimizers}
    for name, trials in found.items():
        assert len(trials) == 1, name
        for trial in trials:
            # a configuration may diverge: it is drawn anywhere in the space; but none may break
            assert trial.state in (TrialState.COMPLETE, TrialState.PRUNED), (name, trial.user_attrs.get("failure"))
            assert trial.state == TrialState.COMPLETE or trial.user_attrs["diverged"], name
            assert trial.user_attrs["gradient_evaluations"] > 0
    complete = sum(trial.state == TrialState.COMPLETE for trials in found.values() for trial in trials)
    assert complete > 0.6 * len(found)
