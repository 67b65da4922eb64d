"""The user's own workload: found, taught by an example that runs, and its mistakes pointed at."""

from __future__ import annotations

import functools
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import studies.workloads
from search_spaces.errors import UserError
from studies.campaign.resolve import ResolvedCampaign, user_code
from studies.commands.find import _launched
from studies.workloads import WORKLOADS, Data, Metric, Workload, _pickled, content, named, resolve
from tests.support import fake_campaign

ROOT = Path(__file__).parents[3]


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
from studies.training.run import train
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
        ("nowhere.py:factory", "a module is named without .py: nowhere:factory"),
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


NOT_IN_THIS_PROCESS = (
    "workload __main__:nobody_defined: was defined in a notebook or a script, and this process has no nobody_defined; "
    "run its definition in this one and call studies.tune again, or move it to a file, mine.py, and name it "
    "mine:nobody_defined"
)


def of_a_cell(**changes):
    x = torch.zeros(4, 1), torch.zeros(4, 1)
    parts = {"load": lambda _: Data(x, x), "model": lambda: nn.Linear(1, 1), "loss": nn.functional.l1_loss, **changes}
    return Workload("of-a-cell", metric=Metric("e", "minimize"), **parts)


def test_a_workload_of_another_notebook_is_refused_with_what_to_do():
    with pytest.raises(UserError) as caught:
        resolve("__main__:nobody_defined")
    assert str(caught.value) == NOT_IN_THIS_PROCESS


def test_what_a_person_gives_as_it_is_has_a_name_and_travels(monkeypatch):
    monkeypatch.setitem(_pickled._carried, ("workload", ""), None)
    assert named(of_a_cell) == f"{__name__}:of_a_cell"  # whoever can import it needs no more
    assert content(f"{__name__}:of_a_cell") is None
    monkeypatch.setattr(sys.modules["__main__"], "in_a_cell", lambda: of_a_cell(), raising=False)
    sys.modules["__main__"].in_a_cell.__qualname__ = "in_a_cell"
    sys.modules["__main__"].in_a_cell.__module__ = "__main__"
    assert named(sys.modules["__main__"].in_a_cell) == "__main__:in_a_cell"
    for source in (lambda: of_a_cell(), of_a_cell(), functools.partial(of_a_cell)):
        assert named(source) == "__main__:of_a_cell"
        assert resolve("__main__:of_a_cell").name == "of-a-cell"
        travelled = pickle.loads(content("__main__:of_a_cell"))
        made = travelled if isinstance(travelled, Workload) else travelled()
        assert made.load(None).train.inputs.shape == (4, 1)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (3, "workload: must be a name such as digits-mlp or package.module:factory, or a function that returns"),
        (lambda: 3, "workload: the function returned int, not a studies.workloads.Workload"),
        (lambda: 1 / 0, "workload: the function raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_given_and_is_no_workload(source, words):
    with pytest.raises(UserError, match=words) as caught:
        named(source)
    assert "\n" not in str(caught.value)


def test_what_cannot_travel_is_refused_before_it_has_to():
    lock = threading.Lock()
    name = named(lambda: of_a_cell(load=lambda directory: lock))
    with pytest.raises(UserError, match="cannot be sent to the processes that train") as caught:
        content(name)
    assert "_thread.lock" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_remedy_for_a_search_of_a_notebook_is_of_the_notebook():
    with pytest.raises(UserError, match=re.escape("with it: studies.tune(xor, name='mine', budget='3')")):
        _launched({"name": "mine", "workloads": ["__main__:xor"], "budget": {"trials": 3}}, "sqlite:///sofim.db")


def test_what_a_notebooks_workload_imported_from_beside_it_travels_to_the_nodes(home):
    (home / "deep.py").write_text("WIDTH = 1\n")
    sys.path.append(str(home))
    __import__("deep")
    carried = (("workload", "__main__:xor", b""),)
    made = ResolvedCampaign(fake_campaign.campaign(), {"__main__:xor": of_a_cell()}, carried=carried)
    assert home / "deep.py" in user_code(made)
