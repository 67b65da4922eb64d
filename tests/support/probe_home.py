"""A directory as a user has it, with a workload of one's own that notes what is done with it, and the command in it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from search_spaces import SEARCH_SPACES
from sofim import OPTIMIZERS
from studies.cli import main
from studies.storage.database import close_storage
from studies.training.run import train
from studies.workloads import resolve


def settle(directory: Path, workload: str, trials: int) -> Path:
    """Makes it: the module of the ``workload`` (``module:factory``), a campaign in ``probe.toml``, room for notes."""
    shutil.copy(Path(__file__).parent / f"{workload.partition(':')[0]}.py", directory)
    (directory / "probe.toml").write_text(
        f'name = "probe"\nworkloads = ["{workload}"]\noptimizers = ["sofim", "sgd"]\ntrials = {trials}\n'
        'sampler = "random"\npruner = "none"\n'
    )
    (directory / "notes").mkdir()
    (directory / "notes" / "notes.tsv").touch()
    return directory


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of a process that runs there."""
    return {**os.environ, "PROBE_NOTES": str(home / "notes"), **more}


def python(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs Python there, with ``more`` in its environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=home,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def sofim(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the command there."""
    return python(home, "-m", "studies.cli", *arguments, **more)


HELD = """
import sys, time
from studies.ledger import Ledger
end, ended = Ledger.end, []
def hold(self, assignment, outcome, *rest, **more):
    end(self, assignment, outcome, *rest, **more)
    if outcome == "complete":
        ended.append(assignment)
        if len(ended) == int(sys.argv[1]):
            time.sleep(600)
Ledger.end = hold
from studies.cli import main
main(sys.argv[2:])
"""
"""The command, which hears of no more once so many trials are complete: it can be killed there on any machine."""


@contextlib.contextmanager
def held(home: Path, complete: int, *arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command there, which comes to that many complete trials and no further; it is killed in the end."""
    driver = subprocess.Popen(
        [sys.executable, "-c", HELD, str(complete), *arguments],
        cwd=home,
        env=environment(home, **more),
        stdout=subprocess.DEVNULL,  # Ray's processes would hold a pipe open
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield driver
    finally:
        driver.kill()
        driver.wait(timeout=60)


def left_of(session: int) -> list[psutil.Process]:
    """The processes of a session, whose leader is gone."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_until(come: Callable[[], bool], seconds: float = 200.0) -> None:
    """Returns when it has, and fails after far longer than a busy machine takes."""
    deadline = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def called(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Calls the command there in this very process, which has a Ray (the fixture ``one_ray``)."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(home),
        patch.object(sys, "path", list(sys.path)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", "")).startswith(str(home)):
                    del sys.modules[name]  # the next directory may have another of this name
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def trials_of(home: Path, study: str) -> list[FrozenTrial]:
    """The trials of ``probe/{study}`` in the database there."""
    return trials_in(home, f"probe/{study}")


def trials_in(home: Path, study: str) -> list[FrozenTrial]:
    """The trials of ``study`` in the database there."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{home}/sofim.db")
    try:
        return optuna.load_study(study_name=study, storage=storage).get_trials()
    finally:
        close_storage(storage)


def notes_of(home: Path, what: str) -> list[list[str]]:
    """The notes that workers left: what, node, process, GPUs, file, package, time."""
    lines = [line.split("\t") for line in (home / "notes" / "notes.tsv").read_text().splitlines()]
    return [line for line in lines if line[0] == what]


def wait_for_notes(home: Path, what: str, number: int) -> list[list[str]]:
    """The same, once there are that many."""
    deadline = time.monotonic() + 120
    while len(found := notes_of(home, what)) < number:
        assert time.monotonic() < deadline, f"only {len(found)} times {what}"
        time.sleep(0.05)
    return found


def undisturbed(home: Path, workload: str, optimizer: str, trial: FrozenTrial, epochs: int) -> dict[str, list[float]]:
    """What the trial's configuration gives in this very process: no Ray, no worker, nothing that dies."""
    sys.path.insert(0, str(home))
    try:
        made = resolve(workload)
    finally:
        sys.path.remove(str(home))
        sys.modules.pop(workload.partition(":")[0], None)
    space = SEARCH_SPACES[optimizer]  # few trials search little of it
    arguments = space.arguments({**space.default, **trial.params})
    records = list(train(made, OPTIMIZERS[optimizer], arguments, seed=0, budget=epochs))
    return {
        "accuracy": [record.metric for record in records],
        "train_loss": [record.train_loss for record in records],
        "validation_loss": [record.validation_loss for record in records],
    }


def assert_as_if_undisturbed(home: Path, workload: str, trials: int, epochs: int = 6) -> None:
    """Whatever happened: every study has its trials, each counted once, with every number of an undisturbed run."""
    for optimizer in ("sofim", "sgd"):
        found = trials_of(home, f"{workload}/{optimizer}")
        finished = [trial for trial in found if trial.state == TrialState.COMPLETE]
        assert len(finished) == trials
        assert not any(trial.state == TrialState.RUNNING for trial in found)
        assert len({trial.user_attrs.get("retry_of", trial.number) for trial in finished}) == trials
        for trial in finished:
            history = trial.user_attrs["history"]
            right = undisturbed(home, workload, optimizer, trial, epochs)
            assert {column: history[column] for column in right} == right
