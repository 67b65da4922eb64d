"""One reading of a storage's URL: what is launched under a URL is found under it by every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from search_spaces.errors import UserError
from studies.commands.find import find_campaign, find_tuned
from studies.storage.database import open_storage
from studies.storage.durability import Durability
from studies.storage.url import file_of, hide_password, parse
from tests.support.fake_campaign import make
from tests.support.postgres import PASSWORD, ROLE

ONE = {"workloads": ["digits-mlp"], "optimizers": ["sgd"]}
PERCENT = make_url("sqlite:///a%20b.db").database  # versions of SQLAlchemy differ: decoded, or as it stands


@pytest.mark.nightly(by_day=["sqlite:///with a space.db-with a space.db", "sqlite:///a%20b.db-a b.db"])
@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///x.db", "x.db"),
        ("sqlite:///x.db?timeout=60", "x.db"),
        ("sqlite:///x.db?timeout=60&check_same_thread=false", "x.db"),
        ("sqlite:///file:x.db?uri=true", "x.db"),
        ("sqlite:///file:x.db?mode=rwc&uri=true&timeout=5", "x.db"),
        ("sqlite:///file:{here}/x.db?uri=true", "x.db"),
        ("sqlite:///{here}/x.db", "x.db"),
        ("sqlite:////{here}/x.db", "x.db"),
        ("sqlite:///./sub/../x.db", "x.db"),
        ("sqlite+pysqlite:///x.db", "x.db"),
        ("SQLite:///x.db", "x.db"),
        ("sqlite:///with a space.db", "with a space.db"),
        ("sqlite:///a%20b.db", PERCENT),
        ("sqlite:///{{SCHEMA_VERSION}}.db", "{SCHEMA_VERSION}.db"),  # which Optuna would fill in
        ("sqlite:///ä#1@home:2.db", "ä#1@home:2.db"),
        ("journal:///x.log", "x.log"),
        ("JOURNAL:///{here}/x.log", "x.log"),
        ("journal:///with a space.log", "with a space.log"),
    ],
)
def test_what_is_launched_under_a_url_is_found_under_it(sofim, tmp_path, url, file):
    (tmp_path / "sub").mkdir()
    url = url.format(here=tmp_path)
    made = make(url, {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {file}
    assert file_of(url).resolve() == tmp_path / file
    assert find_campaign("fake", url) == find_tuned("fake", url) == made
    for command in (["status", "fake"], ["list"], ["export", "fake"]):
        code, out, err = sofim(*command, "--storage", url)
        assert (code, err) == (0, ""), command
        assert "fake" in out
    kept = Durability.of(url, timeout=1, directory=None, every=1).checkpoints
    assert kept.directory.resolve() == tmp_path / f"{file}.checkpoints"


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_what_lives_in_memory_is_refused_and_is_no_file(sofim, tmp_path, url):
    assert file_of(url) is None
    for command in (["status"], ["launch", "quickstart", "--workloads", "digits-mlp", "--optimizers", "sgd"]):
        code, _, err = sofim(*command, "--storage", url)
        assert (code, err.count("\n")) == (2, 1)
        assert "lives in memory and would be lost" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://me:a%2Fb@host/name", "mysql://host/x.db", "x.db", "", "sqlite:x",
            "sqlite:///x.db?timeout=5&timeout=6", "sqlite:///x.db?timeout=abc", "sqlite:///x.db?mode=ro"],
)  # fmt: skip
def test_what_is_no_file(url):
    assert file_of(url) is None


@pytest.mark.parametrize(
    "url", ["sqlite:///file:x.db?mode=ro&uri=true", "sqlite:///a b.db", "sqlite:///a:b@c.db", "journal:///x.log"]
)
def test_a_url_without_a_secret_is_shown_as_it_was_typed(url):
    assert hide_password(url) == url


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("SEC@RET/SEC@localhost/db", "localhost/db"),
        ("SEC@RET@localhost:5433/db?password=SEC@RET", "localhost:5433/db"),
        ("SEC@RET?SEC@localhost/db?sslmode=require", "localhost/db"),
        ("SEC@RET:5@localhost/db", "localhost/db"),
        ("SEC@RET/SEC@localhost", "localhost"),
    ],
)
def test_a_password_that_ends_too_soon_is_refused_before_anybody_is_asked_and_no_part_of_it_is_shown(typed, shown):
    with pytest.raises(UserError) as refused:
        open_storage(f"postgresql+psycopg://user:{typed}")
    assert str(refused.value) == (
        f"storage 'postgresql+psycopg://user:***@{shown}': it has more than one @, and where its password ends "
        "cannot be told; write / and @ of a password or of a database's name as %2F and %40"
    )


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@h/my%40db", "postgresql://u:p@h/db?password=a@b", "sqlite:///a:b@c@d"]
)
def test_an_at_that_is_none_of_a_password_is_taken_as_it_stands(url):
    assert parse(url).database == make_url(url).database


@pytest.mark.parametrize(
    "url", ["sqlite:///my?trials.db", "sqlite:///my?", "sqlite:///my?timeout=5&x", "journal:///my?x"]
)
def test_a_question_mark_that_begins_no_option_is_refused(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"is not name=value; write a \? of a file's name as %3F, or leave that out$"):
        open_storage(url)
    assert list(tmp_path.iterdir()) == []
    assert parse("sqlite:///my%3Ftrials.db").query == {}
    assert parse("sqlite:///x.db?timeout=5&").query == {"timeout": "5"}
    assert parse("postgresql://u:p?w@host/db").password == "p?w", "one of a password is none of these"


def test_the_command_that_makes_a_missing_directory_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"make it first: mkdir -p 'my; trials'$"):
        open_storage("sqlite:///my; trials/x.db")


@pytest.mark.parametrize("password", ["p w", "a/b", "a@b", "a:b", "a%b", "a{0}b", "ä?#&=", "{SCHEMA_VERSION}"])
def test_a_password_of_any_characters_is_the_one_that_a_server_gets_and_is_not_shown(postgres, password):
    from studies.storage.database import close_storage

    url = make_url(postgres.new_database()).set(username=ROLE, password=password)
    typed = url.render_as_string(hide_password=False)
    postgres.execute(f"ALTER ROLE {ROLE} PASSWORD '{password}'")
    try:
        close_storage(open_storage(typed))
        close_storage(open_storage(typed, read_only=True))
    finally:
        postgres.execute(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
    assert hide_password(typed) == f"postgresql+psycopg://{ROLE}:***@127.0.0.1:{url.port}/{url.database}"


def test_options_of_a_server_are_passed_on(postgres):
    from studies.storage.database import close_storage

    url = postgres.new_database() + "?application_name=mine&connect_timeout=3"
    storage = open_storage(url)
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "mine"
    close_storage(storage)


def test_the_time_that_a_lock_is_waited_for_can_be_said(tmp_path):
    import sqlite3
    import time
    from contextlib import closing

    path = Path(tmp_path, "x.db")
    make(f"sqlite:///{path}", {"digits-mlp/sgd": [0.5, 0.75]}, **ONE)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(UserError, match="database is locked"):
            open_storage(f"sqlite:///{path}?timeout=0.2", read_only=True)
        assert time.monotonic() - began < 14  # SQLite waits for 15 s where nothing is said
