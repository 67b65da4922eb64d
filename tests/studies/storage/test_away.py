"""A database that is away: the driver waits with back-off, says so, keeps results, and goes on; or ends in one line."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from search_spaces.errors import UserError
from studies.commands.progress import Progress
from studies.ledger import Ledger, open_search
from studies.storage import writer as _writer
from studies.storage.database import close_storage, find_study, open_storage
from studies.storage.durability import Checkpoints, Durability
from tests.studies.ledger.test_ledger_edges import CAMPAIGN, STUDY, plan, record, work

COMPLETE = [TrialState.COMPLETE] * 12


def driver(url: str, timeout: float = 60.0, **more: object) -> Ledger:
    return open_search(url, CAMPAIGN, [plan()], {}, durability=Durability(storage_timeout=timeout, **more))


def trials_of(url: str) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(url)
    try:
        return storage.get_all_trials(find_study(storage, STUDY))
    finally:
        close_storage(storage)


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("at_once", [False, True], ids=["restarted", "crashed"])
def test_a_server_that_restarts_costs_nothing_and_the_person_is_told(postgres, capsys, at_once):
    """Half of the trials end while it is away: nothing is lost, nothing doubled, training never waits."""
    url = postgres.new_database()
    console = Console(force_terminal=False, width=250)
    with driver(url) as ledger, Progress(ledger.tallies, console, trouble=lambda: ledger.trouble) as progress:
        for _ in range(3):
            work(ledger, ledger.ask())
        running = ledger.ask()
        ledger.report(running, record(1, 0.5))
        ledger.flush()
        postgres.stop(at_once=at_once)
        try:
            for _ in range(6):
                work(ledger, ledger.ask())
            work(ledger, running)
            wait_for(lambda: ledger.trouble)
            assert "results are kept in memory" in str(ledger.trouble)
            assert str(ledger.trouble).startswith(f"storage '{url}' has not answered ")
            progress._lines()
        finally:
            postgres.start()
        wait_for(lambda: ledger.trouble is None)
        progress._lines()
        while (assignment := ledger.ask()) is not None:
            work(ledger, assignment)
    trials = trials_of(url)
    assert [t.number for t in trials] == list(range(12))
    assert [t.state for t in trials] == COMPLETE
    assert all(set(t.intermediate_values) == {1, 2, 3} for t in trials)
    shown = capsys.readouterr().out
    assert shown.count("has not answered") == 1
    assert "The storage answers again, and has all results." in shown


@pytest.mark.slow
def test_a_file_that_another_program_locks_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(_writer, "FIRST_PAUSE_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path}/trials.db"
    with driver(url) as ledger:
        ledger._storage.engine.dispose()
        with closing(sqlite3.connect(tmp_path / "trials.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            work(ledger, ledger.ask())
            time.sleep(1.0)
            other.rollback()
        while (assignment := ledger.ask()) is not None:
            work(ledger, assignment)
    assert [t.state for t in trials_of(url)] == COMPLETE


def test_pauses_grow_to_their_limit(tmp_path, monkeypatch):
    import sqlalchemy as sa

    monkeypatch.setattr(_writer, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(_writer, "LONGEST_PAUSE_SECONDS", 0.08)
    tries: list[float] = []

    def away(*_: object) -> None:
        tries.append(time.monotonic())
        raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(_writer.TrialWriter, "_write", away)
    ledger = driver(f"sqlite:///{tmp_path}/trials.db", timeout=0.6)
    ledger.ask()
    with pytest.raises(UserError, match="gone"):
        ledger.close()
    pauses = [after - before for before, after in pairwise(tries[:-1])]  # the timeout may cut the last one
    for pause, wanted in zip(pauses, [0.01, 0.02, 0.04, 0.08, 0.08], strict=False):
        assert pause >= wanted
    assert len(tries) < 15  # about 9; without growing there would be 60


@pytest.mark.slow
def test_away_for_longer_than_the_timeout_ends_the_run_in_one_line_and_the_next_driver_goes_on(postgres, tmp_path):
    """What ended meanwhile is not lost for good: its checkpoint is kept until the database has its end."""
    url = postgres.new_database()
    kept = Checkpoints(tmp_path / "kept")
    ledger = driver(url, timeout=1.5, checkpoints=kept)
    work(ledger, ledger.ask())
    running = ledger.ask()
    ledger.flush()
    kept.save(running.checkpoint, b"almost done")
    with postgres.away():
        work(ledger, running)

        def ended() -> bool:
            try:
                ledger.look()  # as the engine does all the time
            except UserError:
                return True
            return False

        wait_for(ended)
        with pytest.raises(UserError) as raised:
            ledger.close()
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"storage '{url}' refuses for ")
    assert message.endswith("run the same command again: every trial that it has counts, the others are asked again")
    assert kept.load(running.checkpoint) == b"almost done"
    with driver(url, checkpoints=kept) as again:  # a process of this number still lives, but it gave up
        retried = again.ask()
        assert (retried.arguments, retried.checkpoint) == (running.arguments, running.checkpoint)
        work(again, retried)
        while (assignment := again.ask()) is not None:
            work(again, assignment)
    trials = trials_of(url)
    assert sum(t.state == TrialState.COMPLETE for t in trials) == 12
    assert [t.user_attrs["failure"] for t in trials if t.state == TrialState.FAIL] == ["driver lost"]
    assert not kept.directory.exists()


@pytest.mark.slow
def test_ctrl_c_while_the_last_results_wait_gives_them_up(tmp_path, monkeypatch):
    """Whoever presses it again does not want to wait for a database that is away."""
    import sqlalchemy as sa

    url = f"sqlite:///{tmp_path}/trials.db"
    ledger = driver(url, timeout=600.0)
    work(ledger, ledger.ask())
    ledger.flush()

    def away(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))

    def interrupted(_self: _writer.TrialWriter) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_writer.TrialWriter, "_write", away)
        work(ledger, ledger.ask())
        wait_for(lambda: ledger.trouble)
        patch.setattr(_writer.TrialWriter, "flush", interrupted)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ledger.close()
        assert time.monotonic() - began < 200, "it waited for the database"
    assert not [t.name for t in threading.enumerate() if t.name == "trial-writer"]
    with driver(url) as again:
        while (assignment := again.ask()) is not None:
            work(again, assignment)
    assert sum(t.state == TrialState.COMPLETE for t in trials_of(url)) == 12


def test_a_journal_whose_last_line_is_torn_is_gone_on_with(tmp_path):
    """The disk was full in the middle of a line; a line behind it would make the file unreadable."""
    url = f"journal:///{tmp_path}/trials.log"
    with driver(url) as ledger:
        for _ in range(3):
            work(ledger, ledger.ask())
    with (tmp_path / "trials.log").open("a") as file:
        file.write('{"op_code":8,"worker_id":"x","trial_id":0,"us')
    with driver(url) as ledger:
        while (assignment := ledger.ask()) is not None:
            work(ledger, assignment)
    assert [t.state for t in trials_of(url)] == COMPLETE


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True], ids=["nothing written", "half a line written"])
def test_a_journal_on_a_full_disk_loses_and_doubles_nothing(tmp_path, monkeypatch, torn):
    """It has no transactions: of a batch, the lease and some lines may be written, and then no more."""
    from optuna.storages.journal import JournalFileBackend

    monkeypatch.setattr(_writer, "FIRST_PAUSE_SECONDS", 0.01)
    whole = JournalFileBackend.append_logs
    calls = 0

    def full(self: JournalFileBackend, logs: list[dict[str, object]]) -> None:
        nonlocal calls
        if threading.current_thread().name == "trial-writer":
            calls += 1
            if calls % 7 == 3:
                if torn:
                    with (tmp_path / "trials.log").open("a") as file:
                        file.write('{"op_code":8,"wor')
                raise OSError(28, "No space left on device")
            if calls % 11 == 5:
                whole(self, logs)
                raise OSError(5, "Input/output error")  # it is written, and nobody knows
        whole(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    url = f"journal:///{tmp_path}/trials.log"
    with driver(url) as ledger:
        while (assignment := ledger.ask()) is not None:
            ledger.flush()
            work(ledger, assignment)
            ledger.flush()
    monkeypatch.undo()
    assert calls > 100
    trials = trials_of(url)
    assert [t.number for t in trials] == list(range(12))
    assert [t.state for t in trials] == COMPLETE
    assert all(set(t.intermediate_values) == {1, 2, 3} for t in trials)
    assert all(len(t.user_attrs["history"]["epoch"]) == 3 for t in trials)


def test_the_lock_of_a_journal_in_a_directory_points_to_it(tmp_path, monkeypatch):
    """A link that points nowhere, left by a killed driver, would be waited for without end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    storage = open_storage("journal:///runs/trials.log")
    assert storage.path == tmp_path / "runs" / "trials.log"


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path, monkeypatch):
    """SQLite's own word for it: no page can be added to the file."""
    import sqlalchemy as sa

    monkeypatch.setattr(_writer, "FIRST_PAUSE_SECONDS", 0.02)
    url = f"sqlite:///{tmp_path}/trials.db"
    room = {"pages": 0}

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        if room["pages"]:
            connection.execute(f"PRAGMA max_page_count = {room['pages']}")

    with driver(url) as ledger:
        work(ledger, ledger.ask())
        ledger.flush()
        with closing(sqlite3.connect(tmp_path / "trials.db")) as opened:
            [(room["pages"],)] = opened.execute("PRAGMA page_count").fetchall()
        sa.event.listen(ledger._storage.engine, "connect", limit)
        ledger._storage.engine.dispose()
        for _ in range(6):
            work(ledger, ledger.ask())
        wait_for(lambda: ledger.trouble)
        assert "database or disk is full" in str(ledger.trouble)
        for _ in range(2):
            work(ledger, ledger.ask())
        room["pages"] = 100_000
        wait_for(lambda: ledger.trouble is None)
        while (assignment := ledger.ask()) is not None:
            work(ledger, assignment)
    trials = trials_of(url)
    assert [t.number for t in trials] == list(range(12))
    assert [t.state for t in trials] == COMPLETE


def test_a_journal_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    from studies.commands.find import existing

    url = f"journal:///{tmp_path}/trials.log"
    with driver(url) as ledger:
        work(ledger, ledger.ask())

    def look() -> None:
        with existing(url) as storage:
            with (tmp_path / "trials.log").open("a") as file:
                file.write('{"torn": \n{"op_code":0}\n')
            storage.get_all_studies()

    with pytest.raises(UserError, match=r"storage 'journal:.*' cannot be read: "):
        look()


# ------------------------------------------------------------- what no waiting helps


def for_good(url: str, break_it: Callable[[Ledger], object], match: str) -> None:
    """A driver whose database refuses from some moment on ends at once, though it might wait for ten minutes."""
    ledger = driver(url, timeout=600.0)
    work(ledger, ledger.ask())
    ledger.flush()
    break_it(ledger)
    began = time.monotonic()
    with pytest.raises(UserError, match=match) as raised:
        try_on(ledger)
    assert time.monotonic() - began < 60
    assert "\n" not in str(raised.value)


def try_on(ledger: Ledger) -> None:
    """Trials whose values take seven digits, until one is refused."""
    try:
        while (assignment := ledger.ask()) is not None:
            for epoch in range(1, assignment.epochs + 1):
                ledger.report(assignment, record(epoch, 1e6))
            ledger.end(assignment, "complete", {"device": "cpu"})
            ledger.flush()
    finally:
        ledger.close()


def ended(url: str) -> list[TrialState]:
    return [trial.state for trial in trials_of(url) if trial.state.is_finished()]


def execute(url: str, statement: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))


def test_a_file_that_takes_no_such_value_is_not_asked_again(tmp_path):
    url = f"sqlite:///{tmp_path}/trials.db"
    trigger = (
        "CREATE TRIGGER short BEFORE INSERT ON trial_user_attributes WHEN NEW.key = 'history' "
        "BEGIN SELECT RAISE(ABORT, 'history too long'); END"
    )
    for_good(url, lambda _: execute(url, trigger), "history too long")
    assert ended(url)[0] == TrialState.COMPLETE
    assert TrialState.RUNNING not in {trial.state for trial in trials_of(url)}


def test_a_file_whose_tables_are_others_by_now_is_not_asked_again(tmp_path):
    url = f"sqlite:///{tmp_path}/trials.db"
    for_good(url, lambda _: execute(url, "ALTER TABLE trial_values RENAME TO other"), "no such table: .*trial_values")


def test_a_file_that_may_not_be_written_any_more_is_not_asked_again(tmp_path):
    import sqlalchemy as sa

    def break_it(ledger: Ledger) -> None:
        def forbid(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA query_only = ON")

        sa.event.listen(ledger._storage.engine, "connect", forbid)
        ledger._storage.engine.dispose()

    url = f"sqlite:///{tmp_path}/trials.db"
    for_good(url, break_it, "attempt to write a readonly database")
    assert ended(url) == [TrialState.COMPLETE]


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("ALTER TABLE trial_user_attributes ALTER COLUMN value_json TYPE VARCHAR(50) USING '0'", "value too long"),
        ("ALTER TABLE trial_values ALTER COLUMN value TYPE NUMERIC(3, 2)", "numeric field overflow"),
        ("REVOKE INSERT ON trial_user_attributes FROM {role}", "permission denied for table trial_user_attributes"),
    ],
    ids=["too long", "out of range", "a right that is missing"],
)
def test_a_server_that_refuses_for_good_is_not_asked_again(postgres, statement, match):
    owner = postgres.new_database()
    limited = f"limited_{owner.rpartition('_')[2]}"
    close_storage(open_storage(owner))
    execute(owner, f"CREATE ROLE {limited} LOGIN")
    for kind in ("TABLES", "SEQUENCES"):
        execute(owner, f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {limited}")
    url = owner.replace("postgres@", f"{limited}@")
    for_good(url, lambda _: execute(owner, statement.format(role=limited)), match)
    stored, *more = ended(owner)
    assert stored == TrialState.COMPLETE
    assert set(more) <= {TrialState.FAIL}


@pytest.mark.slow
def test_one_history_that_is_too_long_costs_no_other_trial(tmp_path):
    """Trials that end together are written in one transaction, which fails as a whole."""
    url = f"sqlite:///{tmp_path}/trials.db"
    ledger = driver(url, timeout=600.0)
    execute(
        url,
        "CREATE TRIGGER short BEFORE INSERT ON trial_user_attributes WHEN length(NEW.value_json) > 900 "
        "BEGIN SELECT RAISE(ABORT, 'too long'); END",
    )
    asked = [ledger.ask() for _ in range(4)]
    for assignment in asked:
        for epoch in range(1, 101 if assignment is asked[1] else 4):
            ledger.report(assignment, record(epoch, 0.5))
    ledger.flush()
    with ledger._writer._condition:  # all four ends in one batch
        for assignment in asked:
            ledger.end(assignment, "complete", {"device": "cpu"})
    with pytest.raises(UserError, match="too long"):
        ledger.close()
    assert [t.state.name for t in trials_of(url)] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials_of(url)[1].user_attrs["failure"] == "driver lost"  # so that the next driver asks for it again
    execute(url, "DROP TRIGGER short")
    with driver(url) as again:
        while (assignment := again.ask()) is not None:
            work(again, assignment)
    assert sum(t.state == TrialState.COMPLETE for t in trials_of(url)) == 12


@pytest.mark.parametrize(
    ("number", "passing"),
    [(1205, True), (1213, True), (2006, True), (2013, True), (1040, True), (1114, True), (1290, True),
     (1142, False), (1045, False), (1153, False), (1118, False), (4025, False), (1054, False)],
)  # fmt: skip
def test_what_a_server_tells_by_a_number(number, passing):
    import sqlalchemy as sa

    from studies.storage.refusals import is_passing

    told = sa.exc.OperationalError("INSERT", {}, Exception(number, "…"))
    wrapped = optuna.exceptions.StorageInternalError("…")
    wrapped.__cause__ = told
    assert is_passing(told) is is_passing(wrapped) is passing


@pytest.mark.parametrize(("number", "passing"), [(28, True), (5, True), (13, False), (30, False), (122, False)])
def test_what_a_journal_is_told_by_the_system(number, passing):
    from studies.storage.refusals import is_passing

    wrapped = optuna.exceptions.StorageInternalError("…")
    wrapped.__cause__ = OSError(number, "…")
    assert is_passing(wrapped) is passing


def test_the_remedy_for_a_text_that_ends_too_early_names_table_and_column():
    import sqlalchemy as sa

    from studies.storage.refusals import refused

    told = sa.exc.DataError(
        "INSERT INTO trial_user_attributes (trial_id, value_json) VALUES (%s, %s)",
        {},
        Exception(1406, "Data too long for column 'value_json' at row 4"),
    )
    line = str(refused("mysql://host/name", told))
    assert "make room with the statement ALTER TABLE trial_user_attributes MODIFY value_json LONGTEXT and run" in line
