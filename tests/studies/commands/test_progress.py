"""The live view: a table that moves on a terminal, lines elsewhere, and how long it still takes."""

from __future__ import annotations

import io
import math
import re
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from rich.console import Console

from analysis.text import format_duration, format_value
from studies.commands import progress
from studies.commands.progress import Progress, status_view
from studies.trials import Tally


def tally(optimizer: str = "sofim", *, asked_for: int | None = 10, **changes: object) -> Tally:
    fields = {
        "study": f"c/w/{optimizer}",
        "workload": "w",
        "optimizer": optimizer,
        "metric": "accuracy",
        "direction": "maximize",
        "asked_for": asked_for,
        "complete": 0,
        "pruned": 0,
        "diverged": 0,
        "failed": 0,
        "running": 0,
        "best": None,
        "best_params": {},
        "seconds": 0.0,
        "stopped": None,
    }
    return Tally(**(fields | changes))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Console(force_terminal=True, file=io.StringIO(), width=120, height=40, color_system="standard")


@pytest.fixture
def file(monkeypatch):
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.02)
    return Console(file=io.StringIO(), width=40)


def printed(console: Console) -> str:
    return console.file.getvalue()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def last_frame(console: Console) -> str:
    marker = "w, best accuracy"
    return marker + plain(printed(console)).replace("\r", "").rpartition(marker)[2]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Watched:
    """Tallies that change, and that know how often they were looked at."""

    def __init__(self, *tallies: Tally) -> None:
        self.now = list(tallies)
        self.looks = 0

    def __call__(self) -> list[Tally]:
        self.looks += 1
        return self.now

    def change(self, *tallies: Tally) -> None:
        """Returns when the view has taken notice."""
        self.now = list(tallies)
        before = self.looks
        until(lambda: self.looks >= before + 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (0.93312, "0.9331"), (1.0, "1"), (1.23456e-9, "1.235e-09"), (5, "5")],
)
def test_values_have_four_significant_digits(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.2, "under 1 s"),
        (0.6, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations_read_well(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize("width", [80, 160])
def test_every_count_stands_whole_under_its_name_also_on_a_narrow_terminal(file, width):
    file.width = width
    long = {"workload": "my_package.my_module:my_workload", "metric": "suboptimality", "asked_for": 500}
    rows = [
        tally("nystrom-sgd", **long, running=200, complete=33, pruned=110, diverged=140, best=1.23456e-10),
        tally("sgd", **long, failed=117),
        tally("sgd", complete=3, best=0.5),
    ]
    file.print(status_view(rows, 61.0))
    first, head, ours, failed, second, other, left = printed(file).splitlines()
    assert [first, second, left.strip()] == [
        "my_package.my_module:my_workload, best suboptimality",
        "w, best accuracy",
        "about 1 min 01 s left",
    ]
    counts = ["running", "complete", "pruned", "diverged", "failed"]
    assert head.split() == ["done", *counts, "best"]
    assert re.sub("[━╸╺]+", "", ours).split() == ["nystrom-sgd", "283/500", "200", "33", "110", "140", "·", "1.235e-10"]
    assert re.sub("[━╸╺]+", "", failed).split() == ["sgd", "117/500", "·", "·", "·", "·", "117", "–"]
    assert re.sub("[━╸╺]+", "", other).split() == ["sgd", "3/10", "·", "3", "·", "·", "·", "0.5"]
    end = {name: head.index(name) + len(name) for name in ("done", *counts, "best")}
    assert (ours[: end["running"]][-3:], failed[: end["failed"]][-3:]) == ("200", "117")
    assert (other[: end["complete"]][-2:], other[: end["best"]][-3:]) == (" 3", "0.5")
    assert max(map(len, (head, ours, failed, other))) <= width


@pytest.mark.parametrize("width", [120, 16])
def test_runs_of_several_configurations_show_no_mean_of_them_all(file, width):
    file.width = width
    file.print(status_view([tally("sgd", complete=3, best=0.1234, runs="evaluation runs")], None))
    assert not re.search("0.1234|mean", printed(file))
    file.print(status_view([tally("sgd", complete=3, best=0.1234, runs="confirmation runs")], None))
    assert "mean" in printed(file)


def test_a_bar_grows_with_the_trials_done(terminal):
    def bar(done: int) -> int:
        terminal.file = io.StringIO()
        terminal.print(status_view([tally(complete=done)], None))
        filled = re.findall(r"\x1b\[([0-9;]*)m(━+)", printed(terminal))
        colour = {0: None, 5: filled[0][0], 10: filled[0][0]}[done]
        return sum(len(dashes) for code, dashes in filled if code == colour) if done else 0

    assert 0 == bar(0) < bar(5) < bar(10) == 24


def test_a_terminal_shows_a_table_that_moves_and_keeps_its_last_state(terminal):
    state = [tally(running=2), tally("sgd")]
    with Progress(lambda: state, terminal):
        until(lambda: "0/10" in printed(terminal))
        state[0] = tally(complete=4, pruned=1, running=1, best=0.81)
        until(lambda: "5/10" in printed(terminal))
        state[0] = tally(complete=9, pruned=1, best=0.9)
        state[1] = tally("sgd", complete=10, best=0.7)
    frame = last_frame(terminal)
    assert re.search(r"  sofim +━+ +10/10 +· +9 +1 +· +· +0\.9\b", frame)
    assert "left" not in frame
    assert re.search(r"  sgd +━+ +10/10 +· +10 +· +· +· +0\.7\b", frame)
    assert printed(terminal).count("\x1b[?25l") == printed(terminal).count("\x1b[?25h") == 1, "the cursor comes back"


def test_a_stopped_study_is_named_on_a_terminal(terminal):
    state = [tally(failed=10, stopped="10 failures in a row, the last: ValueError: [no] luck"), tally("sgd")]
    with Progress(lambda: state, terminal):
        pass
    assert "c/w/sofim stopped: 10 failures in a row, the last: ValueError: [no] luck" in last_frame(terminal)


def test_the_terminal_gets_back_to_the_person_when_the_campaign_breaks(terminal):
    with pytest.raises(RuntimeError, match="no"), Progress(lambda: [tally()], terminal):
        raise RuntimeError("no")
    assert printed(terminal).rstrip().endswith("\x1b[?25h")


def test_time_left_is_counted_from_the_first_trial_that_ends(terminal, clock):
    """Three trials in thirty seconds after the first, six to go; the start of the workers does not count."""
    watched = Watched(tally(asked_for=12, complete=2))  # of an earlier driver
    with Progress(watched, terminal):
        clock.now += 500.0  # workers start
        watched.change(tally(asked_for=12, complete=3))
        assert "left" not in printed(terminal)
        clock.now += 30.0
        watched.now = [tally(asked_for=12, complete=4, failed=2)]
    assert "about 1 min 00 s left" in last_frame(terminal)


@pytest.mark.slow
def test_no_time_is_foretold_from_two_trials_nor_for_a_stopped_study(terminal, clock):
    watched = Watched(tally(), tally("sgd", complete=1))
    with Progress(watched, terminal):
        watched.change(tally(), tally("sgd", complete=2))
        clock.now += 30.0
        watched.change(tally(), tally("sgd", complete=4))
        assert "left" not in printed(terminal)
        watched.now = [tally(stopped="10 failures in a row", failed=5), tally("sgd", complete=7)]
    assert "about 9 s left" in last_frame(terminal)  # ten trials in thirty seconds, and only the three of sgd to come


def test_elsewhere_a_study_is_one_line_when_it_is_done_and_never_again(file):
    sgd = tally("sgd", complete=10, best=0.2)
    sofim = tally(complete=6, pruned=2, diverged=1, failed=1, best=0.93312)
    watched = Watched(tally(running=1), sgd, tally("adam"))
    with Progress(watched, file):
        watched.change(sofim, sgd, tally("adam"))
        assert "sofim" in printed(file)
        watched.change(sofim, sgd, tally("adam"))
        watched.now = [sofim, sgd, tally("adam", complete=10)]
    assert printed(file).splitlines() == [
        "c/w/sofim: 10/10 trials (6 complete, 2 pruned, 1 diverged, 1 failed), best accuracy 0.9331",
        "c/w/adam: 10/10 trials (10 complete, 0 pruned, 0 diverged, 0 failed), best accuracy –",
    ]


def test_elsewhere_a_stopped_study_is_named_with_its_reason(file):
    state = [tally()]
    with Progress(lambda: state, file):
        state[0] = tally(failed=10, asked_for=30, stopped="10 failures in a row, the last: ValueError: [no] luck")
    assert printed(file) == (
        "c/w/sofim: 10/30 trials (0 complete, 0 pruned, 0 diverged, 10 failed), best accuracy –; "
        "stopped: 10 failures in a row, the last: ValueError: [no] luck\n"
    )


def test_elsewhere_the_whole_is_told_every_quarter_of_a_minute(file, clock):
    first, second = tally(running=2), tally("sgd", complete=1, failed=1)
    watched = Watched(first, second)
    with Progress(watched, file):
        clock.now += 14.0
        watched.change(first, second)
        assert printed(file) == ""
        clock.now += 2.0
        watched.change(first, second)
        watched.change(tally(complete=1, running=2), second)
        watched.now = [tally(complete=5), second]  # before its time: somebody looks all the while
        clock.now += 20.0
    assert printed(file).splitlines() == [
        "2/20 trials, 2 running, 1 failed",
        "7/20 trials, 0 running, 1 failed, about 1 min 05 s left",  # four in twenty seconds, thirteen to go
    ]


def test_a_search_that_its_time_ends_has_no_bar_and_says_what_the_clock_says(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.02)
    now = tally("any", asked_for=None, complete=3, pruned=2, running=1)
    assert now.missing == 0
    out = io.StringIO()
    console = Console(file=out, width=120)
    with Progress(lambda: [now], console, lambda: 42.0):
        until(lambda: "5 trials, 1 running, 0 failed, about 42 s left\n" in out.getvalue())
    assert out.getvalue().endswith("5 trials, 1 running, 0 failed\n"), "when it is over no time is left"
    console.print(status_view([now], None))
    row = next(line for line in out.getvalue().splitlines() if line.startswith("  any"))
    assert row.split() == ["any", "5", "1", "3", "2", "·", "·", "–"]
