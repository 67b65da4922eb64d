"""The user's own workload: found, taught by an example that runs, and its mistakes pointed at."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import studies.workloads
from studies.errors import UserError
from studies.workloads import WORKLOADS, resolve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A person's directory, in which modules can be found and are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {"mine", "deep", "exits"}:
            del sys.modules[name]


def documented_example() -> str:
    doc = studies.workloads.__doc__
    block = doc.split(".. code-block:: python\n\n")[1].split("\nIn a file")[0]
    return textwrap.dedent(block)


@pytest.mark.slow
def test_documented_example_is_ten_odd_lines_and_trains(tmp_path):
    """As the documentation teaches it: a file in the current directory, in a process of its own."""
    example = documented_example()
    assert len([line for line in example.splitlines() if line.strip()]) <= 13
    (tmp_path / "mine.py").write_text(example)
    script = """
from sofim.registry import OPTIMIZERS
from studies.training import train
from studies.workloads import check, resolve
workload = resolve("mine:xor")
data = check(workload, test=True)
arguments = {"lr": 0.03, "batch_size": 32}
*_, last = train(workload, OPTIMIZERS["adam"], arguments, 0, workload.epochs, data=data, test=True)
print(workload.name, last.epoch, last.metric)
"""
    command = [sys.executable, "-W", "error", "-c", f"import sys; sys.path.append({str(ROOT)!r})\n{script}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    name, epoch, metric = result.stdout.split()
    assert (name, epoch) == ("xor", "5")
    assert float(metric) > 0.8  # guessing gives 0.5


def test_names_of_the_table():
    for name, workload in WORKLOADS.items():
        assert resolve(name) is workload


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "digit-mlp",
            "unknown workload 'digit-mlp' (did you mean digits-mlp?); known: breast-cancer-logreg, ",
        ),
        ("x", "unknown workload 'x'; known:"),
        ("", "unknown workload ''; known:"),
        (":", "not of the form package.module:factory"),
        ("mine:", "not of the form package.module:factory"),
        (":factory", "not of the form package.module:factory"),
        ("a b:factory", "not of the form package.module:factory"),
        ("mine:a.b", "not of the form package.module:factory"),
        ("mine:a:b", "not of the form package.module:factory"),
        ("nowhere_to_be_found:factory", "there is no module nowhere_to_be_found in"),
        ("torch.nowhere:factory", "there is no module torch.nowhere in"),
    ],
)
def test_names_that_mean_nothing(name, words):
    with pytest.raises(UserError) as caught:
        resolve(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


MINE = """\
import torch
from torch import nn
from studies.workloads import Data, Metric, Workload
METRIC = Metric("e", "minimize")
def good():
    x = torch.zeros(4, 1), torch.zeros(4, 1)
    return Workload("good", lambda _: Data(x, x), lambda: nn.Linear(1, 1), nn.functional.l1_loss, METRIC)

def returns_number():
    return 3

def raises():
    return 1 / 0

def asks(argument):
    return argument

def wrong_field():
    return Workload("good", None, None, None, None)

def wrong_inside_torch():
    return torch.zeros(2, 3) @ torch.zeros(2, 3)

def stolen_name():
    x = torch.zeros(4, 1), torch.zeros(4, 1)
    return Workload("digits-mlp", lambda _: Data(x, x), nn.Flatten, nn.functional.mse_loss, Metric("e", "minimize"))

number = 3
made = good()
"""


@pytest.mark.parametrize("path", ["mine:good", "mine:made"])
def test_a_module_of_the_current_directory(path, home):
    (home / "mine.py").write_text(MINE)
    assert resolve(path).name == "good"


@pytest.mark.parametrize(
    ("factory", "words", "line"),
    [
        ("returns_number", "returned int, not a studies.workloads.Workload", 9),
        ("raises", "raises() raised ZeroDivisionError: division by zero", 13),
        ("asks", "asks() raised TypeError", 15),
        ("wrong_field", "load is a function, not NoneType", 19),
        ("wrong_inside_torch", "raised RuntimeError", 22),
        ("stolen_name", "the name digits-mlp belongs to the project's own", 24),
        ("number", "number in {file} is of type int, not a function", None),
        ("god", "{file} has no god; did you mean good?", None),
    ],
)
def test_mistakes_point_at_the_user_s_line(factory, words, line, home):
    file = home / "mine.py"
    file.write_text(MINE)
    with pytest.raises(UserError) as caught:
        resolve(f"mine:{factory}")
    message = str(caught.value)
    assert message.startswith(f"workload mine:{factory}: ")
    assert words.format(file=file) in message
    assert "\n" not in message
    if line is not None:
        assert message.endswith(f"({file}:{line})")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\nimport no_such_module_here\n", r"No module named 'no_such_module_here' \({file}:2\)"),
        ("x = (\n", r"SyntaxError: .*\({file}:1\)"),
        ("\n\nraise ValueError('first\\nsecond')\n", r"ValueError: first second \({file}:3\)"),
        ("raise SystemExit(3)\n", r"SystemExit: 3 \({file}:1\)"),
    ],
)
def test_modules_that_cannot_be_imported(source, words, home):
    file = home / "mine.py"
    file.write_text(source)
    with pytest.raises(UserError, match=words.replace("{file}", re.escape(str(file)))) as caught:
        resolve("mine:factory")
    assert "importing mine raised" in str(caught.value)
    assert "\n" not in str(caught.value)
