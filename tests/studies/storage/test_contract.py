"""What every kind of storage promises: a class of tests that a kind inherits by giving a URL."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.errors import UserError
from studies.ledger import Ledger, open_search
from studies.storage import lease as _lease
from studies.storage import url as _url
from studies.storage import writer as _writer
from studies.storage.backend import Backend, Cell
from studies.storage.database import close_storage, find_study, open_storage, running_template
from studies.storage.durability import Durability, Waiting
from studies.storage.lease import in_words as driver_in_words
from studies.storage.rows import Batch, Pending
from tests.studies.ledger.test_ledger_edges import CAMPAIGN, STUDY, plan, work, work_off

SPACE = {"lr": FloatDistribution(1e-3, 1.0, log=True), "kind": CategoricalDistribution(["a", "b"])}


def driver(url: str, campaign: dict[str, object] = CAMPAIGN, *, durability: Durability | None = None) -> Ledger:
    return open_search(url, campaign, [plan()], {}, durability=durability)


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


def trials_of(url: str) -> list[FrozenTrial]:
    storage = open_storage(url)
    try:
        return storage.get_all_trials(find_study(storage, STUDY))
    finally:
        close_storage(storage)


def started(number: int) -> Pending:
    params = {"lr": 0.1 * (number + 1), "kind": "b"}
    return Pending(running_template(number, params, SPACE, {"seed": number, "tags": ["x"]}), {1: 0.5})


def ended(number: int, value: float | None = 0.75) -> Pending:
    end = running_template(number, {}, {}, {"history": {"epoch": [1, 2]}})
    end.state = TrialState.FAIL if value is None else TrialState.COMPLETE
    end.value = value
    return Pending(values={2: 0.75}, end=end)


def held(_cells: object) -> bool:
    return False


class StorageContract:
    """For a kind of storage: inherit, and give the fixture ``url`` of an empty storage."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def storage(self, url: str) -> Iterator[Backend]:
        opened = open_storage(url)
        yield opened
        opened.close()

    @pytest.fixture
    def study_id(self, storage: Backend) -> int:
        return storage.create_new_study([StudyDirection.MAXIMIZE], STUDY)

    def write(self, storage: Backend, batch: Batch, ids: dict[tuple[int, int], int], *, again: bool = False) -> None:
        storage.write(batch, ids, held, {}, again=again)

    # ---------------------------------------------------------------------------------------- opened

    def test_what_is_not_there_is_made_by_who_writes_alone(self, url):
        for _ in range(2):
            with pytest.raises(UserError, match=r"storage '.*'"):
                open_storage(url, create=False).get_all_studies()
        open_storage(url).close()
        looked_at = open_storage(url, read_only=True)
        assert looked_at.get_all_studies() == []
        looked_at.close()

    def test_what_was_written_is_there_when_it_is_opened_again(self, url, storage, study_id):
        for options in ({"create": False}, {"read_only": True}):
            opened = open_storage(url, **options)
            assert find_study(opened, STUDY) == study_id
            assert find_study(opened, "no such") is None
            opened.close()

    # ---------------------------------------------------------------------------------------- cells

    def test_a_cell_is_exchanged_if_it_is_what_was_read(self, storage, study_id):
        cell = Cell(study_id, "driver")
        assert storage.read(cell) is None
        assert not storage.exchange(cell, '"other"', '"mine"')
        assert storage.exchange(cell, None, '{"pid": 1}')
        assert not storage.exchange(cell, '{"pid": 2}', '{"pid": 3}')
        assert not storage.exchange(cell, None, '{"pid": 3}')
        assert storage.exchange(cell, storage.read(cell), "null")
        assert storage.read(cell) == "null"
        assert storage.get_study_user_attrs(study_id) == {"driver": None}

    def test_studies_are_given_an_attribute_together(self, storage, study_id):
        other = storage.create_new_study([StudyDirection.MAXIMIZE], "other")
        for each in (study_id, other):
            storage.set_study_user_attr(each, "campaign", {"trials": 1})
        storage.set_everywhere([study_id, other], "campaign", {"trials": 2})
        assert [storage.get_study_user_attrs(i) for i in (study_id, other)] == [{"campaign": {"trials": 2}}] * 2

    # ---------------------------------------------------------------------------------------- batches

    def test_a_batch_comes_as_it_is(self, storage, study_id):
        ids: dict[tuple[int, int], int] = {}
        self.write(storage, {(study_id, n): started(n) for n in range(3)}, ids)
        assert ids.keys() == {(study_id, n) for n in range(3)}
        self.write(storage, {(study_id, 0): ended(0), (study_id, 2): ended(2, None)}, ids)
        trials = storage.get_all_trials(study_id)
        assert [t.state.name for t in trials] == ["COMPLETE", "RUNNING", "FAIL"]
        assert [t._trial_id for t in trials] == list(ids.values())
        assert [t.value for t in trials] == [0.75, None, None]
        assert [t.intermediate_values for t in trials] == [{1: 0.5, 2: 0.75}, {1: 0.5}, {1: 0.5, 2: 0.75}]
        assert [t.params["lr"] for t in trials] == pytest.approx([0.1, 0.2, 0.3])
        assert all(t.params["kind"] == "b" and t.distributions == SPACE for t in trials)
        assert trials[0].user_attrs == {"seed": 0, "tags": ["x"], "history": {"epoch": [1, 2]}}
        assert trials[0].datetime_start <= trials[0].datetime_complete

    def test_what_is_kept_is_written_beside_it(self, storage, study_id):
        for spent in (1.5, 2.5):
            storage.write({}, {}, held, {Cell(study_id, "spent"): spent}, again=False)
            assert storage.get_study_user_attrs(study_id) == {"spent": spent}

    def test_nothing_is_written_without_the_lease(self, storage, study_id):
        def lost(_cells: object) -> bool:
            raise _lease.LostLeaseError("taken over")

        with pytest.raises(_lease.LostLeaseError):
            storage.write({(study_id, 0): started(0)}, {}, lost, {Cell(study_id, "spent"): 1}, again=False)
        assert storage.get_all_trials(study_id) == []
        assert storage.get_study_user_attrs(study_id) == {}

    def test_other_programs_are_found_out(self, storage, study_id):
        ids: dict[tuple[int, int], int] = {}
        self.write(storage, {(study_id, 0): started(0)}, ids)
        storage.create_new_trial(study_id, create_trial(value=1.0))
        with pytest.raises(UserError, match="another program adds trials"):
            self.write(storage, {(study_id, 1): started(1)}, ids)
        storage.set_trial_state_values(ids[study_id, 0], TrialState.COMPLETE, [1.0])
        with pytest.raises(UserError, match="another program ended trial 0"):
            self.write(storage, {(study_id, 0): Pending(end=ended(0).end)}, ids)

    @pytest.mark.slow
    def test_a_campaign_is_played_and_gone_on_with(self, url):
        with driver(url) as ledger:
            for _ in range(4):
                work(ledger, ledger.ask())
            ledger.ask()
        with driver(url) as ledger:
            work_off(ledger)
        assert [t.state.name for t in trials_of(url)].count("COMPLETE") == 12

    # ---------------------------------------------------------------------------------------- the lease

    def test_the_lease_says_who_where_since_when_and_is_given_back(self, url):
        before = time.time()
        with driver(url):
            held = lease_of(url)
            assert (held["host"], held["pid"], held["command"]) == (socket.gethostname(), os.getpid(), "launch")
            assert before <= held["seen"] <= time.time()
            assert driver_in_words({"driver": held}) == f"running, process {os.getpid()} on {socket.gethostname()}"
        assert lease_of(url) is None

    def test_it_is_renewed_while_nothing_happens(self, url, monkeypatch):
        monkeypatch.setattr(_writer, "HEARTBEAT_SECONDS", 0.05)
        with driver(url):
            first = lease_of(url)["seen"]
            until = time.monotonic() + 120
            while lease_of(url)["seen"] == first:
                assert time.monotonic() < until

    def test_a_second_driver_is_refused_in_one_line_until_the_first_has_gone(self, url):
        with driver(url) as first:
            with pytest.raises(UserError) as refused:
                driver(url)
            assert str(refused.value) == (
                f"campaign 'c' in {url} is being run by process {os.getpid()} on {socket.gethostname()}; "
                "wait for it (--wait), stop it, or give this one another name with --name"
            )
            work(first, first.ask())
        driver(url).close()

    @pytest.mark.slow
    def test_a_driver_that_lost_its_lease_writes_nothing_any_more(self, url):
        """Its machine slept, another driver took over: what it still has must not be counted beside the other's."""
        sleeper = driver(url)
        assignment = sleeper.ask()
        sleeper.flush()
        write_lease(url, host="elsewhere", machine="another", seen=0.0)  # as if it had been silent
        with pytest.MonkeyPatch.context() as patch:
            Clock(patch)
            other = driver(url)
        work(sleeper, assignment, metric=0.9)
        with pytest.raises(
            UserError, match=r"process \d+ on .* has taken over campaign 'c' .* while this one was silent"
        ):
            sleeper.close()
        held = lease_of(url)
        work_off(other)
        other.close()
        assert held["pid"] == os.getpid()
        storage = open_storage(url)
        trials = storage.get_all_trials(find_study(storage, STUDY))
        close_storage(storage)
        assert [t.state.name for t in trials] == ["FAIL", *["COMPLETE"] * 12]
        assert trials[0].user_attrs["failure"] == "driver lost"
        assert trials[1].user_attrs["retry_of"] == 0
        assert all(t.value < 0.9 for t in trials[1:])

    def test_nothing_of_the_lease_tells_a_secret(self, url):
        with driver(url):
            assert set(lease_of(url)) == {
                "host", "machine", "pid", "started", "seen", "command", "token", "written"
            }  # fmt: skip
            assert "://" not in json.dumps(lease_of(url))

    def test_a_lease_of_another_machine_that_still_moves_is_alive_whatever_its_clock_says(self, url, monkeypatch):
        with driver(url):
            write_lease(url, host="elsewhere", seen=time.time() - 3600)
            clock = Clock(monkeypatch, lambda _: write_lease(url, seen=time.time() - 3599))
            with pytest.raises(UserError, match=r"is being run by process .* on elsewhere"):
                driver(url)
            assert clock.slept == 1

    def test_a_silent_lease_of_another_machine_is_waited_for_until_it_lapses(self, url, monkeypatch):
        """As a job that a scheduler starts again elsewhere finds the lease of its own first life."""
        clock = Clock(monkeypatch)
        first = driver(url)
        write_lease(url, host="elsewhere", seen=clock.time() - 14)
        said = []
        driver(url, durability=Durability(waiting=Waiting(say=said.append))).close()
        assert said == [
            f"Waiting for the driver of campaign 'c' on elsewhere (process {os.getpid()}), last heard of 14 s ago: "
            "60 s at most, as it may be dead ..."
        ]
        assert clock.slept == 46
        first.ask()
        with pytest.raises(UserError, match="has taken over"):
            first.close()

    def test_a_lapsed_lease_of_another_machine_is_watched_since_clocks_differ(self, url, monkeypatch):
        clock = Clock(monkeypatch)
        first = driver(url)
        first.flush()
        write_lease(url, host="elsewhere", seen=clock.time() - 3600)
        said = []
        driver(url, durability=Durability(waiting=Waiting(say=said.append))).close()
        assert (clock.slept, said) == (13, [])
        first.ask()
        with pytest.raises(UserError, match="has taken over"):
            first.close()


class Clock:
    """The time of leases: it goes on when somebody sleeps, and ``step`` is what happens meanwhile."""

    def __init__(self, patch: pytest.MonkeyPatch, step: Callable[[float], None] = lambda _: None) -> None:
        self.slept, self._now, self._step = 0.0, time.time(), step
        patch.setattr(_lease, "time", SimpleNamespace(sleep=self.sleep, time=self.time, monotonic=self.time))

    def time(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self._now += seconds
        self._step(seconds)


@pytest.mark.slow
@pytest.mark.parametrize("host", [{}, {"host": "elsewhere"}], ids=["here", "elsewhere"])
def test_who_wants_to_waits_for_a_living_driver_until_it_has_gone(tmp_path, monkeypatch, host):
    url = f"sqlite:///{tmp_path}/c.db"
    first = driver(url)
    write_lease(url, **host)
    steps = []

    def step(seconds: float) -> None:
        steps.append(seconds)
        if len(steps) < 15:
            write_lease(url, seen=clock.time())
        elif len(steps) == 15:
            write_lease(url, host=socket.gethostname())
            first.close()

    clock = Clock(monkeypatch, step)
    said = []
    driver(url, durability=Durability(waiting=Waiting(for_the_living=True, say=said.append))).close()
    assert len(steps) == 15
    assert len(said) == 1
    assert said[0].endswith("until it ends ...")


def test_who_wants_to_waits_also_for_one_that_was_quicker(tmp_path, monkeypatch):
    url, quicker = f"sqlite:///{tmp_path}/c.db", []
    driver(url).close()
    vacated = _lease.Lease._vacated

    def vacated_and_taken(lease: _lease.Lease, text: str | None, waiting: Waiting) -> str | None:
        found = vacated(lease, text, waiting)
        if not quicker:
            quicker.append(None)
            quicker[0] = driver(url)
        return found

    monkeypatch.setattr(_lease.Lease, "_vacated", vacated_and_taken)
    clock = Clock(monkeypatch, lambda _: quicker[0].close())
    driver(url, durability=Durability(waiting=Waiting(for_the_living=True))).close()
    assert clock.slept == 1


RACER = """
import sys
from search_spaces.errors import UserError
from tests.studies.storage.test_contract import driver
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


class AtomicContract(StorageContract):
    """For a kind that writes a batch, with the lease, as a whole or not at all."""

    def test_a_batch_that_fails_leaves_nothing(self, storage, study_id):
        assert storage.atomic
        ids = {(study_id, 7): 10**6}  # of no trial
        batch = {(study_id, 0): started(0), (study_id, 7): Pending(values={1: 0.5}, end=ended(7).end)}
        storage.create_new_trial(study_id, create_trial(value=1.0))
        with pytest.raises(UserError, match="another program"):
            storage.write(
                batch, ids, lambda cells: not cells.exchange(Cell(study_id, "driver"), None, "1"), {}, again=False
            )
        assert len(storage.get_all_trials(study_id)) == 1
        assert storage.get_study_user_attrs(study_id) == {}
        assert ids.keys() == {(study_id, 7)}

    def test_a_batch_that_came_through_is_known_again(self, storage, study_id):
        batch = {(study_id, 0): started(0)}
        ids: dict[tuple[int, int], int] = {}
        self.write(storage, batch, ids)
        again: dict[tuple[int, int], int] = {}
        storage.write(batch, again, lambda _: True, {}, again=True)
        assert again == ids
        assert len(storage.get_all_trials(study_id)) == 1

    @pytest.mark.slow
    def test_of_drivers_that_come_at_the_same_moment_one_has_the_lease(self, url):
        """The campaign exists and nobody runs it: reading the lease and writing it must be one step."""
        driver(url).close()
        # they have loaded everything before they are let go
        command = [sys.executable, "-c", RACER, url]
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

    @pytest.mark.slow
    @pytest.mark.parametrize("lost", ["before", "after"])
    def test_a_batch_whose_commit_was_not_answered_arrives_once(self, url, monkeypatch, lost):
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
        with driver(url) as ledger:
            while (assignment := ledger.ask()) is not None:
                ledger.flush()
                work(ledger, assignment)
                ledger.flush()
        assert len(broken) == 24
        storage = open_storage(url)
        trials = storage.get_all_trials(find_study(storage, STUDY))
        close_storage(storage)
        assert [t.number for t in trials] == list(range(12))
        assert [t.state.name for t in trials] == ["COMPLETE"] * 12
        assert all(set(t.intermediate_values) == {1, 2, 3} for t in trials)


class StepwiseContract(StorageContract):
    """For a kind without transactions: what is written of a batch is taken out of it."""

    def test_an_attempt_that_failed_is_gone_on_with(self, storage, study_id, monkeypatch):
        assert not storage.atomic
        batch = {(study_id, 0): started(0), (study_id, 1): started(1)}
        batch[study_id, 0].end = ended(0).end
        ids: dict[tuple[int, int], int] = {}
        whole = storage.set_trial_state_values
        answers = iter([False, True, True])

        def unanswered(*arguments: object) -> bool:
            done = whole(*arguments)
            if not next(answers):
                raise OSError(5, "Input/output error")
            return done

        monkeypatch.setattr(storage, "set_trial_state_values", unanswered)
        with pytest.raises(OSError, match="Input/output"):
            self.write(storage, batch, ids)
        storage.mend()
        storage.forget_connections()
        self.write(storage, batch, ids, again=True)
        trials = storage.get_all_trials(study_id)
        assert [t.state.name for t in trials] == ["COMPLETE", "RUNNING"]
        assert [t.intermediate_values for t in trials] == [{1: 0.5}] * 2

    def test_a_creation_that_was_not_answered_is_known_again(self, storage, study_id):
        storage.create_new_trial(study_id, started(0).trial)
        ids: dict[tuple[int, int], int] = {}
        self.write(storage, {(study_id, 0): started(0)}, ids, again=True)
        assert len(storage.get_all_trials(study_id)) == len(ids) == 1


class TestSqlite(AtomicContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:///{tmp_path}/trials.db"


@pytest.mark.slow
class TestPostgresql(AtomicContract):
    @pytest.fixture
    def url(self, postgres):
        return postgres.new_database()


@pytest.mark.slow
class TestJournal(StepwiseContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"journal:///{tmp_path}/trials.log"


class TestToy(StepwiseContract):
    """A kind of storage is one file and one row."""

    @pytest.fixture
    def url(self, tmp_path, monkeypatch):
        monkeypatch.setitem(_url.MODULES, "toy", "tests.support.toy_storage")
        return f"toy://{tmp_path.name}"

    def test_every_command_knows_it(self, sofim, url):
        work_off(ledger := driver(url))
        ledger.close()
        assert "12/12" in sofim("status", "--storage", url)[1]
        for command in ("list", "status c", "export c"):
            code, out, err = sofim(*command.split(), "--storage", url)
            assert (code, err) == (0, ""), command
            assert "c" in out
