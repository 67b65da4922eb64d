"""sofim tune on a real Ray, in a directory with nothing but the person's own module in it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from search_spaces import SEARCH_SPACES
from sofim import OPTIMIZERS
from sofim.recommended import shipped
from studies.commands.tuning._initial import recommended
from studies.ledger import fresh_seeds
from studies.training.run import train
from tests.support.one_ray import OneRay
from tests.support.probe_home import called, held, left_of, trials_in, wait_until
from tests.system.chaos.home import progress

pytestmark = pytest.mark.cluster

STUDY = "tune-mine-xor/mine:xor/any"
TRIALS = 14

_PAGE = (Path(__file__).parents[3] / "docs" / "workloads.md").read_text(encoding="utf-8")
MINE = next(code for code in re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL) if "def xor()" in code)

WRONG = (
    MINE
    + """
def loss(outputs, targets):
    import sys
    if "default_worker" in getattr(sys.modules["__main__"], "__file__", ""):
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
            time.sleep(0.4)
            return super().forward(inputs)

    right = xor()
    return Workload("slow", right.load, lambda: Net(2, 2), right.loss, right.metric, epochs=50)
"""
)


def default_sgd(home: Path, monkeypatch: pytest.MonkeyPatch, seeds: list[int]) -> float:
    """The best validation accuracy of a run with the default of SGD's space, mean over seeds."""
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    from studies.workloads import resolve

    workload, space = resolve("mine:xor"), SEARCH_SPACES["sgd"]
    del sys.modules["mine"]  # other tests have one of their own
    runs = (train(workload, OPTIMIZERS["sgd"], space.arguments(space.default), seed, workload.epochs) for seed in seeds)
    return fmean(max(record.metric for record in run) for run in runs)


@dataclass(frozen=True)
class Story:
    """A search that was killed, the same command again, and once more: what each left, and what it said."""

    home: Path
    killed: int  # the process
    before: list[FrozenTrial]
    done: subprocess.CompletedProcess[str]
    found: list[FrozenTrial]
    runs: list[FrozenTrial]
    again: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, one_ray: OneRay) -> Story:
    home = tmp_path_factory.mktemp("home")
    (home / "mine.py").write_text(MINE)
    one_ray.use(home)
    command = ["tune", "mine:xor", "--budget", str(TRIALS), "--seeds", "3"]
    with held(home, 5, *command) as killed:
        wait_until(lambda: progress(f"sqlite:///{home}/sofim.db").finished >= 5)
    before = trials_in(home, STUDY)
    done = called(home, *command)
    found, runs = trials_in(home, STUDY), trials_in(home, f"{STUDY}/confirm")
    again = called(home, *command)
    assert len(trials_in(home, STUDY)) == len(found), "nothing is run again"
    return Story(home, killed.pid, before, done, found, runs, again)


def test_after_kill_9_the_same_command_goes_on_to_the_same_number(story):
    assert (story.done.returncode, story.done.stderr) == (0, ""), story.done.stdout
    assert 5 <= sum(trial.state.is_finished() for trial in story.before) < TRIALS, "it was killed amid the search"
    assert [trial.params for trial in story.found[: len(story.before)]] == [trial.params for trial in story.before]
    assert not any(trial.state == TrialState.RUNNING for trial in story.found + story.runs)
    lost = [trial for trial in story.found if trial.user_attrs.get("failure") == "driver lost"]
    ran = [trial.number for trial in story.before if trial.state == TrialState.RUNNING]
    assert [trial.number for trial in lost] == ran, "what ran when it was killed, and nothing else"
    retried = [trial.user_attrs["retry_of"] for trial in story.found if "retry_of" in trial.user_attrs]
    assert sorted(retried) == sorted(trial.number for trial in lost)
    assert len(story.found) - len(lost) == TRIALS


def test_it_begins_with_what_is_recommended_and_ends_with_runs_on_fresh_seeds_alone_on_the_machine(story):
    begun = {trial.number: trial for trial in story.found if trial.user_attrs.get("start")}
    first = [trial.params["optimizer"] for trial in begun.values() if "retry_of" not in trial.user_attrs]
    chosen = [*dict.fromkeys(member["optimizer"] for member in shipped()["portfolio"]), "sofim", "sgd", "adamw"]
    spaces = {optimizer: SEARCH_SPACES[optimizer] for optimizer in dict.fromkeys(chosen)}
    listed = recommended(spaces, "mine:xor")
    assert first == [
        optimizer for at, (optimizer, params) in enumerate(listed) if (optimizer, params) not in listed[:at]
    ]
    both = [(run.user_attrs["seed"], run.user_attrs["rank"]) for run in story.runs]
    assert both == [(seed, rank) for seed in fresh_seeds(0, 3) for rank in (1, 2)], "the runner-up beside the winner"
    assert all(run.user_attrs["exclusive"] for run in story.runs)
    assert not any(name.startswith("test_") for trial in story.found for name in trial.user_attrs)


def test_what_is_found_is_better_than_a_default_and_can_be_typed(story, monkeypatch):
    said = story.done.stdout
    assert f"Tuning mine:xor, budget {TRIALS} trials; 5 trials are there: one of muon, soap, " in said
    best = re.search(rf"Best on mine:xor: (\S+), after {TRIALS} trials", said)
    accuracy = re.search(r"validation accuracy: (\S+) \[\S+, \S+\]", said)
    assert best is not None
    assert accuracy is not None
    assert re.search(r"test accuracy: \S+ \[\S+, \S+\]", said)
    assert float(accuracy[1]) > default_sgd(story.home, monkeypatch, fresh_seeds(0, 3))
    lines = said[said.index("\nfrom ") : said.index("Next:")]
    namespace: dict[str, Any] = {"model": torch.nn.Linear(2, 2)}
    exec(lines, namespace)
    space = SEARCH_SPACES[best[1]]
    made = OPTIMIZERS[best[1]].factory(
        namespace["model"].parameters(), **_without_batch_size(space.arguments(space.default))
    )
    assert type(namespace["optimizer"]) is type(made)


def test_what_is_finished_is_told_again(story):
    assert story.again.returncode == 0
    told = [text[text.index("Best on") :].splitlines()[1:] for text in (story.done.stdout, story.again.stdout)]
    assert told[0] == told[1]


def _without_batch_size(arguments: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in arguments.items() if name != "batch_size"}


def test_errors_in_ones_own_code_point_at_it(tmp_path, one_ray):
    (tmp_path / "mine.py").write_text(WRONG)
    one_ray.use(tmp_path)
    done = called(tmp_path, "tune", "mine:wrong", "--budget", "4", "--optimizers", "sgd", "--cpus-per-trial", "2")
    line = 1 + WRONG[: WRONG.index("raise ValueError")].count("\n")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no trial ran its whole budget" in done.stderr
    assert f"ValueError: works here alone ({tmp_path}/mine.py:{line})" in done.stderr


def test_a_budget_without_room_for_a_trial_is_a_mistake_in_one_line(tmp_path, one_ray, monkeypatch):
    """By the clock of the wall: fifty epochs take forty seconds here, however fast the machine is."""
    (tmp_path / "mine.py").write_text(WRONG)
    one_ray.use(tmp_path)
    monkeypatch.setattr("studies.commands.budget.SHORTEST_SECONDS", 10.0)  # Ray is there
    monkeypatch.setattr("studies.cli.when_called", time.monotonic)  # this process began long ago
    done = called(tmp_path, "tune", "mine:slow", "--budget", "22s", "--optimizers", "sgd,adam")
    assert done.returncode == 2
    assert re.match(
        r"sofim: budget 22 s: too short, no trial ran its 50 epochs in it .*--epochs under another --name\n$",
        done.stderr,
    )
    states = {trial.state for trial in trials_in(tmp_path, "tune-mine-slow/mine:slow/any")}
    assert TrialState.RUNNING not in states


@pytest.mark.nightly
def test_the_ray_of_a_killed_driver_goes_with_it(story):
    """The last test here: what is left notices only when it has not heard from the others for a while."""
    wait_until(lambda: not left_of(story.killed))
