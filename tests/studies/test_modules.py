"""A person's own files that have the names of packages: nobody's place is taken, and their workload is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces.errors import UserError
from studies import modules
from studies.workloads import resolve
from tests.support.fake_campaign import make

TAKEN = (
    "analysis",
    "studies",
    "sofim",
    "search_spaces",
    "torch",
    "optuna",
    "ray",
    "joblib",
    "random",
    "types",
    "click",
)
MINE = """\
import torch, helper
from torch import nn
from studies.workloads import Data, Metric, Workload, accuracy

def load(directory):
    points = torch.rand(helper.NUMBER, 2, generator=torch.Generator().manual_seed(0))
    classes = (points[:, 0] > 0.5).long()
    return Data((points[:60], classes[:60]), (points[60:80], classes[60:80]), (points[80:], classes[80:]))

def xor():
    metric = Metric("accuracy", "maximize", accuracy)
    return Workload("xor", load, lambda: nn.Linear(2, 2), nn.functional.cross_entropy, metric, epochs=2)
"""
SOFIM = ("-P", "-c", "from studies.cli import main; main()")  # what the command's script does


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory in which every name is taken, some by files, some by directories."""
    for name in TAKEN:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('this is the {name} of the person')\n")
    (tmp_path / "pandas").mkdir()
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise ImportError('this is the rich of the person')\n")
    (tmp_path / "helper.py").write_text("NUMBER = 100\n")
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def python(home: Path, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=home, env={**os.environ, **more}, input=stdin, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


DRY = ("launch", "quickstart", "--workload", "mine:xor", "--optimizers", "sgd", "--dry-run")


@pytest.mark.nightly
@pytest.mark.slow
def test_a_command_runs_its_own_packages_and_finds_the_persons_workload(home: Path) -> None:
    done = python(home, *SOFIM, *DRY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine:xor/sgd" in done.stdout


@pytest.mark.slow
def test_python_m_too(home: Path) -> None:
    """All but ``studies``, which Python itself looks for before anything of ours runs, and what Python starts with."""
    for name in ("studies", "types"):
        (home / f"{name}.py").unlink()
    for name in ("search_spaces", "optuna"):
        (home / f"{name}.py").unlink()
        (home / name).mkdir()
        (home / name / "__init__.py").write_text("raise ImportError('this is the person')\n")
    done = python(home, "-m", "studies.cli", *DRY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine:xor/sgd" in done.stdout


@pytest.mark.nightly
@pytest.mark.slow
def test_the_processes_that_a_report_computes_in_do_too(home: Path) -> None:
    make(
        f"sqlite:///{home}/sofim.db",
        {"digits-mlp/sgd": [0.5, 0.75], "digits-mlp/adam": [0.25, 0.5]},
        optimizers=["sgd", "adam"],
    )
    done = python(home, *SOFIM, "export", "fake")
    assert (done.returncode, done.stderr) == (0, "")
    assert "optimizers" in done.stdout


CELL = """
import logging, os, optuna
from ray._private import worker

def of_process():  # what a person's own use of Ray Tune and Optuna in this process goes by
    levels = [logging.getLogger(name).level for name in ("ray", "ray.tune")]
    return dict(os.environ), worker.print_to_stdstream, levels, optuna.logging.get_verbosity()

before = of_process()
import studies, studies.commands.tuning, studies.workloads, torch
from torch import nn
from studies.workloads import Data, Metric, Workload, accuracy
import sys; sys.path.append("")  # as a notebook has it
import helper

SCALE = 2.0

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, points):
        return SCALE * self.layer(points)

def load(directory):
    points = torch.rand(helper.NUMBER, 2)  # without a seed: the same data for every trial all the same
    classes = (points[:, 0] > 0.5).long()
    return Data((points[:60], classes[:60]), (points[60:80], classes[60:80]), (points[80:], classes[80:]))

def made(epochs):
    metric = Metric("accuracy", "maximize", accuracy)
    return lambda: Workload("x-or", load, lambda: Net(), nn.functional.cross_entropy, metric, epochs=epochs)

found = studies.tune(made(epochs=2), budget=3, optimizers="sgd", seeds=2, cpus=1)
after = of_process()
changed = {name for name, _ in {*after[0].items()} ^ {*before[0].items()}}
changed -= {"KMP_INIT_AT_FORK", "PYTHONBREAKPOINT", "TORCHINDUCTOR_CACHE_DIR"}  # torch's and Ray's own doing
print("LEFT BEHIND", sorted(changed), after[1:] == before[1:])
print("FOUND", found.workload, found.trials["failed"], found.broken, found.batch_size <= 60)
"""


@pytest.mark.nightly
@pytest.mark.cluster
def test_a_notebooks_workload_trains_in_workers_beside_files_that_take_every_name(home: Path) -> None:
    done = python(home, "-P", "-", stdin=CELL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "x-or: batch_size of sgd is searched up to 60, the number of training examples." in done.stdout
    assert "FOUND __main__:x_or 0 0 True" in done.stdout
    assert "LEFT BEHIND [] True" in done.stdout


@pytest.mark.parametrize(
    ("file", "workload", "words"),
    [
        ("types.py", "types:xor", "types.py has the name of a module of Python, which is imported instead; rename it"),
        ("analysis.py", "analysis:xor", "analysis.py has the name of a package of this program, which is imported"),
        ("torch.py", "torch:xor", "torch.py has the name of "),
        ("json/mine.py", "json.mine:xor", "json has the name of a module of Python, which is imported instead"),
        ("optuna/__init__.py", "optuna:xor", "optuna/__init__.py has the name of "),
    ],
)
def test_a_workload_whose_file_is_not_imported_is_refused_by_its_name(tmp_path, monkeypatch, file, workload, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("def xor(): ...\n")
    with pytest.raises(UserError) as caught:
        resolve(workload)
    assert str(caught.value).startswith(f"workload {workload}: {tmp_path}/")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_beside_it_that_is_not_imported_is_named_where_that_breaks_the_workload(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "queue.py").write_text("MINE = 1\n")
    (tmp_path / "takes_from_queue.py").write_text("from queue import MINE\n")
    (tmp_path / "asks_queue.py").write_text("import queue\nqueue.MINE\n")
    for name in ("takes_from_queue", "asks_queue"):
        with pytest.raises(UserError) as caught:
            resolve(f"{name}:xor")
        assert str(caught.value).endswith(
            f"{tmp_path}/queue.py has the name of a module of Python, which is imported instead; rename it"
        )


def test_the_current_directory_comes_last_however_it_came_first(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), ".", *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), str(elsewhere)]))
    modules.look_here_last()
    assert sys.path[-1] == str(tmp_path)
    assert not {"", ".", str(tmp_path)} & set(sys.path[:-1])
    assert os.environ["PYTHONPATH"] == str(elsewhere)
    before = list(sys.path)
    modules.look_here_last()
    assert sys.path == before


def test_a_module_of_a_persons_that_has_taken_the_name_before_is_said_at_once(tmp_path):
    (tmp_path / "sofim.py").write_text("")
    done = python(tmp_path, "-c", "import sofim, studies")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"ImportError: {tmp_path}/sofim.py has the name of a package that studies needs; rename it"
