"""sofim tune on a real Ray, in a directory with nothing but the person's own module in it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from optuna.trial import TrialState

from search_spaces import SEARCH_SPACES
from sofim import OPTIMIZERS
from studies.ledger import fresh_seeds
from studies.training import train
from studies.tuning._starts import recommended
from tests.studies.probe_home import environment, sofim, trials_in

pytestmark = pytest.mark.cluster

_README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
MINE = next(code for code in re.findall(r"```python\n(.*?)```", _README, re.DOTALL) if "def xor()" in code)

WRONG = (
    MINE
    + """
def loss(outputs, targets):
    import sys
    if "default_worker" in sys.modules["__main__"].__file__:
        raise ValueError("works here alone")
    return nn.functional.cross_entropy(outputs, targets)

def wrong():
    right = xor()
    data = lambda directory: Data(load(directory).train, load(directory).validation)
    return Workload("wrong", data, right.model, loss, right.metric)

def slow():
    import time

    class Net(nn.Linear):
        def forward(self, inputs):
            time.sleep(1.0)
            return super().forward(inputs)

    right = xor()
    return Workload("slow", right.load, lambda: Net(2, 2), right.loss, right.metric, epochs=50)
"""
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("home")
    (directory / "mine.py").write_text(MINE)
    return directory


def default_sgd(home: Path, monkeypatch: pytest.MonkeyPatch, seeds: list[int]) -> float:
    """The best validation accuracy of a run with the default of SGD's space, mean over seeds."""
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    from studies.workloads import resolve

    workload, space = resolve("mine:xor"), SEARCH_SPACES["sgd"]
    runs = (train(workload, OPTIMIZERS["sgd"], space.arguments(space.default), seed, workload.epochs) for seed in seeds)
    return fmean(max(record.metric for record in run) for run in runs)


def test_a_minute_is_enough_and_is_not_overdrawn(home, monkeypatch):
    began = time.monotonic()
    done = sofim(home, "tune", "mine:xor", "--budget", "60s")
    took = time.monotonic() - began
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert took <= 66, done.stdout
    assert (
        "Tuning mine:xor, budget 1 min 00 s: one of sofim, sgd, adam, adamw, adahessian, lbfgs, nystrom-sgd."
        in done.stdout
    )

    best = re.search(r"Best on mine:xor: (\S+), after \d+ trials", done.stdout)
    accuracy = re.search(r"validation accuracy: (\S+) \[\S+, \S+\]", done.stdout)
    assert best is not None
    assert accuracy is not None
    assert re.search(r"test accuracy: \S+ \[\S+, \S+\]", done.stdout)
    seeds = fresh_seeds(0, "mine:xor", 10)
    assert float(accuracy[1]) > default_sgd(home, monkeypatch, seeds)

    lines = done.stdout[done.stdout.index("\nfrom ") : done.stdout.index("How sensitive it is:")]
    namespace: dict[str, Any] = {"model": torch.nn.Linear(2, 2)}
    exec(lines, namespace)
    space = SEARCH_SPACES[best[1]]
    made = OPTIMIZERS[best[1]].factory(
        namespace["model"].parameters(), **_without_batch_size(space.arguments(space.default))
    )
    assert type(namespace["optimizer"]) is type(made)

    study = "tune-mine-xor/mine:xor/any"
    searched, runs = trials_in(home, study), trials_in(home, f"{study}/confirm")
    begun = [trial.params["optimizer"] for trial in searched if trial.user_attrs.get("start")]
    starts = [optimizer for optimizer, _ in recommended(SEARCH_SPACES, "mine:xor")]
    assert begun == starts[: len(searched)]  # a busy machine does not come to all of them in a minute
    assert not any(trial.state == TrialState.RUNNING for trial in searched + runs)
    assert 3 <= len(runs) <= 10
    assert [run.user_attrs["seed"] for run in runs] == seeds[: len(runs)]
    assert all(run.user_attrs["exclusive"] for run in runs)
    assert not any(name.startswith("test_") for trial in searched for name in trial.user_attrs)

    again = sofim(home, "tune", "mine:xor", "--budget", "60s")
    assert again.returncode == 0
    told = [text[text.index("Best on") :].splitlines()[1:] for text in (done.stdout, again.stdout)]
    assert told[0] == told[1]
    assert len(trials_in(home, study)) == len(searched)


def _without_batch_size(arguments: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in arguments.items() if name != "batch_size"}


def test_after_kill_9_the_same_command_goes_on_to_the_same_number(home):
    arguments = ["tune", "mine:xor", "--budget", "20", "--seeds", "3", "--name", "killed"]
    study = "killed/mine:xor/any"
    driver = subprocess.Popen(
        [sys.executable, "-m", "studies.cli", *arguments],
        cwd=home,
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    ended = 0
    while time.monotonic() < deadline and ended < 5:
        time.sleep(0.2)
        try:
            ended = sum(trial.state.is_finished() for trial in trials_in(home, study))
        except (KeyError, sqlalchemy_error()):
            continue
    driver.send_signal(signal.SIGKILL)
    driver.wait(timeout=60)
    before = trials_in(home, study)
    assert 5 <= sum(trial.state.is_finished() for trial in before) < 20, "it was not killed amid the search"
    done = sofim(home, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = trials_in(home, study)
    assert [trial.params for trial in found[: len(before)]] == [trial.params for trial in before]
    assert not any(trial.state == TrialState.RUNNING for trial in found)
    lost = [trial for trial in found if trial.user_attrs.get("failure") == "driver lost"]
    retried = [trial.user_attrs["retry_of"] for trial in found if "retry_of" in trial.user_attrs]
    assert sorted(retried) == sorted(trial.number for trial in lost)
    counted = len(found) - len(lost)
    assert counted == 20
    assert len(trials_in(home, f"{study}/confirm")) == 3


def sqlalchemy_error() -> type[Exception]:
    """What a database that is being made answers with."""
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError


def test_errors_in_ones_own_code_point_at_it(tmp_path):
    (tmp_path / "mine.py").write_text(WRONG)
    done = sofim(tmp_path, "tune", "mine:wrong", "--budget", "4", "--optimizers", "sgd")
    line = 1 + WRONG[: WRONG.index("raise ValueError")].count("\n")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no trial ran its whole budget" in done.stderr
    assert f"ValueError: works here alone ({tmp_path}/mine.py:{line})" in done.stderr


def test_a_budget_without_room_for_a_trial_is_a_mistake_in_one_line_and_in_time(tmp_path):
    (tmp_path / "mine.py").write_text(WRONG)
    began = time.monotonic()
    done = sofim(tmp_path, "tune", "mine:slow", "--budget", "30s", "--optimizers", "sgd,adam")
    assert time.monotonic() - began <= 33
    assert done.returncode == 2
    assert re.match(r"sofim: budget 30 s: too short, no trial ran its 50 epochs in it .*--epochs\n$", done.stderr)
    states = {trial.state for trial in trials_in(tmp_path, "tune-mine-slow/mine:slow/any")}
    assert TrialState.RUNNING not in states
