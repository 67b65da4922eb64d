"""What reads a database leaves it as it was, to the last byte and file, whatever it is; and remedies work."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa

from analysis.load import study, trials
from search_spaces.errors import UserError
from studies.commands.find import existing
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import campaign, make, open_ledger
from tests.support.old_databases import (
    REVISIONS,
    STUDY,
    TRIALS,
    half_made,
    leave_hot,
    leave_log,
    make_old,
    with_log,
)

ONE = {"workloads": ["digits-mlp"], "optimizers": ["sgd"]}
LAUNCH = "launch quickstart --workloads digits-mlp --optimizers sgd"
READERS = ["status", "status fake", "list", "report fake", "report --study old", "export fake", "launch nosuch"]
WRITERS = [
    LAUNCH,
    "launch nosuch",
    "confirm fake",
    "report fake --publish",
    "report --study old --publish",
    "dashboard",
    "evaluate fake",
    "export fake --evaluate",
]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def fake(path: Path) -> None:
    make(f"sqlite:///{path}", {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)


def another_programs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as opened:
        opened.executescript("CREATE TABLE version_info (app TEXT); CREATE TABLE patients (name TEXT)")


def unmarked(path: Path) -> None:
    """Tables with studies in them, and nothing that says of which version they are."""
    make_old(f"sqlite:///{path}", REVISIONS[-1])
    with closing(sqlite3.connect(path)) as opened:
        opened.executescript("DELETE FROM alembic_version")


REFUSED: dict[str, Callable[[Path], object]] = {
    **{revision: lambda path, revision=revision: make_old(f"sqlite:///{path}", revision) for revision in REVISIONS},
    "unmarked": unmarked,
    "another program's": another_programs,
    "old, with a log": lambda path: (make_old(f"sqlite:///{path}", "v2.4.0.a"), leave_log(path)),
    "old, in a change": lambda path: (make_old(f"sqlite:///{path}", "v1.3.0.a"), leave_hot(path)),
    "text": lambda path: path.write_text("no database"),
}
READ: dict[str, Callable[[Path], object]] = {
    "whole": lambda path: None,
    "with a log": with_log,
    "with a log that was left": leave_log,
    "with a log without an index": lambda path: (leave_log(path), Path(f"{path}-shm").unlink()),
    "in a change that was cut off": leave_hot,
}


@pytest.mark.slow
@pytest.mark.parametrize("state", REFUSED)
def test_what_is_refused_is_refused_in_one_line_before_a_byte_is_changed(sofim, tmp_path, state):
    REFUSED[state](tmp_path / "trials.db")
    before = contents(tmp_path)
    for typed in dict.fromkeys((*READERS, *WRITERS)):
        code, out, err = sofim(*shlex.split(typed), "--storage", "sqlite:///trials.db")
        assert (code, out, err.count("\n")) == (2, "", 1), typed
        assert err.startswith("sofim: storage 'sqlite:///trials.db'"), err
        assert contents(tmp_path) == before, typed


@pytest.mark.slow
@pytest.mark.parametrize("state", READ)
def test_what_is_read_is_as_it_was_before_the_change_that_was_cut_off(sofim, tmp_path, state):
    fake(tmp_path / "trials.db")
    READ[state](tmp_path / "trials.db")
    before = contents(tmp_path)
    for typed in ("status", "status fake", "list", "launch nosuch", "confirm nosuch", "report nosuch"):
        code, out, err = sofim(*shlex.split(typed), "--storage", "sqlite:///trials.db")
        assert code == (2 if "nosuch" in typed else 0), err
        assert "fake" in out + err
        if typed.startswith("status"):
            assert "2/2" in out
        assert contents(tmp_path) == before, typed
    with existing("sqlite:///trials.db") as opened:
        assert trials(opened, [study(opened, "fake/digits-mlp/sgd")])["value"].tolist() == [0.5, 0.75]
    assert contents(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["an empty file", "half made", "made, and empty", "journal"])
def test_where_nothing_is_yet_there_is_no_campaign_and_nothing_is_made(sofim, tmp_path, kind):
    url = "sqlite:///trials.db" if kind != "journal" else "journal:///trials.log"
    if kind == "half made":
        half_made(tmp_path / "trials.db")
    elif kind == "made, and empty":
        close_storage(open_storage(f"sqlite:///{tmp_path}/trials.db"))
    else:
        (tmp_path / url.rpartition("/")[2]).touch()
    before = contents(tmp_path)
    for typed, expected in {"status": 0, "list": 0, "report x": 2, "export x": 2, "report --study x": 2}.items():
        code, out, err = sofim(*shlex.split(typed), "--storage", url)
        assert code == expected, typed
        assert ("yet" in out) if code == 0 else err.count("\n") == 1, out + err
        assert contents(tmp_path) == before, typed
    make(url, {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)  # what was half made is made whole by who writes
    assert "2/2" in sofim("status", "--storage", url)[1]


@pytest.mark.parametrize("url", ["sqlite:///no/where.db", "sqlite:///none.db", "journal:///no/where.log",
                                 "journal:///none.log", "sqlite:///file:none.db?uri=true"])  # fmt: skip
def test_what_is_not_there_is_not_made_by_looking(sofim, tmp_path, url):
    for typed in READERS:
        code, _, err = sofim(*shlex.split(typed), "--storage", url)
        assert (code, err.count("\n")) == (2, 1), typed
    assert list(tmp_path.iterdir()) == []


def test_a_torn_line_of_a_journal_is_left_to_who_writes(sofim, tmp_path):
    url = "journal:///trials.log"
    make(f"journal:///{tmp_path}/trials.log", {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)
    with (tmp_path / "trials.log").open("a") as file:
        file.write('{"op_code":8,"wor')
    before = contents(tmp_path)
    assert "2/2" in sofim("status", "--storage", url)[1]
    assert sofim("launch", "nosuch", "--storage", url)[0] == 2
    with pytest.raises(UserError, match="another configuration"):  # refused, before anything is written
        open_ledger(f"journal:///{tmp_path}/trials.log", campaign(seed=7, **ONE))
    assert contents(tmp_path) == before


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
def test_a_file_in_a_directory_where_nothing_may_be_made(tmp_path_factory, tmp_path):
    home = Path(tempfile.mkdtemp(dir="/tmp"))  # not under tmp_path, into which root alone may look
    try:
        for path, prepare in ((home / "plain.db", None), (home / "log.db", with_log), (home / "hot.db", leave_hot)):
            fake(path)
            if prepare is not None:
                prepare(path)
        for path in (*home.iterdir(), home):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = contents(home)
        os.seteuid(65534)
        try:
            for path in home.glob("*.db"):
                opened = open_storage(f"sqlite:///{path}", read_only=True)
                assert len(opened.get_all_trials(1)) == 2
                close_storage(opened)
        finally:
            os.seteuid(0)
        assert contents(home) == before
    finally:
        shutil.rmtree(home)


def test_a_copy_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    fake(tmp_path / "trials.db")
    leave_hot(tmp_path / "trials.db")
    with existing(f"sqlite:///{tmp_path}/trials.db"):
        assert len(list((tmp_path / "copies").iterdir())) == 1
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_reader_sees_what_a_living_writer_commits_to_a_log(tmp_path):
    path = tmp_path / "trials.db"
    fake(path)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = wal")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE trials SET state = 'FAIL' WHERE number = 1")
        writer.commit()
        opened = open_storage(f"sqlite:///{path}", read_only=True)
        states = [trial.state.name for trial in opened.get_all_trials(1)]
        close_storage(opened)
    assert states == ["COMPLETE", "FAIL"]


@pytest.mark.slow
def test_the_dashboard_undoes_no_change_and_goes_once_a_launch_has_undone_it(sofim, tmp_path):
    from studies.storage.database import check_settled

    fake(tmp_path / "trials.db")
    leave_hot(tmp_path / "trials.db")
    before = contents(tmp_path)
    code, out, err = sofim("dashboard", "--storage", "sqlite:///trials.db")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "in the middle of a change" in err
    assert "sofim launch" in err
    assert contents(tmp_path) == before
    open_ledger("sqlite:///trials.db", campaign(**ONE)).close()
    check_settled("sqlite:///trials.db")


def followed(err: str) -> None:
    """Runs the command that a line ends with."""
    printed = err.strip().rpartition(" with: ")[2]
    done = subprocess.run(printed, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_remedy_for_an_old_database_is_followed_through_and_then_it_is_reported(sofim, tmp_path):
    make_old(f"sqlite:///{tmp_path}/old one.db", "v1.3.0.a")
    command = ("report", "--study", STUDY, "--storage", "sqlite:///old one.db")
    code, _, err = sofim(*command)
    assert code == 2
    followed(err)
    code, out, err = sofim(*command)
    assert (code, err) == (0, "")
    assert "x is the only parameter" in out


@pytest.mark.slow
@pytest.mark.parametrize("state", [*REVISIONS, "unmarked"])
def test_the_remedy_for_every_old_schema_brings_every_trial(sofim, tmp_path, state, nightly):
    """Between the oldest and the newest of them Optuna itself goes from one to the next."""
    if not nightly and state in list(REVISIONS)[1:-1]:
        pytest.skip("with --nightly")
    REFUSED[state](tmp_path / "old.db")
    followed(sofim("report", "--study", STUDY, "--storage", "sqlite:///old.db")[2])
    with existing("sqlite:///old.db") as opened:
        found = trials(opened, [study(opened, STUDY)])
    assert found["value"].tolist() == [number / TRIALS for number in range(TRIALS)]
    assert [params["x"] for params in found["params"]] == found["value"].tolist()


# ------------------------------------------------------------------------------------------------ a server


def rows(url: str) -> list[tuple[str, str]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        names = connection.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        return [
            (name, str(row))
            for name in sorted(names)
            for row in (None, *connection.execute(sa.text(f"SELECT * FROM {name}")))
        ]


@pytest.mark.nightly(by_day=["v2.4.0.a"])
@pytest.mark.parametrize("state", ["empty", "another program's", "v2.4.0.a", "v3.0.0.a", "another alembic"])
def test_a_servers_database_is_left_as_it_was(postgres, sofim, state):
    url = postgres.new_database()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if state.startswith("v"):
        make_old(url, state)
    elif state != "empty":
        name = "trials" if state == "another program's" else "alembic_version"
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE TABLE {name} (version_num TEXT)"))
            connection.execute(sa.text(f"INSERT INTO {name} VALUES ('9fd1')"))
    before = rows(url)
    for typed in dict.fromkeys((*READERS, *WRITERS) if state != "empty" else READERS):
        code, _, err = sofim(*shlex.split(typed), "--storage", url)
        assert (code, err.count("\n")) in {(2, 1), (0, 0) if state == "empty" else (2, 1)}, typed
        assert rows(url) == before, typed
    if state.startswith("v"):
        followed(sofim("report", "--study", STUDY, "--storage", url)[2])
        with existing(url) as opened:
            assert len(trials(opened, [study(opened, STUDY)])) == TRIALS


def test_who_reads_a_server_could_not_write_to_it(postgres):
    url = postgres.new_database()
    make(url, {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)
    with pytest.raises(UserError, match="read-only transaction"), existing(url) as opened:
        optuna.load_study(study_name="fake/digits-mlp/sgd", storage=opened).set_user_attr("a", 1)


CUT = "SUBSTR({0}, 1, LENGTH({0}) - 1)"  # as a column cuts texts off that are too long for it
NEWER = "REPLACE({0}, 'FloatDistribution', 'NewDistribution')"


@pytest.mark.parametrize(
    ("table", "column", "change", "says"),
    [
        ("study_user_attributes", "value_json", CUT, "an entry is not JSON"),
        ("trial_user_attributes", "value_json", CUT, "an entry is not JSON"),
        ("trial_system_attributes", "value_json", CUT, "an entry is not JSON"),
        ("trial_params", "distribution_json", CUT, "a parameter's range, as it is stored, cannot be read"),
        ("trial_params", "distribution_json", NEWER, "Unknown distribution class: NewDistribution"),
    ],
)
def test_entries_that_cannot_be_read_are_said_in_one_line(sofim, tmp_path, table, column, change, says):
    made = optuna.create_study(storage=f"sqlite:///{tmp_path}/trials.db", study_name="of another program")
    made.set_user_attr("note", "theirs")
    made.add_trial(
        optuna.trial.create_trial(
            value=1.0,
            params={"x": 0.5},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
            user_attrs={"note": "theirs", "diverged": True},
            system_attrs={"constraints": [0.5]},
        )
    )
    with closing(sqlite3.connect(tmp_path / "trials.db")) as opened, opened:
        opened.execute(f"UPDATE {table} SET {column} = {change.format(column)}")
    before = contents(tmp_path)
    code, _, err = sofim("report", "--study", "of another program", "--storage", "sqlite:///trials.db")
    assert (code, err.count("\n")) == (2, 1), err
    assert says in err
    assert contents(tmp_path) == before


def test_a_journal_with_entries_of_a_newer_optuna_is_refused_in_one_line(sofim, tmp_path):
    make(f"journal:///{tmp_path}/trials.log", {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)
    with (tmp_path / "trials.log").open("a") as file:
        file.write('{"op_code":99,"worker_id":"a"}\n')
    before = contents(tmp_path)
    for typed in READERS:
        code, _, err = sofim(*shlex.split(typed), "--storage", "journal:///trials.log")
        assert (code, err.count("\n")) == (2, 1), err
        assert "does not know all of its entries" in err
    assert contents(tmp_path) == before
