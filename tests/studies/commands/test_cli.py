"""The ``sofim`` command: what it prints, and one line for every mistake."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

import studies.campaign.resolve
import studies.commands.dry_run
from search_spaces import SEARCH_SPACES
from sofim import OPTIMIZERS
from studies import cli
from studies.called import place_to_write
from studies.campaign.reading import PRESETS as PRESET_FILES
from studies.campaign.reading import launched_again, load
from studies.cli import main
from studies.commands import facts
from studies.commands.next_commands import AFTER_CONFIRM, AFTER_LAUNCH, print_next_commands
from studies.data import DATASETS
from studies.storage.database import close_storage
from studies.workloads import WORKLOADS
from studies.workloads._targets import target_origins
from tests.support.fake_campaign import campaign, make, open_ledger, play

COMMANDS = ["launch", "confirm", "report", "evaluate", "export", "tune", "status", "list", "data", "dashboard", "check"]

MINE = '''
import torch
from torch import nn
from studies.workloads import Data, Metric, Workload, accuracy

def _load(directory):
    points = torch.rand(90, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes = (points.prod(dim=1) > 0).long()
    return Data((points[:60], classes[:60]), (points[60:], classes[60:]))

def _net():
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))

def _workload(**changes):
    fields = {"load": _load, "model": _net, "loss": nn.functional.cross_entropy}
    return Workload("xor", metric=Metric("accuracy", "maximize", accuracy), epochs=2, **(fields | changes))

def fire():
    return _workload()

def number():
    return 3

def raising():
    raise ValueError("no\\nluck")

def bare():
    return _workload(loss=lambda outputs, targets: 0.5)

def second_time():
    calls = []
    def net():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("cursed")
        return _net()
    return _workload(model=net)

constant = 3
'''  # fmt: skip


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def sofim(tmp_path, monkeypatch, capsys) -> Callable[..., Done]:
    """The command in this very process, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        code = end.value.code
        return Done(code if isinstance(code, int) else 0, *capsys.readouterr())

    yield run
    sys.modules.pop("mine", None)


# ------------------------------------------------------------------------------------------------------- help

HEAVY = {"torch", "ray", "optuna", "pandas", "sklearn", "scipy", "sqlalchemy", "pydantic", "numpy"}


def test_help_loads_nothing_heavy_and_names_every_command_and_option():
    script = (
        "import sys\nfrom studies.cli import main\n"
        f"for command in [[], *([name] for name in {COMMANDS})]:\n"
        "    try:\n        main([*command, '--help'])\n    except SystemExit as end:\n        assert not end.code\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=True)
    text, _, loaded = done.stdout.partition("LOADED")
    assert not HEAVY & set(loaded.split())
    assert done.stderr == ""
    # the options that programs use
    for word in (
        *COMMANDS, "--storage", "--trials", "--optimizers", "--workloads", "--workload", "--name", "--seed", "--data",
        "--address", "--wait", "--cpus-per-trial", "--gpus-per-trial", "--dry-run", "--confirm", "--seeds", "--top",
        "--anyway",
    ):  # fmt: skip
        assert re.search(rf"(^|\s){word}\b", text), word


def test_whatever_runs_trials_takes_the_same_options():
    shared = {"address", "cpus", "gpus", "cpus_per_trial", "gpus_per_trial", "checkpoints", "checkpoint_every"}
    shared |= {"storage_timeout", "trial_timeout", "wait", "logs"}
    for command in (cli.launch, cli.confirm, cli.tune, cli.evaluate):
        assert shared <= {option.name for option in command.params}, command.name


def test_no_arguments_are_a_question(sofim):
    assert sofim() == sofim("--help")
    assert sofim().code == 0
    assert "launch" in sofim("-h").out


def test_the_version_is_the_packages(sofim):
    from importlib.metadata import version

    assert sofim("--version").out == f"sofim, version {version('sofim-studies')}\n"


# ---------------------------------------------------------------------------------------------- what it prints


def rows(text: str) -> list[list[str]]:
    """The words of each line, bars left out."""
    return [words for words in (re.sub("[━╸╺]+", "", line).split() for line in text.splitlines()) if words]


def test_list_names_all_there_is(sofim):
    done = sofim("list")
    assert (done.code, done.err) == (0, "")
    first = [words[0] for words in rows(done.out)]
    assert {*PRESET_FILES, *WORKLOADS, *OPTIMIZERS} <= set(first)
    assert ["quickstart", "2", "workloads", "×", "7", "optimizers", "×", "30", "trials"] in rows(done.out)
    assert "Campaigns" not in done.out
    assert not Path("sofim.db").exists(), "looking makes no database"


@pytest.mark.slow
def test_list_names_the_campaigns_of_the_storage(sofim):
    make("sqlite:///sofim.db", {}, name="[bold]zebra")
    make("sqlite:///sofim.db", {}, name="ant", workloads=["digits-mlp"], optimizers=["adam"])
    assert rows(sofim("list").out)[-3:] == [
        ["Campaigns", "in", "sqlite:///sofim.db"],
        ["[bold]zebra", "4", "studies"],
        ["ant", "1", "study"],
    ]


@pytest.mark.slow
def test_data_says_of_every_data_set_where_it_is_or_how_to_get_it(sofim, tmp_path):
    done = sofim("data", "--data", "[nowhere]")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == list(DATASETS)
    assert "digits: there, in scikit-learn, nothing to fetch" in lines
    assert "shakespeare: there, in this package, nothing to fetch" in lines
    assert "cifar10: missing" in lines
    place = tmp_path / "[nowhere]"
    remedy = f"fetch it with: sofim data cifar10 --download --data '{place}'"
    looked_in = f"{place}/cifar-10-batches-py (nor in {place}/cifar10, {place})"
    assert f"  cifar10: no data_batch_1 in {looked_in}; {remedy}" in lines


def test_data_ends_with_2_when_a_data_set_one_asks_for_is_missing(sofim):
    assert sofim("data", "digits", "--data", "nowhere").code == 0
    assert sofim("data", "digits", "svhn", "--data", "nowhere").code == 2


def test_a_dry_run_says_what_would_run_and_leaves_nothing(sofim):
    done = sofim("launch", "quickstart", "--dry-run", "--trials", "30", "--optimizers", "sgd,sofim", "--name", "[b]")
    assert (done.code, done.err) == (0, "")
    assert "Campaign [b]: sampler tpe, pruner asha, schedule cosine, seed 0. Nothing was run or" in done.out
    names = ["digits-mlp/sgd", "digits-mlp/sofim", "breast-cancer-logreg/sgd", "breast-cancer-logreg/sofim"]
    listed = [words for words in rows(done.out) if "/" in words[0]]
    assert [words[:3] for words in listed] == [[name, "30", "20" if "digits" in name else "30"] for name in names]
    assert re.search(r"Training on this machine, \d+ trials? at once: at most about \d+ (s|min)", done.out)
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_a_dry_run_says_how_many_trials_are_there_already(sofim):
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5, "diverged"]}, workloads=["digits-mlp"], optimizers=["sgd"])
    done = sofim("launch", "fake", "--extend", "--trials", "4", "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "2 of these trials have ended, in sqlite:///sofim.db, and are not run again." in done.out
    assert "\nIt may end before" not in done.out
    assert "have ended" not in sofim("launch", "fake", "--name", "other", "--dry-run").out


@pytest.mark.slow
def test_a_dry_run_refuses_what_the_launch_would_refuse_and_in_the_same_words(sofim):
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5, 0.25]}, workloads=["digits-mlp"], optimizers=["sgd"])
    others = (("--trials", "1"), ("--trials", "4"), ("--replicates", "3"), ("--optimizers", "adam"), ("--seed", "7"))
    for changed in others:
        done, dry = sofim("launch", "fake", *changed), sofim("launch", "fake", *changed, "--dry-run")
        assert (done.code, dry.code, dry.err) == (2, 2, done.err)
        assert "is in the storage with another configuration" in dry.err
    begun = optuna.load_study(study_name="fake/digits-mlp/sgd", storage="sqlite:///sofim.db")
    epochs = begun.user_attrs["epochs"]
    begun.set_user_attr("epochs", epochs + 1)
    done, dry = sofim("launch", "fake"), sofim("launch", "fake", "--dry-run")
    assert (done.code, dry.code, dry.err) == (2, 2, done.err)
    assert f"was changed since that was begun (epochs was {epochs + 1}, is {epochs}); change it back" in dry.err
    make("sqlite:///begun.db", {"digits-mlp/sgd": []}, workloads=["digits-mlp"], optimizers=["sgd"])
    begun = optuna.load_study(study_name="fake/digits-mlp/sgd", storage="sqlite:///begun.db")
    begun.set_user_attr("epochs", epochs + 1)
    there = ("launch", "fake", "--storage", "sqlite:///begun.db")
    done, dry = sofim(*there), sofim(*there, "--dry-run")
    assert (done.code, dry.code, dry.err) == (2, 2, done.err)
    assert sofim(*there, "--seed", "7", "--dry-run").code == 0  # no trial holds the campaign to its configuration
    begun.ask()
    done, dry = sofim(*there, "--seed", "7"), sofim(*there, "--seed", "7", "--dry-run")
    assert (done.code, dry.code, dry.err) == (2, 2, done.err)
    assert sofim("launch", "quickstart", "--dry-run", "--storage", "sqlite:///none.db").code == 0
    assert not Path("none.db").exists()


@pytest.mark.slow
def test_a_dry_run_refuses_a_foreign_study_as_the_launch_does(sofim):
    typed = ("launch", "quickstart", "--workloads", "digits-mlp", "--optimizers", "sgd", "--trials", "2")
    name = "quickstart/digits-mlp/sgd"
    for directory, direction, trials in (
        ("foreign", "maximize", 1),
        ("turned", "minimize", 0),
        ("empty", "maximize", 0),
    ):
        url = f"sqlite:///{directory}.db"
        study = optuna.create_study(storage=url, study_name=name, direction=direction)
        for _ in range(trials):
            study.tell(study.ask(), 0.5)
        dry = sofim(*typed, "--storage", url, "--dry-run")
        if directory == "empty":
            assert (dry.code, dry.err) == (0, ""), "what a driver left that died while it made it"
            assert optuna.load_study(study_name=name, storage=url).user_attrs == {}
            continue
        done = sofim(*typed, "--storage", url)
        assert (done.code, dry.code, dry.err) == (2, 2, done.err)
        assert name in dry.err
        assert len(optuna.load_study(study_name=name, storage=url).trials) == trials
    for url in ("sqlite:///nowhere/x.db", "journal:///nowhere/x.log"):
        done, dry = sofim(*typed, "--storage", url), sofim(*typed, "--storage", url, "--dry-run")
        assert (done.code, dry.code, dry.err) == (2, 2, done.err)
        assert "make it first" in dry.err
    assert sofim(*typed, "--storage", "journal:///new.log", "--dry-run").code == 0
    assert not Path("new.log").exists()


@pytest.mark.slow
def test_a_dry_run_reads_as_the_launch_does_what_is_queued_and_what_is_cut_off(sofim):
    one = {"workloads": ["digits-mlp"], "optimizers": ["sgd"]}
    for what in ("queued", "cut"):
        url = f"sqlite:///{what}.db"
        make(url, {"digits-mlp/sgd": [0.5]}, **one)
        if what == "queued":
            optuna.load_study(study_name="fake/digits-mlp/sgd", storage=url).enqueue_trial({"lr": 0.1})
        else:
            with closing(sqlite3.connect("cut.db")) as opened, opened:
                opened.execute("UPDATE trial_user_attributes SET value_json = '{\"a' WHERE key = 'seed'")
        done, dry = sofim("launch", "fake", "--storage", url), sofim("launch", "fake", "--storage", url, "--dry-run")
        assert (done.code, dry.code, dry.err) == (2, 2, done.err), what
        assert len(dry.err.splitlines()) == 1


def test_a_dry_run_prices_nothing_of_a_study_that_was_given_up_on(sofim, monkeypatch):
    monkeypatch.setattr("studies.training.allowance.cpus", lambda: 1)
    estimate = [studies.commands.dry_run.Estimate(f"fake/digits-mlp/{name}", 60.0) for name in ("sgd", "adam")]
    monkeypatch.setattr(studies.commands.dry_run, "estimate", lambda resolved: estimate)
    two = {"workloads": ["digits-mlp"], "optimizers": ["sgd", "adam"], "trials": 12}
    broken = [*["failed: x"] * 5, "running", *["failed: x"] * 5]  # whose driver was killed: it is lost
    make("sqlite:///sofim.db", {"digits-mlp/sgd": broken, "digits-mlp/adam": [0.5] * 11}, **two)
    done = sofim("launch", "fake", "--dry-run")
    assert "1 trial at once: at most about 1 min 00 s " in done.out
    assert "stopped: 10 failures in a row, the last: x\n" in done.out
    assert "21 of these trials have ended, " in done.out


@pytest.mark.slow
def test_a_preset_of_which_a_part_was_launched_is_extended_as_it_was_launched(sofim):
    part = {"name": "quickstart", "workloads": ["digits-mlp"], "optimizers": ["sgd"]}
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5, 0.25]}, **part)
    listed = [words[0] for words in rows(sofim("launch", "quickstart", "--extend", "--trials", "4", "--dry-run").out)]
    assert [name for name in listed if "/" in name] == ["digits-mlp/sgd"]
    more = ("--optimizers", "sgd,adam", "--trials", "4")
    listed = [words[0] for words in rows(sofim("launch", "quickstart", "--extend", *more, "--dry-run").out)]
    assert [name for name in listed if "/" in name] == ["digits-mlp/sgd", "digits-mlp/adam"]


@pytest.mark.slow
def test_what_was_launched_of_a_preset_goes_on_with_the_command_that_is_printed(sofim):
    part = {"name": "quickstart", "workloads": ["digits-mlp"], "optimizers": ["sgd"]}
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5]}, **part)
    refused = sofim("confirm", "quickstart").err
    assert "go on with: sofim launch quickstart --extend, or confirm" in refused
    storage = optuna.storages.RDBStorage("sqlite:///sofim.db")
    study_id = storage.get_all_studies()[0]._study_id
    ended = {"quickstart/digits-mlp/sgd": "no improvement in 1 trial after trial 0"}
    storage.set_study_user_attr(study_id, "ended_by", ended)
    close_storage(storage)
    assert (
        "With a larger --patience, or none, it goes on: sofim launch quickstart --extend\n"
        in sofim("status", "quickstart").out
    )
    done = sofim("launch", "quickstart", "--extend", "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "1 of these trials has ended" in done.out


def test_a_campaign_is_not_begun_with_a_target_that_it_cannot_reach(sofim):
    one = {"workloads": ["digits-mlp"], "optimizers": ["sgd"], "targets": {"digits-mlp": 97.0}}
    Path("mine.toml").write_text(
        'name = "mine"\nworkloads = ["digits-mlp"]\noptimizers = ["sgd"]\ntrials = 2\ntargets.digits-mlp = 97\n'
    )
    assert sofim("launch", "mine.toml", "--dry-run") == Done(
        2, "", "sofim: targets.digits-mlp = 97: accuracy lies between 0 and 1; give a target that it can reach\n"
    )
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5]}, **one)
    assert sofim("launch", "fake", "--dry-run").code == 0, "what was begun goes on"


def test_an_extension_of_nothing_says_that_it_begins(sofim):
    typed = ["launch", "quickstart", "--extend", "--dry-run", "--workloads", "digits-mlp", "--optimizers", "sgd"]
    line = "There is no campaign 'quickstart' to extend in sqlite:///sofim.db: this is its first launch.\n"
    assert sofim(*typed).out.startswith(line)


def test_a_preset_as_it_is_goes_on_with_its_name():
    whole = load("quickstart").stored()
    assert launched_again(whole) == ["launch", "quickstart"]
    assert launched_again(whole | {"trials": 7}) == ["launch", "quickstart", "--extend"]
    assert launched_again(whole | {"name": "mine", "trials": 7}) == ["launch", "mine"]


def test_a_dry_run_of_half_the_trials_at_once_takes_twice_as_long(sofim, monkeypatch):
    monkeypatch.setattr("studies.training.allowance.cpus", lambda: 8)
    estimate = [studies.commands.dry_run.Estimate("quickstart/digits-mlp/sgd", 60.0)]
    monkeypatch.setattr(studies.commands.dry_run, "estimate", lambda resolved: estimate)
    arguments = ["launch", "quickstart", "--dry-run", "--trials", "40", "--optimizers", "sgd", "--cpus-per-trial"]
    assert "4 trials at once: at most about 10 min 00 s " in sofim(*arguments, "2").out
    assert "2 trials at once: at most about 20 min 00 s " in sofim(*arguments, "4").out
    assert "1 trial at once: at most about 40 min 00 s " in sofim(*arguments, "2", "--cpus", "2").out
    # each was timed with a core of its own
    assert "32 trials at once on 8 cores: at most about 5 min 00 s " in sofim(*arguments, "0.25").out
    assert "8 trials at once: at most about 15 min 00 s " in sofim(*arguments, "1", "--replicates", "3").out
    assert "replicates = 0: " in sofim(*arguments, "1", "--replicates", "0").err
    told = sofim(*arguments, "1", "--budget", "2h", "--patience", "30", "--confirm").out
    assert "\nIt may end before, by --budget 2 h and --patience 30.\n" in told
    assert "one run alone on a device, beside these times." in told


def test_a_dry_run_prices_what_is_left(sofim, monkeypatch):
    monkeypatch.setattr("studies.training.allowance.cpus", lambda: 1)
    estimate = [studies.commands.dry_run.Estimate("fake/digits-mlp/sgd", 60.0)]
    monkeypatch.setattr(studies.commands.dry_run, "estimate", lambda resolved: estimate)
    one = {"workloads": ["digits-mlp"], "optimizers": ["sgd"]}
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5]}, replicates=2, trials=3, **one)
    done = sofim("launch", "fake", "--dry-run")
    assert [words for words in rows(done.out) if "/" in words[0]] == [
        ["digits-mlp/sgd", "2", "×", "3", "20", "1", "min", "00", "s", "5", "min", "00", "s"]
    ]
    assert "1 trial at once: at most about 5 min 00 s " in done.out
    assert "1 of these trials has ended, in sqlite:///sofim.db, and is not run again." in done.out
    make("sqlite:///other.db", {"digits-mlp/sgd": [0.5, 0.5]}, **one)
    assert "\nNothing is left to run.\n" in sofim("launch", "fake", "--dry-run", "--storage", "sqlite:///other.db").out


@pytest.mark.slow
def test_status_tells_how_far_every_study_is_and_who_drives(sofim):
    outcomes = {"digits-mlp/sofim": [0.5, ("pruned", 0.9), "failed: x"], "digits-mlp/sgd": ["diverged", 0.25, 0.75]}
    made = campaign(name="[red]", trials=4)
    with open_ledger("sqlite:///sofim.db", made) as ledger:
        play(ledger, outcomes)
        ledger.flush()
        done = sofim("status")
    assert (done.code, done.err) == (0, "")
    assert f"[red]: running, process {os.getpid()} on {socket.gethostname()}" in done.out
    after = sofim("status", "[red]")
    assert "[red]: not running" in after.out
    _, title, columns, ours, sgd, *_ = rows(after.out)
    assert title == ["digits-mlp,", "best", "accuracy"]
    assert columns == ["done", "running", "complete", "pruned", "diverged", "failed", "best"]
    assert ours == ["sofim", "3/4", "·", "1", "1", "·", "1", "0.5"]
    assert sgd == ["sgd", "3/4", "·", "2", "·", "1", "·", "0.75"]


def test_status_takes_the_file_that_was_launched(sofim):
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5]}, workloads=["digits-mlp"], optimizers=["sgd"])
    Path("mine.toml").write_text('name = "fake"\nworkloads = ["digits-mlp"]\noptimizers = ["sgd"]\ntrials = 2\n')
    assert sofim("status", "mine.toml") == sofim("status", "fake")
    assert sofim("status", "mine.toml").out.startswith("fake: not running\n")
    assert sofim("status", "none.toml") == Done(2, "", "sofim: none.toml: cannot be read: No such file or directory\n")


@pytest.mark.slow
def test_status_names_a_study_that_stopped_and_what_stopped_it(sofim):
    outcomes = {
        "digits-mlp/sofim": ["failed: x", 0.5, *["failed: ValueError: [no] luck"] * 10],
        "digits-mlp/sgd": [0.5],
    }
    made = campaign(trials=30, workloads=["digits-mlp"])
    with open_ledger("sqlite:///sofim.db", made) as ledger:
        play(ledger, outcomes)
        stopped = ledger.tallies()[0].stopped
    assert stopped == "10 failures in a row, the last: ValueError: [no] luck"
    assert f"\nfake/digits-mlp/sofim stopped: {stopped}\n" in sofim("status").out
    assert "sgd stopped" not in sofim("status").out


@pytest.mark.slow
def test_status_says_when_a_driver_was_lost(sofim):
    make("sqlite:///sofim.db", {})
    storage = optuna.storages.RDBStorage("sqlite:///sofim.db")
    gone = {"host": socket.gethostname(), "pid": 2**22 + 1, "started": 1.0, "seen": 1.0}
    storage.set_study_user_attr(storage.get_all_studies()[0]._study_id, "driver", gone)
    close_storage(storage)
    assert "fake: its driver was lost; launch it again to go on" in sofim("status").out


def test_status_of_a_storage_without_campaigns_says_how_to_start(sofim):
    close_storage(optuna.storages.RDBStorage("sqlite:///sofim.db"))
    done = sofim("status")
    assert done == Done(0, "No campaign in sqlite:///sofim.db yet; start one: sofim launch quickstart\n", "")


# ---------------------------------------------------------------------------------- campaigns found by their name

FINISHED = {f"{w}/{o}": [0.25, 0.5] for w in ("digits-mlp", "breast-cancer-logreg") for o in ("sofim", "sgd")}


@pytest.mark.slow
def test_a_finished_campaign_is_found_by_its_name_and_shown(sofim, tmp_path):
    make("sqlite:///sofim.db", FINISHED)
    (tmp_path / "fake").mkdir()  # a directory of that name is no campaign
    done = sofim("launch", "fake")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Nothing left to run: every trial of fake is in the storage.\n")
    storage = optuna.storages.RDBStorage("sqlite:///sofim.db")
    assert "spent_seconds" not in storage.get_all_studies()[0].user_attrs, "a launch that trained nothing spent nothing"
    close_storage(storage)
    assert "digits-mlp: best accuracy on validation data (higher is better)" in done.out
    assert "breast-cancer-logreg: best gap on training data (lower is better)" in done.out
    assert [words[:3] for words in rows(done.out) if words[0] == "1"] == [
        ["1", "sofim", "0.5"], ["1", "sgd", "0.5"], ["1", "sofim", "0.25"], ["1", "sgd", "0.25"]
    ]  # fmt: skip
    assert [line.split("   ")[0] for line in done.out.splitlines()[-5:]] == [
        "  sofim confirm fake", "  sofim report fake", "  sofim export fake", "  sofim status fake", "  sofim dashboard"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_study_that_stopped_is_not_said_to_be_whole(sofim):
    outcomes = {"digits-mlp/sofim": ["failed: ValueError: x"] * 10, "digits-mlp/sgd": [0.5] * 12}
    make("sqlite:///sofim.db", outcomes, trials=12, workloads=["digits-mlp"])
    done = sofim("launch", "fake")
    assert done.code == 0
    assert done.out.startswith(
        "fake/digits-mlp/sofim stopped: 10 failures in a row, the last: ValueError: x\n"
        "Nothing left to run in fake; once the cause is mended, run it under another name with --name.\n"
    )


@pytest.mark.slow
def test_a_launch_ends_with_what_only_failed_and_why(sofim):
    outcomes = {
        "digits-mlp/sofim": ["failed: ValueError: [no] luck"] * 2,
        "digits-mlp/sgd": [0.5, "failed: KeyError: 1"],
    }
    make("sqlite:///sofim.db", outcomes, workloads=["digits-mlp"])
    line = "fake/digits-mlp/sofim: every trial of sofim failed, 2 of 2 with ValueError: [no] luck\n"
    done = sofim("launch", "fake")
    assert done.code == 0
    assert done.out.index("digits-mlp: best accuracy") < done.out.index(line) < done.out.index("Next:")
    assert "KeyError" not in done.out
    assert line in sofim("status").out


@pytest.mark.slow
def test_a_launch_of_which_nothing_is_whole_offers_nothing_that_refuses(sofim):
    outcomes = {"digits-mlp/sgd": ["diverged", ("pruned", 0.5)]}
    make("sqlite:///sofim.db", outcomes, workloads=["digits-mlp"], optimizers=["sgd"])
    done = sofim("launch", "fake")
    assert done.code == 0
    told, _, after = done.out.partition("No trial ran its whole budget: there is nothing to confirm or to recommend. ")
    assert "These values are of one seed" not in told
    assert [line.split("   ")[0] for line in after.splitlines()] == [
        "Next:", "  sofim report fake", "  sofim status fake", "  sofim dashboard"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_launch_of_which_every_trial_failed_is_no_success(sofim):
    outcomes = {f"digits-mlp/{key}": [f"failed: ValueError: {key}"] * 2 for key in ("sofim", "sgd")}
    make("sqlite:///sofim.db", outcomes, workloads=["digits-mlp"])
    done = sofim("launch", "fake")
    assert done.code == 2
    assert done.err == (
        "sofim: campaign 'fake': all of its 4 trials failed, the last: ValueError: sgd; "
        "mend that and run it under another name with --name\n"
    )
    assert sofim("status").out.count("2 of 2 with ValueError: ") == 2


@pytest.mark.nightly
@pytest.mark.cluster
def test_a_campaign_goes_on_by_its_name_when_its_file_is_gone(tmp_path, sofim, one_ray):
    one_ray.use(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "file.toml").write_text(
        'name = "by-name"\nworkloads = ["mine:fire"]\noptimizers = ["sgd"]\ntrials = 3\nsampler = "random"\n'
        "[search_space.sgd]\nlr = [0.125, 0.25]\n"
    )
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from studies.campaign.reading import load; from studies.campaign.resolve import resolve_campaign\n"
        "from studies.ledger import Ledger, open_search\n"
        "resolved = resolve_campaign(load('file.toml'))\n"
        "open_search('sqlite:///sofim.db', resolved.plan.stored(), resolved.study_plans(), {}).ask()\n"
        "import os; os._exit(9)"  # a driver that dies in its first trial
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=240, check=False)
    (tmp_path / "file.toml").unlink()
    done = sofim("launch", "by-name", "--cpus-per-trial=2")
    assert (done.code, done.err) == (0, "")
    assert "mine:fire: best accuracy" in done.out, "a function of that name, not the emoji"
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/sofim.db")
    try:
        trials = optuna.load_study(study_name="by-name/mine:fire/sgd", storage=storage).trials
    finally:
        close_storage(storage)
    ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(ended) == 3
    assert all(0.125 <= t.params["lr"] <= 0.25 for t in ended), "its own ranges, from the storage"


def test_what_to_type_next_can_be_typed(capsys):
    console = Console(width=40, markup=False)
    print_next_commands(AFTER_CONFIRM, "sqlite:///my trials.db", console, campaign="my campaign")
    assert capsys.readouterr().out.splitlines() == [
        "  sofim report 'my campaign' --storage 'sqlite:///my trials.db'   "
        "which optimizer is better, and how sensitive each is",
        "  sofim export 'my campaign' --storage 'sqlite:///my trials.db'   "
        "recommended hyperparameters, as TOML, JSON, YAML or Python",
        "  sofim status 'my campaign' --storage 'sqlite:///my trials.db'   how the trials ended",
        "  sofim dashboard --storage 'sqlite:///my trials.db'              every trial in Optuna's dashboard",
    ]


@pytest.mark.slow
def test_what_trains_next_is_told_where_data_and_cluster_are(sofim, tmp_path):
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5, 0.25]}, workloads=["digits-mlp"], optimizers=["sgd"])
    (tmp_path / "my data").mkdir()
    with_place = f"--data '{tmp_path}/my data' --address auto"
    told = sofim("launch", "fake", "--data", "my data", "--address", "auto").out
    assert f"\n  sofim confirm fake {with_place} " in told
    assert "\n  sofim report fake  " in told
    make("sqlite:///sofim.db", {"digits-mlp/sgd": [0.5]}, name="half", workloads=["digits-mlp"], optimizers=["sgd"])
    refused = sofim("confirm", "half", "--data", "my data").err
    assert f"go on with: sofim launch half --data '{tmp_path}/my data', or confirm" in refused


# --------------------------------------------------------------------------------------------------- mistakes


@pytest.fixture(scope="module")
def furnished(tmp_path_factory) -> Path:
    """A directory with a campaign in its storage, and with all that a mistake needs."""
    here = tmp_path_factory.mktemp("home")
    make(f"sqlite:///{here}/sofim.db", {"digits-mlp/sofim": [0.5]})
    (here / "mine.py").write_text(MINE)
    (here / "broken.py").write_text("import nothing_of_that_name\n")
    (here / "text").write_text("this is no database, nor is it a campaign")
    (here / "broken.toml").write_text(
        'name = "x"\ntrials = 3\noptimizers = ["sgd"]\nworkloads = ["digits-mlp"]\nseeds = 4'
    )
    (here / "quickstarts").mkdir()
    return here


KNOWN_WORKLOADS = ", ".join(WORKLOADS)
KNOWN_OPTIMIZERS = ", ".join(SEARCH_SPACES)
PRESETS = ", ".join(PRESET_FILES)
GPUS = (
    "must be 0, or a share of a GPU from 0.01 to 1: "
    "a trial trains on one GPU at most, and several GPUs run several trials"
)
RAN = "launch quickstart --optimizers sgd --workloads digits-mlp"

MISTAKES = [
    # campaigns
    (
        "launch nope",
        f"no campaign 'nope': it is no preset ({PRESETS}), no TOML file, and not in sqlite:///sofim.db (fake)",
    ),
    (
        "launch quickstarts",  # a directory
        f"no campaign 'quickstarts': it is no preset ({PRESETS}), no TOML file, and not in sqlite:///sofim.db (fake); "
        "did you mean quickstart?",
    ),
    (
        "launch fale --storage sqlite:///other.db",
        f"no campaign 'fale': it is no preset ({PRESETS}), no TOML file, and not in sqlite:///other.db",
    ),
    (
        f"launch {'a' * 300}",  # longer than a file's name can be
        f"no campaign '{'a' * 300}': it is no preset ({PRESETS}), no TOML file, and not in sqlite:///sofim.db (fake)",
    ),
    ("launch nope.toml", "nope.toml: cannot be read: No such file or directory"),
    (
        "launch broken.toml",
        "broken.toml: seeds is not a key of a campaign: allowed are name, workloads, optimizers, trials, purpose, "
        "sampler, pruner, schedule, warmup, decay, batch_size, seed, amp, epochs, replicates, resplit, targets, "
        "search_space, optimizer; did you mean seed?",
    ),
    ("launch text", "text: is not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 6)"),
    (
        "launch fake --trials 3",
        "campaign 'fake' is in the storage with another configuration (trials was 2, is 3); "
        "give this one another name with --name, or add trials, optimizers, workloads or wider ranges to that one with "
        "--extend",
    ),
    (
        f"{RAN} --name fake",
        "campaign 'fake' is in the storage with another configuration (decay was None, is coupled; optimizers was "
        "sofim, sgd, is sgd; pruner was none, is asha; sampler was random, is tpe; schedule was constant, is "
        "cosine; spaces of sofim changed; trials was 2, is 30; workloads was digits-mlp, breast-cancer-logreg, is "
        "digits-mlp); give this one another name with --name",
    ),
    ("status nope", "no campaign 'nope' in sqlite:///sofim.db; there are: fake"),
    # numbers and names
    ("launch quickstart --trials 0", "trials = 0: must be a whole number from 1 to 1000000"),
    ("launch quickstart --trials -5", "trials = -5: must be a whole number from 1 to 1000000"),
    ("launch quickstart --seed -1", "seed = -1: must be a whole number from 0 to 4294967295"),
    *(
        (f"launch quickstart --cpus-per-trial {value}", f"--cpus-per-trial {value}: must be a number from 0.01")
        for value in ("nan", "inf", "-inf", "-1", "0", "0.001")
    ),
    *(
        (f"launch quickstart --gpus-per-trial {value}", f"--gpus-per-trial {value}: {GPUS}")
        for value in ("nan", "inf", "-inf", "-1", "0.001", "1.5")
    ),
    (
        "launch quickstart --name a/b",
        "name = 'a/b': must not contain '/' (nor any slash, colon, wildcard or control character)",
    ),
    ("launch quickstart --optimizers ,", 'optimizers = []: must be a list of optimizers, such as ["sofim", "sgd"]'),
    (
        "launch quickstart --optimizers sgd,adma",
        f"optimizers = ['sgd', 'adma']: 'adma' is an unknown optimizer: known are {KNOWN_OPTIMIZERS}; "
        "did you mean adam?",
    ),
    ("launch quickstart --optimizers sgd,sgd", "optimizers = ['sgd', 'sgd']: names 'sgd' twice"),
    # workloads
    (
        "launch quickstart --workload mine:fire --workloads digits-mlp",
        "--workload and --workloads exclude each other; give one of them",
    ),
    (
        "launch quickstart --workloads digits",
        f"workloads = ['digits']: 'digits' is unknown: known are {KNOWN_WORKLOADS}, and package.module:factory for "
        "your own; did you mean digits-vit?",
    ),
    (
        "launch quickstart --workload nope:fire",
        "workload nope:fire: there is no module nope in {here} or elsewhere on Python's path",
    ),
    (
        "launch quickstart --workload broken:fire",
        "workload broken:fire: importing broken raised ModuleNotFoundError: No module named 'nothing_of_that_name' "
        "({here}/broken.py:1)",
    ),
    ("launch quickstart --workload mine:fir", "workload mine:fir: {here}/mine.py has no fir; did you mean fire?"),
    (
        "launch quickstart --workload mine:constant",
        "workload mine:constant: constant in {here}/mine.py is of type int, not a function",
    ),
    (
        "launch quickstart --workload mine:number",
        "workload mine:number: number() returned int, not a studies.workloads.Workload ({here}/mine.py:{number})",
    ),
    (
        "launch quickstart --workload mine:raising",
        "workload mine:raising: raising() raised ValueError: no luck ({here}/mine.py:{raise ValueError})",
    ),
    (
        "launch quickstart --workload mine:bare",
        "workload xor: loss returned a value of type float, not a tensor ({here}/mine.py:{loss=lambda})",
    ),
    (
        "launch quickstart --dry-run --workload mine:second_time",
        "workload xor: model raised RuntimeError: cursed ({here}/mine.py:{raise RuntimeError})",
    ),
    # data
    (
        "data cifra",
        f"no data set 'cifra'; there are: {', '.join(DATASETS)}; did you mean cifar10?",
    ),
    (
        "launch paper --data quickstarts",
        "cifar10: no data_batch_1 in {here}/quickstarts/cifar-10-batches-py (nor in {here}/quickstarts/cifar10, "
        "{here}/quickstarts); fetch it with: sofim data cifar10 --download --data {here}/quickstarts",
    ),
    # storages
    *(
        (
            f"{command} --storage sqlite:///none.db",
            "storage 'sqlite:///none.db': there is no file none.db; name another with --storage, or launch a campaign",
        )
        for command in ("status", "list", "dashboard")
    ),
    *(
        (
            f"{command} --storage trials",
            "storage 'trials' is not a database URL; write for example sqlite:///sofim.db or "
            "postgresql+psycopg://user@host/name",
        )
        for command in ("status", RAN, "launch fake")
    ),
    (
        "status --storage sqlite:///text",
        "storage 'sqlite:///text': text is not an SQLite database; name another file with --storage",
    ),
    (
        f"{RAN} --storage sqlite:///none/x.db",
        "storage 'sqlite:///none/x.db': there is no directory none; make it first: mkdir -p none",
    ),
    ("status --storage sqlite://", "storage 'sqlite://' lives in memory and would be lost; name a file: sqlite:///sofim.db"),
    # the dashboard's address
    (
        "dashboard --port {taken}",
        f"cannot listen on 127.0.0.1:{{taken}}: {os.strerror(errno.EADDRINUSE)}; "
        "choose another --port (0: any free one) or --host",
    ),
    (
        "dashboard --port 0 --host 192.0.2.1",  # of nobody's: reserved for documentation
        f"cannot listen on 192.0.2.1:0: {os.strerror(errno.EADDRNOTAVAIL)}; "
        "choose another --port (0: any free one) or --host",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "message"), MISTAKES, ids=[typed[:60] for typed, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_the_thing_and_the_remedy(sofim, monkeypatch, furnished, typed, message):
    monkeypatch.chdir(furnished)
    before = {path.name: path.read_bytes() for path in furnished.iterdir() if path.is_file()}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = str(other.getsockname()[1])
        done = sofim(*typed.replace("{taken}", taken).split())
    message = message.replace("{here}", str(furnished)).replace("{taken}", taken)
    message = re.sub(r"\{(.+?)\}", lambda found: line_of(found[1]), message)
    assert done.err == f"sofim: {message}\n"
    assert done.code == 2
    assert done.out == ""
    after = {path.name: path.read_bytes() for path in furnished.iterdir() if path.is_file()}
    assert after == before, "a mistake leaves everything as it was"


TYPING = [
    ("lanch", "'lanch'", "see: sofim --help"),
    ("launch", "Missing argument 'CAMPAIGN'", "see: sofim launch --help"),
    ("launch quickstart fashion", "(fashion)", "see: sofim launch --help"),
    ("launch quickstart --trails 3", "--trails", "see: sofim launch --help"),
    ("launch quickstart --trials", "'--trials' requires an argument", ""),
    ("--storage x list", "--storage", "see: sofim --help"),
    ("list extra", "(extra)", "see: sofim list --help"),
    *((f"launch quickstart --trials {x}", f"'--trials': '{x}'", "") for x in ("nan", "inf", "2.5", "many")),
    ("launch quickstart --cpus-per-trial two", "'--cpus-per-trial': 'two'", "see: sofim launch --help"),
    ("data --data text", "'--data': Directory 'text' is a file", "see: sofim data --help"),
    ("dashboard --port 65536", "'--port': 65536 is not in the range 0<=x<=65535", "see: sofim dashboard --help"),
]


@pytest.mark.parametrize(
    ("option", "given", "command"),
    [
        ("--save", "models", "tune digits-mlp --budget 1 --save models"),
        ("--checkpoints", "kept/here", "launch quickstart --checkpoints kept/here"),
        ("--out", "page", "report x --out page"),
        ("--out", "best.toml", "export x --out best.toml"),
        ("--log tensorboard:DIR", "{here}/runs", "confirm x --log tensorboard:runs"),
    ],
)
def test_what_is_to_be_kept_is_not_written_to_the_directory_of_a_job(
    sofim, tmp_path, monkeypatch, option, given, command
):
    """It is not where the person typed, who is elsewhere; a full path is taken."""
    here = tmp_path / "working_dir_files" / "_ray_pkg_1"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    done = sofim(*command.split())
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"sofim: {option} {given.format(here=here)}: would be in the directory that Ray made for this job and may "
        "remove; give a full path, on a disk that stays\n"
    )
    assert place_to_write(option, tmp_path / "kept") == tmp_path / "kept"


@pytest.mark.parametrize(("typed", "thing", "remedy"), TYPING, ids=[typed for typed, *_ in TYPING])
def test_a_slip_in_typing_is_one_line_too(sofim, monkeypatch, furnished, typed, thing, remedy):
    """The words are the library's, and change with it."""
    monkeypatch.chdir(furnished)
    done = sofim(*typed.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("sofim: ")
    assert thing in done.err
    assert done.err.endswith(f"{remedy}\n")


def line_of(text: str) -> str:
    """Where ``text`` (or the function of that name) stands in the user's module."""
    found = [n for n, line in enumerate(MINE.splitlines(), 1) if text in line and not line.startswith("    return _")]
    return str(found[0] if found else next(n for n, line in enumerate(MINE.splitlines(), 1) if text in line))


@pytest.mark.slow
def test_the_names_of_a_campaign_that_is_run_by_another_driver(sofim, monkeypatch, tmp_path):
    made = campaign()
    with open_ledger("sqlite:///sofim.db", made):
        done = sofim("launch", "fake")
    assert done.code == 2
    assert done.err == (
        "sofim: campaign 'fake' in sqlite:///sofim.db is being run by process "
        f"{os.getpid()} on {socket.gethostname()}; wait for it (--wait), stop it, or give this one another name with "
        "--name\n"
    )


SECRETS = [
    "postgresql+nodriver://me:secret@host/name",
    "postgresql+nodriver://me:sec@secret@host/name",
    "postgresql+nodriver://host/name?user=me&password=secret",
    "postgresql+nodriver://host/name?passwd=secret",
    "postgresql://me:secret@host:port/name",
    "://me:secret@host",
    "me:secret@host/name",
]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize("command", ["status", "list", "dashboard", RAN, "launch nope"])
def test_a_password_is_never_shown(sofim, url, command):
    done = sofim(*command.split(), "--storage", url)
    assert done.code == 2
    assert done.err.startswith("sofim: storage '")
    assert done.err.count("\n") == 1
    assert "secret" not in done.out + done.err


def test_a_missing_driver_is_named_without_the_password(sofim):
    assert sofim("status", "--storage", SECRETS[0]).err == (
        "sofim: storage 'postgresql+nodriver://me:***@host/name' needs a database driver that is not installed; "
        "pip install 'psycopg[binary]'\n"
    )


def test_ctrl_c_says_how_to_go_on_and_shows_no_password(sofim, monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studies.campaign.resolve, "resolve_campaign", interrupted)
    done = sofim("launch", "quickstart", "--name", "my own", "--storage", SECRETS[0])
    assert done.code == 130
    assert done.err == (
        "\nsofim: interrupted; nothing that had finished is lost, to go on, with the password in the place of ***, or "
        "the whole URL in SOFIM_STORAGE: "
        "sofim launch quickstart --name 'my own' --storage 'postgresql+nodriver://me:***@host/name'\n"
    )
    print_next_commands(AFTER_LAUNCH, SECRETS[0], Console(width=40, markup=False), campaign="fake")
    assert "secret" not in capsys.readouterr().out


def test_ctrl_c_in_what_only_shows_promises_nothing(sofim, monkeypatch):
    import studies.commands.listing

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studies.commands.listing, "print_list", interrupted)
    assert sofim("list") == Done(130, "", "\nsofim: interrupted\n")


def test_the_installed_command_is_this_one():
    """The console script of the environment, from another directory, without this checkout on the path."""
    script = shutil.which("sofim", path=str(Path(sys.executable).parent))
    assert script is not None, "the project is not installed in this environment"
    done = subprocess.run([script, "lanch"], cwd="/", capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


# ------------------------------------------------------------------------------------------------------- quickness


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["list", "list --storage sqlite:///a.db", "status --storage sqlite:///a.db", "data"])
def test_what_only_shows_does_not_wait_for_torch(tmp_path, typed):
    if "a.db" in typed:
        outcomes = {"digits-mlp/sgd": ["failed: no", "failed: luck"]}
        make(f"sqlite:///{tmp_path}/a.db", outcomes, workloads=["digits-mlp"], optimizers=["sgd"])
    script = (
        "import sys\nfrom studies.cli import main\n"
        f"try:\n    main({typed.split()!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=True
    )
    _, _, loaded = done.stdout.partition("LOADED")
    assert not {"torch", "ray", "scipy", "matplotlib"} & set(loaded.split())


def test_the_facts_that_list_shows_are_those_of_the_tables():
    campaigns = {name: load(name).campaign for name in PRESET_FILES}
    assert list(facts.presets().items()) == [
        (name, (len(row.workloads), len(row.optimizers), row.trials)) for name, row in campaigns.items()
    ]
    origins = target_origins()
    assert list(facts.workloads().items()) == [
        (
            name,
            facts.WorkloadFacts(
                row.metric.name, row.metric.meaning, row.metric.direction, row.target, row.epochs, origins[name]
            ),
        )
        for name, row in WORKLOADS.items()
    ]
    assert list(facts.optimizers().items()) == [(key, row.source) for key, row in OPTIMIZERS.items()]
