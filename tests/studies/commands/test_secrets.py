"""Passwords in URLs: never printed, logged, stored, or shown in the title of a process; an environment variable."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from studies.commands.typed import hide_title, how_to_go_on
from tests.support.fake_campaign import make
from tests.support.postgres import PASSWORD, ROLE
from tests.support.probe_home import environment, settle

SHOWN = "postgresql+psycopg://tuner:***@127.0.0.1"


@pytest.fixture
def secret_url(postgres):
    postgres.new_database()
    [(name,)] = postgres.execute("SELECT datname FROM pg_database ORDER BY oid DESC LIMIT 1")
    return postgres.url(name, ROLE, PASSWORD)


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("postgresql://me:secret@host/name", "postgresql://me:***@host/name"),
        ("postgresql://me:sec@ret@host/name", "postgresql://me:***@host/name"),
        ("postgresql://me:s:e/c@host:5432/name", "postgresql://me:***@host:5432/name"),
        ("postgresql://me@host/name", "postgresql://me@host/name"),
        ("postgresql://host/name?user=me&password=secret", "postgresql://host/name?password=***&user=me"),
        ("--storage=mysql://me:secret@host/name", "--storage=mysql://me:***@host/name"),
        ("postgresql://me:secret/name", "postgresql:***"),  # the host was forgotten
        ("postgresql://host:5432/name", "postgresql://host:5432/name"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("mine:workload", "mine:workload"),
    ],
)
def test_titles(monkeypatch, argument, shown):
    titles = []
    monkeypatch.setattr("setproctitle.setproctitle", titles.append)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/sofim", argument])
    hide_title(["launch", argument])
    if shown == argument:
        assert titles == []
    else:
        [title] = titles
        assert title.startswith("sofim launch ")
        assert shown in title.replace("'", "")


@pytest.mark.parametrize("first", ["PYTHONPATH", "HOME", "LC_CTYPE"])
def test_the_title_of_a_process_hides_it_whichever_variable_is_the_first_or_says_that_it_does_not(tmp_path, first):
    """setproctitle finds the command line before the first variable, and not at all where that one was set anew.

    As Python itself does with ``LC_CTYPE=C`` before any of this runs.
    """
    pytest.importorskip("psycopg")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    path = os.pathsep.join(["", str(Path(__file__).parents[3])])
    known = plain | {"PYTHONPATH": path, "LC_CTYPE": "C" if first == "LC_CTYPE" else "C.UTF-8"}
    with socket.create_server(("127.0.0.1", 0)) as server:  # that answers nothing
        url = f"postgresql+psycopg://me:secret@127.0.0.1:{server.getsockname()[1]}/x"
        command = subprocess.Popen(
            [sys.executable, "-m", "studies.cli", "list", "--storage", url],
            cwd=tmp_path,
            env={first: known[first]} | known,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            server.settimeout(60)
            connection, _ = server.accept()
            title = " ".join(psutil.Process(command.pid).cmdline())
        finally:
            command.kill()
            said = command.communicate()[1]
        connection.close()
    left = "sofim: ps shows the password of this command while it runs; put the URL in SOFIM_STORAGE instead\n"
    assert said == (left if "secret" in title else "")
    if first != "LC_CTYPE":
        assert "secret" not in title
        assert "postgresql+psycopg://me:***@127.0.0.1" in title


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:secret/name", "postgresql+psycopg:***"),  # the host was forgotten
        ("postgresql//me:secret/name", "postgresql//me:***"),
        ("postgresql://h:x/name?password=secret", "postgresql:***"),
        ("postgresql://me:secret@h:x/name?password=secret", "h:x/name"),
        ("postgresql://me:sec@s/ret@host/name", "postgresql://me:***@host/name"),
        ("postgresql://me:sec@ret@host/name", "postgresql://me:***@host/name"),
        ("postgresql://me@host/name?password=secret", "postgresql://me@host/name?password=***"),
        ("sqlite:///sofim.db", "sqlite:///sofim.db"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_is_shown_of_urls(url, shown):
    from studies.storage.url import hide_password

    assert hide_password(url) == shown
    assert "secret" not in how_to_go_on(["launch", "x", "--storage", url]) + shown


def test_how_to_go_on_shows_no_password_and_says_where_to_put_it():
    hint = how_to_go_on(["launch", "x", "--storage=postgresql://me:secret@h/n"])
    assert "secret" not in hint
    assert "SOFIM_STORAGE" in hint
    assert how_to_go_on(["launch", "x"]).endswith("to go on: sofim launch x")


def leaks(directory: Path, since: float) -> list[Path]:
    """Files written since then that hold the password, in the clear or quoted."""
    words = [PASSWORD.encode(), PASSWORD.replace("/", "%2F").replace("@", "%40").encode()]
    found = []
    for path in directory.rglob("*"):
        try:
            if path.is_file() and path.stat().st_mtime >= since - 1 and any(w in path.read_bytes() for w in words):
                found.append(path)
        except OSError:
            continue
    return found


@pytest.mark.cluster
def test_a_campaign_on_a_server_with_a_password_leaves_it_nowhere(tmp_path, secret_url, postgres):
    """Looked for: process titles, the environment of workers, what is printed, Ray's session, files, the database."""
    home = settle(tmp_path, "probe_workload:plain", trials=100)  # far more than end while it is looked at
    elsewhere = secret_url.rpartition("/")[0] + "/nowhere"  # what is typed counts more
    began = time.time()
    driver = subprocess.Popen(
        [sys.executable, "-m", "studies.cli", "launch", "probe.toml", "--cpus", "2", "--storage", secret_url],
        cwd=home, env=environment(home, PROBE_SECONDS="0.5", PGPASSWORD=PASSWORD, SOFIM_STORAGE=elsewhere), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    notes = home / "notes" / "notes.tsv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "begin" not in notes.read_text():
        time.sleep(0.2)
    processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    titles, environments = [], []
    for process in processes:
        try:
            titles.append(" ".join(process.cmdline()))
            environments.append(process.environ() if process.pid != driver.pid else {})
        except psutil.Error:
            continue
    left = leaks(ray_session(processes), began)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 130, err
    assert len(titles) > 3
    assert any(SHOWN in title for title in titles)
    secrets = (PASSWORD, secret_url.split("@")[0].rpartition(":")[2])
    for secret in secrets:
        assert not [title for title in titles if secret in title]
        assert not [e for e in environments if any(secret in value for value in e.values())]
        assert secret not in out + err
    assert left == []
    assert leaks(home, began) == []
    database = secret_url.rpartition("/")[2]
    for table in ("study_user_attributes", "study_system_attributes", "trial_user_attributes"):
        rows = postgres.execute(f"SELECT value_json FROM {table}", database)
        assert not [row for row in rows if any(secret in str(row[0]) for secret in secrets)]
    assert "SOFIM_STORAGE" in err
    assert SHOWN in err


def ray_session(processes: list[psutil.Process]) -> Path:
    """The directory of Ray's logs, from the command line of one of its processes."""
    for process in processes:
        for word in process.cmdline():
            name, _, value = word.partition("=")
            if name in ("--session-dir", "--session_dir"):
                return Path(value)
    raise AssertionError("no process of Ray tells its session")


def test_the_environment_variable_is_read_and_needs_no_typing(tmp_path, secret_url, sofim, monkeypatch):
    make(secret_url, {"digits-mlp/sgd": [0.5, 0.75]}, workloads=["digits-mlp"], optimizers=["sgd"])
    monkeypatch.setenv("SOFIM_STORAGE", secret_url)
    for command in (["status"], ["list"], ["launch", "fake"], ["export", "fake", "--optimizer", "sgd"]):
        code, out, err = sofim(*command)
        assert (code, err) == (0, "")
        assert "fake" in out
        assert "--storage" not in out  # the next commands read it too
        assert PASSWORD not in out
    assert not (tmp_path / "sofim.db").exists()
    code, _, err = sofim("status", "--storage", "sqlite:///other.db")
    assert code == 2
    assert "there is no file other.db" in err


def test_a_wrong_password_is_one_line_without_it(postgres):
    from search_spaces.errors import UserError
    from studies.storage.database import open_storage

    with pytest.raises(UserError) as raised:
        open_storage(postgres.url("postgres", ROLE, "wr0ng"))
    assert "wr0ng" not in str(raised.value)
    assert "\n" not in str(raised.value)
