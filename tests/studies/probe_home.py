"""A directory as a user has it, with a workload of one's own that notes what is done with it, and the command in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from studies.ledger import close_storage


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
