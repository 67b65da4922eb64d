"""What fails in every trial is said at once, with the reason: on a terminal, in lines, by status and at the end."""

from __future__ import annotations

import io
import traceback

import pytest
from rich.console import Console

from sofim import OPTIMIZERS
from studies.commands.progress import Progress
from studies.commands.status import print_status
from studies.training.failures import FailureCount, failing_lines, reason_of
from studies.trials import Failing
from tests.studies.commands.test_progress import tally
from tests.support.fake_campaign import campaign, open_ledger, play

BROKEN = Failing("sofim", 1, 1, "ValueError: [no] luck (/home/me/mine.py:7)")
LINE = "c/w/sofim: every trial of sofim failed so far, 1 of 1 with ValueError: [no] luck (/home/me/mine.py:7)"


def raised(code: str, file: str) -> str:
    try:
        exec(compile(code, file, "exec"))
    except Exception as error:
        return "".join(traceback.format_exception(error)).strip()
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f():\n  raise ValueError('no')\nf()", "ValueError: no (/home/me/mine.py:2)"),
        ("raise ValueError('one:\\n\\ttwo\\n  three')", "ValueError: one: two three (/home/me/mine.py:1)"),
        ("raise ValueError", "ValueError (/home/me/mine.py:1)"),
        ("raise ValueError('x' * 500)", f"ValueError: {'x' * 188}… (/home/me/mine.py:1)"),
        ("try:\n  1 / 0\nexcept ZeroDivisionError:\n  {}['key']", "KeyError: 'key' (/home/me/mine.py:4)"),
        ("import json\n\njson.loads('{')", "(/home/me/mine.py:3)"),
        ("import torch\n\ntorch.ones(2) @ torch.ones(3)", "(/home/me/mine.py:3)"),
        (
            "from sofim import SOFIM\nimport torch\nSOFIM([torch.ones(2)], lr=-1.0)",
            "ValueError: lr must be finite and at least 0, not -1.0 (/home/me/mine.py:3)",
        ),
    ],
)
def test_a_reason_is_the_error_and_the_place_in_the_persons_own_file(code, reason):
    found = reason_of(raised(code, "/home/me/mine.py"))
    assert found.endswith(reason)
    assert "\n" not in found


@pytest.mark.parametrize("failure", ["its worker died 4 times", "CUDA out of memory: tried to get 2 GiB"])
def test_a_line_is_its_own_reason(failure):
    assert reason_of(failure) == failure


def test_nothing_is_a_reason_too():
    assert reason_of("") == "?"


def test_an_optimizer_fails_as_long_as_nothing_else_came_of_it():
    counted = FailureCount()
    for optimizer, failure in (("sgd", "a"), ("adam", "a"), ("sgd", "b"), ("sgd", "a"), ("adam", None)):
        counted.add(optimizer, failure)
    assert counted.failing() == (Failing("sgd", 2, 3, "a"), Failing("sgd", 1, 3, "b"))
    counted.add("sgd", None)
    counted.add("sgd", "c")
    assert counted.failing() == ()


def test_a_message_that_is_another_each_time_does_not_flood_the_screen():
    counted = FailureCount()
    for number in range(9):
        counted.add("sgd", f"ValueError: {number}")
    assert len(counted.failing()) == 3


def test_a_study_that_stopped_says_why_itself():
    assert failing_lines([tally(failed=10, failing=(BROKEN,), stopped="10 failures in a row")]) == []


def test_where_lines_are_printed_each_reason_comes_once_and_at_once():
    console = Console(file=io.StringIO(), width=40)
    state = [tally(), tally("sgd")]
    with Progress(lambda: state, console) as progress:
        state[0] = tally(failed=1, failing=(BROKEN,))
        progress._lines()
        assert console.file.getvalue() == f"{LINE}\n"
        state[0] = tally(failed=2, failing=(Failing("sofim", 2, 2, BROKEN.reason),))
        progress._lines()
        assert console.file.getvalue() == f"{LINE}\n"
        other = Failing("sofim", 1, 3, "KeyError: 'x'")
        state[0] = tally(failed=3, failing=(Failing("sofim", 2, 3, BROKEN.reason), other))
        progress._lines()
    assert console.file.getvalue().splitlines()[1:] == [
        "c/w/sofim: every trial of sofim failed so far, 1 of 3 with KeyError: 'x'"
    ]


def test_a_terminal_shows_it_while_it_is_so(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    console = Console(force_terminal=True, file=io.StringIO(), width=160, height=40, color_system=None)
    with Progress(lambda: [tally(failed=1, failing=(BROKEN,)), tally("sgd")], console):
        pass
    assert LINE in console.file.getvalue()


@pytest.mark.slow
def test_the_ledger_and_the_database_say_the_same(tmp_path):
    """While a driver runs, and after the next one has recalled what was there."""
    url = f"sqlite:///{tmp_path}/trials.db"
    made = campaign(trials=6, workloads=["digits-mlp"], optimizers=["sofim", "sgd"])
    failing = "failed: ValueError: [no] luck"
    want = "fake/digits-mlp/sofim: every trial of sofim failed so far, 3 of 3 with ValueError: [no] luck"

    def status():
        console = Console(file=io.StringIO(), width=200, markup=False)
        print_status(ledger._storage, "fake", console)
        return console.file.getvalue()

    with open_ledger(url, made) as ledger:
        play(ledger, {"digits-mlp/sofim": [failing] * 3, "digits-mlp/sgd": [failing, 0.5, failing]})
        ledger.flush()
        assert failing_lines(ledger.tallies()) == [want]
        assert f"\n{want}\n" in status()
    with open_ledger(url, made) as ledger:
        assert failing_lines(ledger.tallies()) == [want]
        play(ledger, {"digits-mlp/sofim": [("pruned", 0.1)]})
        ledger.flush()
        assert failing_lines(ledger.tallies()) == []
        assert "failed so far" not in status()


def test_in_a_search_over_optimizers_one_that_only_fails_is_named():
    counted = FailureCount()
    for optimizer in OPTIMIZERS:
        counted.add(optimizer, "RuntimeError: flat" if optimizer == "adahessian" else None)
    [line] = failing_lines([tally("any", study="tune-x", failed=1, complete=6, failing=counted.failing())])
    assert line == "tune-x: every trial of adahessian failed so far, 1 of 1 with RuntimeError: flat"
