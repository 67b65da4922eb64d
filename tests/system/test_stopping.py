"""Ctrl-C, SIGTERM and Ctrl-C, a killed worker: what befalls one campaign on one machine, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from socket import SOCK_DGRAM

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from search_spaces.errors import number_of
from studies.training.allowance import cpus
from tests.support import probe_home
from tests.support.probe_home import assert_as_if_undisturbed, environment, notes_of, settle, wait_for_notes

pytestmark = pytest.mark.cluster

SLOW = "probe_workload:slow"
AGAIN = f"{sys.executable} -m studies.cli launch probe.toml"


@contextmanager
def launched(home: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    driver = subprocess.Popen(
        [sys.executable, "-m", "studies.cli", "launch", "probe.toml"],
        cwd=home, env=environment(home, **more), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield driver
    finally:
        if driver.poll() is None:
            driver.kill()
        driver.communicate()


def trials_of(home: Path) -> list[FrozenTrial]:
    return [trial for o in ("sofim", "sgd") for trial in probe_home.trials_of(home, f"{SLOW}/{o}")]


@dataclass
class Told:
    """What a driver said before it ended, and what was in the database and beside it then."""

    code: int
    out: str
    err: str
    trials: list[FrozenTrial]
    checkpoints: set[int]

    @classmethod
    def by(cls, driver: subprocess.Popen[str], home: Path) -> Told:
        out, err = driver.communicate(timeout=180)
        saved = {int(path.stem) for path in home.glob("sofim.db.checkpoints/*/*.pt")}
        return cls(driver.returncode, out, err, trials_of(home), saved)

    def interrupted(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.user_attrs.get("failure") == "interrupted"]


def listening(pid: int) -> set[str]:
    """The addresses of all sockets that a process and those below it listen on."""
    found = set()
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            for socket in process.net_connections("inet"):
                if socket.status == psutil.CONN_LISTEN or (socket.type == SOCK_DGRAM and not socket.raddr):
                    found.add(socket.laddr.ip)
    return found


@dataclass
class Story:
    """Three drivers of one campaign, one after the other."""

    home: Path
    listening: set[str]  # addresses on which the first one and its children did
    after_ctrl_c: Told
    waited: bool  # the second one, for an epoch that would not end
    after_a_plea_and_ctrl_c: Told
    after_a_killed_worker: Told


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = settle(tmp_path_factory.mktemp("stopping"), SLOW, trials=3)
    with launched(home, PROBE_EPOCH="1") as driver:  # two of six epochs have ended: a busy machine has two seconds
        wait_for_notes(home, "epoch", 3)
        doors = listening(driver.pid)
        driver.send_signal(signal.SIGINT)
        first = Told.by(driver, home)
    begun, trained = len(notes_of(home, "begin")), len(notes_of(home, "epoch"))
    with launched(home, PROBE_EPOCH="300") as driver:
        wait_for_notes(home, "begin", begun + 2)
        time.sleep(0.5)
        driver.send_signal(signal.SIGTERM)
        time.sleep(3)
        waited = driver.poll() is None
        driver.send_signal(signal.SIGINT)
        second = Told.by(driver, home)
    with launched(home) as driver:
        victim = wait_for_notes(home, "epoch", trained + 1)[trained]  # of a trial with another epoch before it
        os.kill(int(victim[2]), signal.SIGKILL)
        third = Told.by(driver, home)
    return Story(home, doors, first, waited, second, third)


def test_nobody_on_the_network_can_reach_what_one_machine_runs(story):
    """The driver, its workers and each of Ray's servers."""
    assert story.listening
    assert {ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in story.listening} == {True}, story.listening


def test_the_first_line_says_that_ray_starts_and_on_what(story):
    notes, begun, *_ = story.after_ctrl_c.out.splitlines()
    # what is known of the campaign comes before
    assert notes.startswith("With 3 trials a study these stay at their defaults: ")
    assert begun == f"Starting Ray on {number_of(cpus(), 'CPU')} ..."


def test_ctrl_c_lets_epochs_end_and_saves_them(story):
    told = story.after_ctrl_c
    assert told.code == 130
    assert "Stopping when the epochs that run have ended; Ctrl-C again stops at once" in told.out
    assert told.err == f"\nsofim: interrupted; nothing that had finished is lost, to go on: {AGAIN}\n"
    assert 1 <= len(told.interrupted()) <= 2
    assert not any(t.state == TrialState.RUNNING for t in told.trials)
    epochs = {len(t.user_attrs["history"]["epoch"]) for t in told.interrupted()}
    assert epochs <= {1, 2, 3, 4, 5}  # all that ended is told
    assert told.checkpoints == {t.number for t in told.interrupted()}


def test_a_plea_to_end_waits_as_ctrl_c_does_and_the_second_signal_stops_in_the_middle_of_an_epoch(story):
    told = story.after_a_plea_and_ctrl_c
    assert story.waited
    assert told.code == 130
    assert f"to go on: {AGAIN}" in told.err
    assert not any(t.state == TrialState.RUNNING for t in told.trials)
    assert len(told.interrupted()) - len(story.after_ctrl_c.interrupted()) == 2


def test_the_same_command_goes_on_from_the_very_epoch(story):
    """The second driver ended no epoch, so that the third goes on from where the first had come."""
    told = story.after_a_killed_worker
    before = {str(t.params): len(t.user_attrs["history"]["epoch"]) for t in story.after_ctrl_c.interrupted()}
    went_on = {
        str(t.params): t.user_attrs["resumed"]
        for t in told.trials
        if "retry_of" in t.user_attrs and str(t.params) in before and t.state == TrialState.COMPLETE
    }
    assert set(went_on) == set(before)
    assert all(went_on[params] >= epochs for params, epochs in before.items())


def test_a_killed_worker_is_one_line_and_its_trial_goes_on_elsewhere(story):
    told = story.after_a_killed_worker
    assert (told.code, told.err) == (0, "")
    assert told.out.count(" died; it goes on elsewhere (restart 1 of 3).") == 1
    assert "raylet" not in told.out  # Ray has pages to say of it


def test_in_the_end_all_is_as_if_nothing_had_happened(story):
    assert_as_if_undisturbed(story.home, SLOW, trials=3)
    assert not list(story.home.glob("*.checkpoints"))
