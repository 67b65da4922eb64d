"""Every mistake of the table: one line that names the thing and the remedy, exit code 2, and all is as it was."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
import sklearn.datasets

from search_spaces import SEARCH_SPACES
from sofim.recommended import shipped
from studies.campaign.model import Campaign
from studies.campaign.reading import PRESETS
from studies.cli import main
from studies.data import DATASETS
from studies.storage.database import close_storage
from studies.workloads import WORKLOADS
from tests.mistakes.mistake import Mistake, Place
from tests.mistakes.table import OF_DATABASES, TABLE
from tests.support.fake_campaign import make
from tests.support.postgres import PASSWORD, Postgres

NOBODY = 65534
WITH_STORAGE = ("launch", "confirm", "status", "tune", "report", "export", "list", "dashboard")
WORDS = {
    "keys": ", ".join(Campaign.model_fields),
    "workloads": ", ".join(WORKLOADS),
    "optimizers": ", ".join(SEARCH_SPACES),
    "chosen": ", ".join(dict.fromkeys([*(m["optimizer"] for m in shipped()["portfolio"]), "sofim", "sgd", "adamw"])),
    "presets": ", ".join(PRESETS),
    "datasets": ", ".join(DATASETS),
    "long": "d" * 300,
}
SECRETS = (PASSWORD, "s3cret", "wr0ng")
Contents = Sequence[str]


def contents(url: str) -> Contents:
    """All that a database holds, line by line, in an order of its own; of one that cannot be read, nothing."""
    kind, _, file = url.partition(":///")
    if kind != "sqlite":
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            every = " UNION ALL ".join(f"SELECT '{name} ' || t::text FROM {name} t" for (name,) in names) or "SELECT ''"
            return sorted(row for (row,) in connection.execute(every))  # type: ignore[call-overload]
    if not Path(file).is_file():
        return ["no file"]
    with closing(sqlite3.connect(file)) as opened, suppress(sqlite3.DatabaseError):
        return sorted(opened.iterdump())
    return []


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip


class Databases:
    """Databases of both kinds: one with a finished campaign, ``fake``, which no mistake changes, and copies of it."""

    def __init__(self, server: Callable[[], Postgres], directory: Path) -> None:
        self._server, self._directory = server, directory
        self._directory.chmod(0o755)
        self._numbers = count()
        self._shared: dict[str, tuple[str, Contents]] = {}

    def empty(self, kind: str) -> str:
        if kind == "postgresql":
            return self._server().new_database()
        place = self._directory / str(next(self._numbers))
        place.mkdir()
        return f"sqlite:///{place}/trials.db"

    def shared(self, kind: str) -> tuple[str, Contents]:
        if kind not in self._shared:
            url = self.empty(kind)
            make(url, {"digits-mlp/sgd": [0.5, 0.75]}, workloads=["digits-mlp"], optimizers=["sgd"])
            self._shared[kind] = url, contents(url)
        return self._shared[kind]

    def copy(self, kind: str) -> str:
        source, _ = self.shared(kind)
        if kind == "postgresql":
            name = f"copy_{next(self._numbers)}"
            self._server().execute(f"CREATE DATABASE {name} TEMPLATE {source.rpartition('/')[2]}")
            return self._server().url(name)
        url = self.empty(kind)
        shutil.copy(source.removeprefix("sqlite:///"), url.removeprefix("sqlite:///"))
        return url


@pytest.fixture(scope="module")
def databases(request) -> Iterator[Databases]:
    with tempfile.TemporaryDirectory(prefix="sofim-databases-") as made:
        yield Databases(lambda: request.getfixturevalue("postgres"), Path(made))


@pytest.fixture
def here(monkeypatch) -> Iterator[Path]:
    """The person's directory, which others than who runs the tests may enter."""
    with tempfile.TemporaryDirectory(prefix="sofim-mistake-") as made:
        directory = Path(made).resolve()
        directory.chmod(0o755)
        monkeypatch.chdir(directory)
        monkeypatch.setattr(sys, "path", list(sys.path))
        yield directory
        for name in ("mine", "broken", "own"):
            sys.modules.pop(name, None)
        for path in directory.rglob("*"):
            path.chmod(0o755)


@pytest.fixture(scope="module")
def open_cache() -> Iterator[Path]:
    """A place for decoded data that everybody may use, and all of the program that is imported late."""
    sklearn.datasets.load_digits()
    with tempfile.TemporaryDirectory(prefix="sofim-cache-") as made:
        Path(made).chmod(0o777)
        yield Path(made)


def in_process(arguments: list[str], capture: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capture.readouterr()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    code = end.value.code
    return code if isinstance(code, int) else 0, *capture.readouterr()


@contextmanager
def nobody() -> Iterator[None]:
    """As a user whom permissions bind. Root drops its rights; anybody else has none to drop."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def kinds_of(row: Mistake) -> Sequence[str]:
    if row.only:
        return (row.only,)
    return ("sqlite", "postgresql") if row in OF_DATABASES else ("sqlite",)


def rows(*, cluster: bool | str = False) -> list[Any]:
    return [
        pytest.param(row, kind, id=f"{row.id}-{kind}", marks=[pytest.mark.slow] if kind == "postgresql" else [])
        for row in TABLE
        for kind in kinds_of(row)
        if row.cluster == cluster
    ]


@pytest.fixture
def check(databases, here, open_cache, monkeypatch, capfd) -> Callable[[Mistake, str], None]:
    """Makes a mistake, and looks at what is said and at what is there afterwards."""

    def made(mistake: Mistake, kind: str) -> None:
        check_one(mistake, kind, databases, here, open_cache, monkeypatch, capfd)

    return made


@pytest.mark.parametrize(("mistake", "kind"), rows())
def test_a_mistake_is_one_line_and_leaves_all_as_it_was(check, mistake, kind):
    check(mistake, kind)


@pytest.mark.cluster
@pytest.mark.parametrize(("mistake", "kind"), rows(cluster=True))
def test_a_mistake_that_shows_when_ray_has_started_is_one_line_too(check, mistake, kind):
    check(mistake, kind)


@pytest.mark.cluster
@pytest.mark.parametrize(("mistake", "kind"), rows(cluster="joined"))
def test_a_mistake_that_shows_on_the_machines_is_one_line_too(check, mistake, kind, here, one_ray):
    one_ray.use(here)
    check(mistake, kind)


def check_one(
    mistake: Mistake,
    kind: str,
    databases: Databases,
    here: Path,
    open_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, content in mistake.files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before: Contents | None = None
    if mistake.storage == "shared":
        storage, before = databases.shared(kind)
    else:
        storage = databases.copy(kind) if mistake.storage == "copy" else databases.empty(kind)
    place = Place(here, storage)
    if mistake.prepare is not None:
        mistake.prepare(place)
    words = {**WORDS, "here": str(here), "storage": storage, **place.words}
    if before is None:
        before = contents(storage)
    for name, value in mistake.environment.items():
        monkeypatch.setenv(name, filled(value, words))
    arguments = [filled(word, words) for word in shlex.split(mistake.typed)]
    if arguments and arguments[0] in WITH_STORAGE and "--storage" not in arguments:
        arguments += ["--storage", storage]
    there = files(here)
    if mistake.as_nobody:
        monkeypatch.setenv("SOFIM_CACHE", str(open_cache))
    with nobody() if mistake.as_nobody else nullcontext():
        code, out, err = in_process(arguments, capfd)
    agrees = re.fullmatch(pattern(f"sofim: {mistake.says}\n", words), err) is not None
    assert agrees, err
    assert code == 2
    assert mistake.prints or out == ""
    assert not any(secret in out + err for secret in SECRETS)
    assert files(here) == there
    if mistake.leaves == "studies":
        assert not any(study_worked(storage))
    else:
        assert contents(storage) == before


def study_worked(storage: str) -> list[bool]:
    """Of each study, whether a trial of it did anything but fail."""
    opened = optuna.storages.RDBStorage(storage)
    try:
        return [
            any(trial.state != optuna.trial.TrialState.FAIL for trial in opened.get_all_trials(study._study_id))
            for study in opened.get_all_studies()
        ]
    finally:
        close_storage(opened)


def filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), text)


def pattern(text: str, words: dict[str, str]) -> str:
    parts = (re.escape(filled(part, words)) for part in text.split("<any>"))
    return r"[^\n]*".join(parts)


def test_the_table_is_large_and_names_every_command():
    assert len({row.id for row in TABLE}) == len(TABLE) >= 60
    assert {row.typed.split()[0] for row in TABLE if row.typed} >= {*WITH_STORAGE, "data"}
    assert all(isinstance(row, Mistake) for row in TABLE)
