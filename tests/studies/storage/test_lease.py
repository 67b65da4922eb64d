"""One driver a campaign: taken at once, renewed with every write, void when its driver is dead, and fenced."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from search_spaces.errors import UserError
from studies.ledger import Ledger
from studies.storage import lease as _lease
from studies.storage import writer as _writer
from studies.storage.database import close_storage, find_study, open_storage
from studies.storage.lease import in_words as driver_in_words
from tests.studies.ledger.test_ledger_edges import CAMPAIGN, STUDY, plan, work, work_off


def driver(url: str, campaign: dict[str, object] = CAMPAIGN) -> Ledger:
    return Ledger(url, campaign, [plan()], {})


def lease_of(url: str) -> dict[str, object]:
    storage = open_storage(url)
    try:
        return storage.get_study_user_attrs(find_study(storage, STUDY)).get("driver")
    finally:
        close_storage(storage)


def write_lease(url: str, **changes: object) -> None:
    storage = open_storage(url)
    study_id = find_study(storage, STUDY)
    held = storage.get_study_user_attrs(study_id)["driver"]
    storage.set_study_user_attr(study_id, "driver", held | changes)
    close_storage(storage)


def test_the_lease_says_who_where_since_when_and_is_given_back(every_storage):
    before = time.time()
    with driver(every_storage):
        held = lease_of(every_storage)
        assert (held["host"], held["pid"], held["command"]) == (socket.gethostname(), os.getpid(), "launch")
        assert before <= held["seen"] <= time.time()
        assert driver_in_words({"driver": held}) == f"running, process {os.getpid()} on {socket.gethostname()}"
    assert lease_of(every_storage) is None


def test_it_is_renewed_while_nothing_happens(every_storage, monkeypatch):
    monkeypatch.setattr(_writer, "HEARTBEAT_SECONDS", 0.05)
    with driver(every_storage):
        first = lease_of(every_storage)["seen"]
        until = time.monotonic() + 20
        while lease_of(every_storage)["seen"] == first:
            assert time.monotonic() < until


def test_a_second_driver_is_refused_in_one_line_until_the_first_has_gone(every_storage):
    with driver(every_storage) as first:
        with pytest.raises(UserError) as refused:
            driver(every_storage)
        assert str(refused.value) == (
            f"campaign 'c' in {every_storage} is being run by process {os.getpid()} on {socket.gethostname()}; "
            "wait for it, stop it, or give this one another name with --name"
        )
        work(first, first.ask())
    driver(every_storage).close()


RACER = """
import sys
from search_spaces.errors import UserError
from tests.studies.storage.test_lease import driver
print("ready", flush=True)
sys.stdin.readline()
try:
    ledger = driver(sys.argv[1])
except UserError as error:
    print("refused", str(error).splitlines()[0], flush=True)
else:
    print("has it", flush=True)
    sys.stdin.readline()
    ledger.close()
"""


@pytest.mark.slow
def test_of_drivers_that_come_at_the_same_moment_one_has_the_lease(any_storage):
    """The campaign exists and nobody runs it: reading the lease and writing it must be one step."""
    driver(any_storage).close()
    # they have loaded everything before they are let go
    command = [sys.executable, "-c", RACER, any_storage]
    racers = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 4
        for racer in racers:
            racer.stdin.write("\n")
            racer.stdin.flush()
        said = [racer.stdout.readline() for racer in racers]
        assert sorted(line.split()[0] for line in said) == ["has", "refused", "refused", "refused"], said
    finally:
        for racer in racers:
            racer.stdin.close()
            racer.wait(60)
            racer.stdout.close()


def test_a_driver_that_lost_its_lease_writes_nothing_any_more(every_storage):
    """Its machine slept, another driver took over: what it still has must not be counted beside the other's."""
    sleeper = driver(every_storage)
    assignment = sleeper.ask()
    sleeper.flush()
    write_lease(every_storage, host="elsewhere", machine="another", seen=0.0)  # as if it had been silent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lease, "_WATCH_SECONDS", 0.0)
        other = driver(every_storage)
    work(sleeper, assignment, metric=0.9)
    with pytest.raises(UserError, match=r"process \d+ on .* has taken over campaign 'c' .* while this one was silent"):
        sleeper.close()
    held = lease_of(every_storage)
    work_off(other)
    other.close()
    assert held["pid"] == os.getpid()
    storage = open_storage(every_storage)
    trials = storage.get_all_trials(find_study(storage, STUDY))
    close_storage(storage)
    assert [t.state.name for t in trials] == ["FAIL", *["COMPLETE"] * 12]
    assert trials[0].user_attrs["failure"] == "driver lost"
    assert trials[1].user_attrs["retry_of"] == 0
    assert all(t.value < 0.9 for t in trials[1:])


def test_a_lease_of_another_machine_that_still_moves_is_alive_whatever_its_clock_says(any_storage, monkeypatch):
    with driver(any_storage):
        write_lease(any_storage, host="elsewhere", seen=time.time() - 3600)
        watched = []

        def watch(seconds: float) -> None:
            watched.append(seconds)
            write_lease(any_storage, seen=time.time() - 3599)

        monkeypatch.setattr(_lease, "time", SimpleNamespace(sleep=watch, time=time.time))
        with pytest.raises(UserError, match="is being run by process"):
            driver(any_storage)
        assert watched == [_lease._WATCH_SECONDS]


def test_a_lease_of_another_machine_lapses_after_a_minute(any_storage, monkeypatch):
    now = time.time()
    monkeypatch.setattr(_lease, "time", SimpleNamespace(sleep=lambda _: None, time=lambda: now))
    first = driver(any_storage)
    write_lease(any_storage, host="elsewhere", seen=now - 59)
    with pytest.raises(UserError, match=r"is being run by process .* on elsewhere"):
        driver(any_storage)
    write_lease(any_storage, host="elsewhere", seen=now - 61)
    driver(any_storage).close()
    first.ask()
    with pytest.raises(UserError, match="has taken over"):
        first.close()


def test_a_process_of_the_same_number_in_another_container_is_not_taken_for_the_driver():
    """Containers share the host's name with --network host, and have numbers of their own."""
    gone = {"host": socket.gethostname(), "machine": "boot pid:[1]", "pid": os.getpid(), "started": 1.0}
    assert _lease.alive(gone | {"seen": time.time()})  # by its heartbeat, not by its number
    assert not _lease.alive(gone | {"seen": time.time() - 100})


def test_a_killed_driver_that_its_parent_has_not_waited_for_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mark = {"host": socket.gethostname(), "pid": child.pid, "started": _lease._started(child.pid), "seen": time.time()}
    assert _lease.alive(mark)
    child.kill()
    until = time.monotonic() + 20
    while _lease.alive(mark):
        assert time.monotonic() < until
    child.wait()


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_batch_whose_commit_was_not_answered_arrives_once(any_storage, monkeypatch, lost):
    """The connection breaks during a commit: the driver cannot know whether it came through."""
    monkeypatch.setattr(_writer, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(_writer, "FLUSH_SECONDS", 0.0)
    whole = _writer.TrialWriter._write
    broken: list[int] = []

    def write(self: _writer.TrialWriter, batch: dict[object, object], again: bool) -> None:
        first_try = batch and self._batches not in broken
        if first_try and lost == "before":
            broken.append(self._batches)
            raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))
        whole(self, batch, again)
        if first_try:
            broken.append(self._batches)
            self._ids.clear()  # the answer told these too
            self._ids.update(known)
            raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))
        known.update(self._ids)

    known: dict[object, int] = {}
    monkeypatch.setattr(_writer.TrialWriter, "_write", write)
    with driver(any_storage) as ledger:
        while (assignment := ledger.ask()) is not None:
            ledger.flush()
            work(ledger, assignment)
            ledger.flush()
    assert len(broken) == 24
    storage = open_storage(any_storage)
    trials = storage.get_all_trials(find_study(storage, STUDY))
    close_storage(storage)
    assert [t.number for t in trials] == list(range(12))
    assert [t.state.name for t in trials] == ["COMPLETE"] * 12
    assert all(set(t.intermediate_values) == {1, 2, 3} for t in trials)


def test_nothing_of_the_lease_tells_a_secret(any_storage):
    with driver(any_storage):
        assert set(lease_of(any_storage)) == {
            "host", "machine", "pid", "started", "seen", "command", "token", "written"
        }  # fmt: skip
        assert "://" not in json.dumps(lease_of(any_storage))
