"""Output that is closed, full, narrow or of another encoding: no traceback, and no number that reads as another."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import yaml
from rich.console import Console

from search_spaces import SEARCH_SPACES
from studies import called as calling
from studies.cli import sofim
from studies.commands.exported import FORMATS, printed
from studies.commands.next_commands import AFTER_LAUNCH, print_next_commands
from studies.commands.progress import Progress, status_view
from studies.commands.screen import plainly, print_table, say, standard_streams
from studies.commands.tables import print_leaderboard
from studies.storage.database import close_storage
from studies.trials import Tally
from tests.studies.commands.test_progress import tally
from tests.support.fake_campaign import make

NARROW = [20, 40, 60, 80, 120, 200]
COMMAND = [sys.executable, "-m", "studies.cli"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A directory with a campaign of a name that few encodings hold."""
    here = tmp_path_factory.mktemp("home")
    make(
        f"sqlite:///{here}/sofim.db",
        {"digits-mlp/sofim": [0.5] * 3, "digits-mlp/sgd": [0.4] * 3},
        name="é×学",
        trials=3,
    )
    return here


def run(home: Path, *arguments: str, **changes: object) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])} | changes.pop("environment", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | changes
    return subprocess.run([*COMMAND, *arguments], cwd=home, env=environment, timeout=240, check=False, **streams)


POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = {"cp1252": {"PYTHONIOENCODING": "cp1252"}, "POSIX": POSIX}  # more: test_no_character_is_too_much


# ------------------------------------------------------------------------------------------------------ encodings


IN_ALL = ("list", "status é×学")
IN_ONE = ("status", "launch quickstart --storage nope", "report 学", "--help", "status --storage sqlite:///né.db")


@pytest.mark.nightly(by_day=["list-cp1252", "status-POSIX"])
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "locale"), [*((c, name) for c in IN_ALL for name in LOCALES), *((c, "POSIX") for c in IN_ONE)]
)
def test_whatever_the_encoding_a_command_says_what_it_has_to_say(home: Path, command: str, locale: str) -> None:
    done = run(home, *command.split(), environment=LOCALES[locale])
    assert b"Traceback" not in done.stdout + done.stderr
    assert done.returncode in (0, 2)
    encoding = LOCALES[locale].get("PYTHONIOENCODING", "ascii")
    said = (done.stdout + done.stderr).decode(encoding)
    assert said
    if command == "status é×学":
        assert done.returncode == 0
    if command == "list":
        assert re.search(r"quickstart +2 workloads [x×] 7 optimizers [x×] 30 trials", said)
        assert re.search(r"(é|\\xe9)[x×]\\u5b66 +4 studies", said)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "koi8-r"])
def test_no_character_is_too_much(monkeypatch, stream: str, encoding: str) -> None:
    text = "".join(map(chr, [*range(32, 0x3000), 0x5B66, 0x1F600, 0xDCFF]))
    written = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(written, encoding=encoding))
    before = getattr(sys, stream).errors
    with standard_streams(lambda line: None) as end:
        print(text, file=getattr(sys, stream))
        assert end() == 0
    assert getattr(sys, stream).errors == before
    assert "A" in written.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("text", "says"),
    [("10⁻³", "10^-3"), ("10¹²", "10^12"), ("0.5 ± 0.1", "0.5 +- 0.1"), ("−7", "-7"), ("2 × 3", "2 x 3"), ("–", "-"),
     ("[0.1, ∞]", "[0.1, inf]"), ("R² 0.5", "R^2 0.5"), ("η/ρ", "eta/rho"), ("√ρ", "sqrt rho"), ("a…", "a..."),
     ("naïve", r"na\xefve")],
)  # fmt: skip
def test_numbers_read_as_what_they_are(text: str, says: str) -> None:
    out = io.BytesIO()
    stream = io.TextIOWrapper(out, encoding="ascii", errors="sofim.plainly")
    print(text, end="", file=stream, flush=True)
    assert out.getvalue().decode("ascii") == says == "".join(plainly(part) if ord(part[0]) > 127 else part
                                                             for part in re.findall(r"[⁻¹²³]+|.", text))  # fmt: skip


DOCUMENT = {
    "made": {"by": "sofim export é学", "date": "2024-02-29", "regrets": "of surrogates"},
    "campaigns": {"é学😀": {"trials": 3, "tiny": 1.5e-300}},
    "optimizers": {
        "lbfgs": {
            "workloads": {
                "mine:naïve": {
                    "batch_size": 16,
                    "arguments": {"lr": 1e-05, "line_search_fn": "é学\U0001f600"},
                    "evidence": {
                        "kind": "winner",
                        "trials": 1,
                        "campaign": "é学",
                        "metric": "é",
                        "data": "validation",
                        "seeds": 0,
                    },
                    "notes": ["η/ρ is 10⁻³"],
                }
            }
        }
    },
}


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_in_ascii_has_the_same_values(form: str) -> None:
    text = printed(DOCUMENT, form, ascii_only=True)
    assert text.isascii()
    if form == "python":
        assert [float(found) for found in re.findall(r"lr=([^,)]+)", text)] == [1e-05]
        lines = [line for line in text.splitlines() if not line.startswith(("from", "#"))]
        seen: dict[str, object] = {}
        exec(
            "\n".join(lines),
            {"LBFGS": lambda _, **given: seen.update(given), "model": SimpleNamespace(parameters=list)},
        )
        assert seen["line_search_fn"] == "é学\U0001f600"
        return
    if form == "table":
        assert "lr=1e-05" in text
        return
    read = {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}[form]
    assert read(text) == read(printed(DOCUMENT, form)) == DOCUMENT


def test_every_help_is_ascii() -> None:
    """Click writes it past whoever looks after the encoding."""
    for command in [sofim, *sofim.commands.values()]:
        assert command.get_help(command.make_context("x", [], resilient_parsing=True)).isascii(), command.name


# ---------------------------------------------------------------------------------------------- closed and full


@pytest.mark.nightly(by_day=["list-utf-8"])
@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("command", "encoding"),
    [("list", "utf-8"), ("status", "ascii"), ("--help", "utf-8"), ("export é×学 --winner", "ascii")],
)
def test_a_full_standard_output_is_one_line(home: Path, command: str, encoding: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(home, *command.split(), stdout=full, environment={"PYTHONIOENCODING": encoding})
    assert done.returncode == 2
    assert done.stderr == b"sofim: standard output cannot be written: No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["list", "--help"])
def test_a_pipe_that_nobody_reads_ends_in_silence(home: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(home, *command.split(), stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.nightly(by_day=[">&-"])
@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(home: Path, closed: str) -> None:
    before = (home / "sofim.db").read_bytes()
    for command, code in (("list", 0), ("status nope", 2)):
        line = f"{sys.executable} -m studies.cli {command} {closed}"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        done = subprocess.run(
            ["sh", "-c", line], cwd=home, env=environment, capture_output=True, timeout=240, check=False
        )
        assert done.returncode == code
        assert b"Traceback" not in done.stdout + done.stderr
    assert (home / "sofim.db").read_bytes() == before, "nothing was printed into the database"


# ------------------------------------------------------------------------------------------------------- widths

WORDS = r"[A-Za-z_]\w*=\S+"


def shown(width: int) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, color_system=None, width=width, height=24, highlight=False), out


@pytest.mark.parametrize("width", NARROW)
def test_no_cell_of_a_table_is_cut(width: int) -> None:
    params = "lr=0.0001343, momentum=0.8924, weight_decay=1.517e-06, line_search_fn=strong_wolfe, batch_size=23"
    rows = [("1", "nystrom-sgd", "1.235e-10", params, "10 complete, 20 pruned"), ("2", "a" * 30, "-0.5", "", "")]
    console, out = shown(width)
    print_table(console, ("", "optimizer", "gap", "hyperparameters", "trials"), rows, right={0, 2, 4}, under=3)
    words = out.getvalue().split()
    for row in rows:
        for cell in row:
            assert set(cell.split()) <= set(words), f"{cell} at {width}"
    assert "…" not in out.getvalue()
    longest = max(map(len, (word for row in rows for cell in row for word in cell.split())))
    assert max(map(len, out.getvalue().splitlines())) <= max(width, longest + 6)


@pytest.mark.parametrize("width", NARROW)
def test_no_number_of_a_leaderboard_is_cut(home: Path, width: int) -> None:
    wide, narrow = shown(1000), shown(width)
    for console, _ in (wide, narrow):
        print_leaderboard("é×学", f"sqlite:///{home}/sofim.db", console)
    numbers = [set(re.findall(WORDS, out.getvalue().replace(",", ""))) for _, out in (wide, narrow)]
    assert numbers[0] == numbers[1] != set()


@pytest.mark.parametrize("width", NARROW)
def test_no_count_of_a_status_is_cut(width: int) -> None:
    one = tally("nystrom-sgd", asked_for=500, running=200, complete=33, pruned=110, diverged=17, best=1.23456e-10)
    console, out = shown(width)
    console.print(status_view([one, tally("sgd", asked_for=500, failed=3)], 61.0))
    words = re.findall(r"[^\s,]+", out.getvalue())
    assert {"nystrom-sgd", "160/500", "200", "33", "110", "17", "1.235e-10", "3/500", "3"} <= set(words)
    assert max(map(len, out.getvalue().splitlines())) <= width


@pytest.mark.parametrize("width", NARROW)
def test_a_sentence_is_broken_between_words_and_a_command_not_at_all(width: int) -> None:
    console, out = shown(width)
    sentence = "No trial ran its whole budget: 1.517e-06, (history_size=11), https://example.org/" + "a" * 50
    say(console, sentence)
    assert out.getvalue().split() == sentence.split()
    out.truncate(0)
    out.seek(0)
    print_next_commands(AFTER_LAUNCH, "sqlite:///some/other place.db", console, campaign="my campaign")
    lines = out.getvalue().splitlines()
    for name in AFTER_LAUNCH[:-1]:
        assert any(f"sofim {name} 'my campaign' --storage 'sqlite:///some/other place.db'" in line for line in lines)


def many() -> list[Tally]:
    """Four workloads and seven optimizers, two of whose trials run: far down."""
    made = [
        tally(
            optimizer, workload=f"workload-{number}", study=f"c/{number}/{optimizer}", complete=10 if number < 2 else 0
        )
        for number in range(4)
        for optimizer in list(SEARCH_SPACES)[:7]
    ]
    made[-1] = tally("last", workload="workload-3", study="c/3/last", complete=4, running=1, best=0.5)
    made[20] = tally("middle", workload="workload-2", study="c/2/middle", complete=4, running=1, best=0.25)
    return made


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 24), (80, 12), (120, 40), (30, 10)])
def test_a_small_screen_shows_what_runs_and_how_long_it_takes(width: int, height: int, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    tallies = many()
    console, out = shown(width)
    console.print(status_view(tallies, 125.0, lines=height - 1))
    frame = out.getvalue()
    assert len(frame.splitlines()) <= height - 1
    assert "about 2 min 05 s left" in frame
    if height >= 12:
        assert re.search(r"\bmiddle\b", frame)
        assert re.search(r"\blast\b", frame)
    if height < 35:
        assert re.search(r"and \d+ more studies, \d+ of them over; in all 148/280 trials", " ".join(frame.split()))


def test_a_finished_table_is_whole_and_has_no_time_left(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, out = shown(80)
    with Progress(many, console, lambda: 42.0):
        pass
    last = out.getvalue()[out.getvalue().rindex("workload-0") :]
    assert all(f"workload-{number}" in last for number in range(4))
    assert "left" not in last


def test_a_dumb_terminal_gets_lines(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    console, out = shown(80)
    state = [tally()]
    with Progress(lambda: state, console):
        state[0] = tally(complete=10, best=0.5)
    assert (
        out.getvalue() == "c/w/sofim: 10/10 trials (10 complete, 0 pruned, 0 diverged, 0 failed), best accuracy 0.5\n"
    )


# ------------------------------------------------------------------------------------------ how it was called


def test_the_next_commands_are_called_as_this_one_was(monkeypatch, tmp_path) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "sofim"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "orig_argv", [".venv/bin/python", "-m", "studies.cli", "list"])

    def called(program: str, path: str) -> str:
        monkeypatch.setattr(sys, "argv", [program, "list"])
        monkeypatch.setenv("PATH", path)
        return calling.command_line("report", "my campaign")

    away, there = "/nowhere", str(tmp_path / "bin")
    assert called("bin/sofim", away) == called("bin/sofim", there) == "bin/sofim report 'my campaign'"
    assert called(str(script), away) == f"{script} report 'my campaign'"
    assert called(str(script), there) == "sofim report 'my campaign'"
    assert called("/here/studies/cli.py", away) == ".venv/bin/python -m studies.cli report 'my campaign'"
    assert called("/somewhere/pytest", away) == "sofim report 'my campaign'"


def test_the_storage_is_named_where_it_is_not_the_usual_one(monkeypatch) -> None:
    monkeypatch.delenv("SOFIM_STORAGE", raising=False)
    assert calling.storage_named("sqlite:///sofim.db", "x") == []
    assert (
        calling.storage_named("postgresql://me:secret@h/n", "postgresql://me:***@h/n")[1] == "postgresql://me:***@h/n"
    )
    monkeypatch.setenv("SOFIM_STORAGE", "postgresql://me:secret@h/n")
    assert calling.storage_named("postgresql://me:secret@h/n", "x") == []
    assert calling.storage_named("sqlite:///sofim.db", "sqlite:///sofim.db") == ["--storage", "sqlite:///sofim.db"]


def test_a_search_that_its_time_ended_can_be_reported(tmp_path, monkeypatch) -> None:
    """Its campaign has no number of trials."""
    from analysis.load import study as study_called
    from analysis.load import trials
    from analysis.report._page import _rules

    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/t.db")
    study = optuna.create_study(study_name="t/w/any", storage=storage)
    searched = {"name": "t", "workloads": ["w"], "optimizers": ["any"], "budget": {"seconds": 60.0}}
    for name, value in {
        "campaign": {**searched, "sampler": "tpe", "seed": 0},
        "workload": "w", "optimizer": "any", "metric": "accuracy", "protocol": 1,
    }.items():  # fmt: skip
        study.set_user_attr(name, value)
    made = study_called(storage, "t/w/any")
    told = _rules(made, trials(storage, [made]))
    assert told.startswith("Campaign t: a budget of 60 s, sampler tpe, seed 0")
    close_storage(storage)
