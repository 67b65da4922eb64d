"""The job file of the examples, as it stands, on two machines: one start loses them both, the next goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.probe_home import assert_as_if_undisturbed, notes_of, settle, trials_of, wait_for_notes
from tests.support.two_machines import Slurm, available

pytestmark = [pytest.mark.cluster, pytest.mark.nightly]

JOB = Path(__file__).parents[2] / "examples" / "slurm.sh"
WORKLOAD = "probe_workload:slow"
TRIALS = 3


@dataclass
class Ran:
    """What became of it: what each start said, and how the last one ended."""

    home: Path
    said: list[str]
    code: int


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    if not available():
        pytest.skip("needs unshare and ip, and the right to make networks with them")
    home = settle(tmp_path_factory.mktemp("slurm"), WORKLOAD, TRIALS)
    notes = str(home / "notes")
    slurm = Slurm(home, {"CAMPAIGN": "probe.toml", "SOFIM_STORAGE": f"sqlite:///{home}/sofim.db", "PROBE_NOTES": notes})
    first, second = home / "first.txt", home / "second.txt"
    try:
        slurm.submit(JOB, first)
        wait_for_notes(home, "epoch", 10)
        slurm.lose_all()
        (home / "notes" / "hurry").touch()
        code = slurm.submit(JOB, second).wait(timeout=240)
    finally:
        slurm.shut_down()
    return Ran(home, [first.read_text(), second.read_text()], code)


def test_a_job_ends_with_every_trial_once_also_after_a_power_cut(ran):
    assert ran.code == 0, ran.said
    assert_as_if_undisturbed(ran.home, WORKLOAD, TRIALS)
    lost = [
        trial
        for o in ("sofim", "sgd")
        for trial in trials_of(ran.home, f"{WORKLOAD}/{o}")
        if trial.state.name == "FAIL"
    ]
    assert 1 <= len(lost) <= 2
    assert all("driver lost" in trial.user_attrs["failure"] for trial in lost)


def test_both_machines_train_each_time(ran):
    assert len({line[1] for line in notes_of(ran.home, "begin")}) == 2 * len(ran.said)


def test_a_database_on_a_disk_of_one_of_several_machines_is_a_warning_with_the_remedy(ran):
    for said in ran.said:
        assert said.count("sofim.db is a file on a disk of this machine") == 1, said
        assert "Give a database that all reach (--storage postgresql+psycopg://user@host/name)" in said


def test_the_cluster_of_a_job_lets_nobody_in_without_the_token(ran):
    assert (ran.home / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
    assert "asks for no token" not in " ".join(ran.said)
