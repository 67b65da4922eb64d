"""Ray for real on one machine: logical GPUs, code that misbehaves, workers that die; what counts is the database."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from studies.training.failures import reason_of
from tests.support import probe_home
from tests.support.probe_home import assert_as_if_undisturbed, called, settle, sofim, undisturbed

pytestmark = pytest.mark.cluster

PLAIN = "probe_workload:plain"


@pytest.fixture
def home(tmp_path):
    return settle(tmp_path, PLAIN, trials=4)


def trials_of(home: Path, workload: str = PLAIN, optimizer: str = "sofim") -> list[FrozenTrial]:
    return probe_home.trials_of(home, f"{workload}/{optimizer}")


def notes_of(home: Path) -> pd.DataFrame:
    names = ["what", "node", "pid", "gpus", "file", "package", "time"]
    return pd.read_csv(home / "notes" / "notes.tsv", sep="\t", names=names, keep_default_na=False, dtype={"gpus": str})


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A campaign that ran on one machine, and what the command printed."""
    home = settle(tmp_path_factory.mktemp("tuned"), PLAIN, trials=4)
    return home, sofim(home, "launch", "probe.toml")


@pytest.mark.nightly
def test_one_machine_runs_all_trials_and_says_nothing_of_ray_but_that_it_starts(tuned):
    home, done = tuned
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    before, starting, rest = done.stdout.partition("Starting Ray on ")
    assert starting
    assert "ray" not in before.lower()
    assert "ray" not in rest.lower()
    for optimizer in ("sofim", "sgd"):
        assert [t.state for t in trials_of(home, optimizer=optimizer)] == [TrialState.COMPLETE] * 4
    assert "probe_workload:plain" in done.stdout
    assert len(set(notes_of(home)["pid"])) > 1, "one worker did it all: the others never came to run"


@pytest.mark.nightly
def test_the_numbers_do_not_depend_on_ray(tuned):
    assert_as_if_undisturbed(tuned[0], PLAIN, trials=4, epochs=3)


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory, one_ray):
    """A campaign of code that raises, calls exit() and kills its worker, and what the command printed."""
    home = settle(tmp_path_factory.mktemp("misbehaving"), PLAIN, trials=4)
    kinds = ", ".join(f'"probe_workload:{kind}"' for kind in ("raising", "exiting", "dying"))
    file = home / "probe.toml"
    file.write_text(file.read_text().replace(f'"{PLAIN}"', kinds))
    one_ray.use(home)
    return home, called(home, "launch", "probe.toml")


@pytest.mark.parametrize(
    ("kind", "said"), [("raising", "RuntimeError: the second trial is cursed"), ("exiting", "SystemExit: enough")]
)
def test_a_trial_that_raises_or_exits_fails_with_its_traceback_and_the_others_go_on(misbehaving, kind, said):
    """Code that exits would end its worker, and be begun again and again on others."""
    home, done = misbehaving
    assert (done.returncode, done.stderr) == (0, "")
    trials = [t for o in ("sofim", "sgd") for t in trials_of(home, f"probe_workload:{kind}", o)]
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert len(trials) == 8
    assert 1 <= len(failed) <= 3  # the second trial of each worker
    assert all(said in t.user_attrs["failure"] and "probe_workload.py" in t.user_attrs["failure"] for t in failed)


def test_a_worker_that_dies_costs_nothing(misbehaving):
    """The trial begins again on another worker, and every value is as if nothing had died."""
    home, done = misbehaving
    assert (home / "notes" / "died").exists()
    assert (done.returncode, done.stderr) == (0, "")
    assert_as_if_undisturbed(home, "probe_workload:dying", trials=4, epochs=3)


def test_a_trial_that_never_ends_or_takes_all_memory_fails_and_the_others_are_as_if_it_was_not_there(
    home, one_ray, nightly
):
    """It holds the interpreter and hears no signal, allocates without end or is killed for it; by night two more.

    The last looks as the end that Linux puts to what takes too much memory: SIGKILL, on whichever worker it runs.
    """
    unending = ("deaf", "hanging", "printing") if nightly else ("deaf",)  # the second sleeps in C
    kinds = (*unending, "greedy", "killed")
    file = home / "probe.toml"
    listed = ", ".join(f'"probe_workload:{kind}"' for kind in kinds)
    file.write_text(file.read_text().replace(f'"{PLAIN}"', listed))
    one_ray.use(home)
    done = called(home, "launch", "probe.toml", "--trial-timeout", "8s")
    assert (done.returncode, done.stderr) == (0, "")
    hung = notes_of(home).query("what == 'hangs'")
    assert len(hung) == len(unending)
    # Ray ends a worker in its own time: ten seconds are promised, and a busy machine is given more.
    left = [process for process in psutil.process_iter() if process.pid in set(hung["pid"])]
    assert not [process for process in psutil.wait_procs(left, timeout=120)[1] if process.status() != "zombie"]
    for kind in kinds:
        workload = f"probe_workload:{kind}"
        every = {o: trials_of(home, workload, o) for o in ("sofim", "sgd")}
        assert [len(trials) for trials in every.values()] == [4, 4]
        [broken] = [t for trials in every.values() for t in trials if t.state != TrialState.COMPLETE]
        assert broken.state == TrialState.FAIL
        failure = broken.user_attrs["failure"]
        if kind == "greedy":
            assert "can't allocate memory" in reason_of(failure)
        elif kind == "killed":
            assert failure == "its worker died 4 times: its code crashes, or needs more memory than there is"
            name = f"The worker of trial 1 of probe/{workload}/sgd died"
            for number in (1, 2, 3):
                assert f"{name}; it goes on elsewhere (restart {number} of 3)." in done.stdout
            assert f"{name}; it fails." in done.stdout
        else:
            assert failure == "timed out after 8 s"
            assert broken.datetime_complete is not None
            assert (broken.datetime_complete - broken.datetime_start).total_seconds() >= 8
        for optimizer, trials in every.items():
            for trial in trials:
                if trial is not broken:
                    right = undisturbed(home, workload, optimizer, trial, epochs=3)
                    assert {column: trial.user_attrs["history"][column] for column in right} == right


@pytest.mark.nightly
def test_workers_that_cannot_be_used_again_cost_nothing(tmp_path, one_ray):
    """With no time at all for a trial to leave its worker, Ray gives up the one that comes next."""
    workload = "probe_workload:staying"
    home = settle(tmp_path, workload, trials=1)
    one_ray.use(home)
    done = called(home, "launch", "probe.toml", "--cpus-per-trial", "2")
    assert (done.returncode, done.stderr) == (0, "")
    states = [t.state for o in ("sofim", "sgd") for t in trials_of(home, workload, o)]
    assert states == [TrialState.COMPLETE] * 2
    assert len(set(notes_of(home).query("what == 'begin'")["pid"])) == 2, "each in a worker of its own"


@pytest.mark.timeout(600)
def test_four_trials_share_two_logical_gpus(home, one_ray):
    """None of the first four goes on before all of them have begun."""
    (home / "notes" / "PROBE_TOGETHER").write_text("4")
    one_ray.use(home)
    done = called(home, "launch", "probe.toml", "--gpus-per-trial", "0.5", "--cpus-per-trial", "0.5")
    assert done.returncode == 0, done.stderr
    begun = notes_of(home).query("what == 'begin'")
    assert len(begun) == 8
    assert set(begun["gpus"]) == {"0", "1"}
    by_worker = begun.groupby("gpus")["pid"].nunique()
    assert dict(by_worker) == {"0": 2, "1": 2}
    assert [t.state for o in ("sofim", "sgd") for t in trials_of(home, optimizer=o)] == [TrialState.COMPLETE] * 8
