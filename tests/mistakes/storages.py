"""Mistakes with the database: where it is, what it is, and who may write it; servers have rows of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from tests.mistakes.mistake import Mistake, Place

RUN = "launch quickstart --workloads digits-mlp --optimizers sgd"


def changed(*statements: str) -> Callable[[Place], None]:
    """The campaign, and then SQL."""
    return lambda place: execute(place.storage, *statements)


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def file_of(place: Place) -> Path:
    """Of an SQLite database."""
    return Path(place.storage.removeprefix("sqlite:///"))


def attribute(key: str, value: object) -> str:
    written = json.dumps(value).replace("'", "''").replace(":", r"\:")
    return f"UPDATE study_user_attributes SET value_json = '{written}' WHERE key = '{key}'"


def stored(**changes: object) -> Callable[[Place], None]:
    """The campaign, stored with other values of some keys."""

    def prepare(place: Place) -> None:
        engine = sa.create_engine(place.storage)
        with engine.connect() as connection:
            written = connection.scalar(sa.text("SELECT value_json FROM study_user_attributes WHERE key = 'campaign'"))
        engine.dispose()
        execute(place.storage, attribute("campaign", json.loads(written) | changes))

    return prepare


def read_only(place: Place) -> None:
    """The campaign in a database that a user without rights may read and not write."""
    if place.storage.startswith("sqlite"):
        file_of(place).chmod(0o444)
        return
    name = place.storage.rpartition("/")[2]
    execute(place.storage, f"ALTER DATABASE {name} SET default_transaction_read_only = on")


def foreign(place: Place) -> None:
    """Another program's database, with a table that is called like one of Optuna's."""
    execute(place.storage, "CREATE TABLE trials (patient TEXT)", "INSERT INTO trials VALUES ('Ada')")


def guest(place: Place) -> None:
    """A role that may log in, and nothing else."""
    execute(place.storage, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN")
    place.words["guest"] = place.storage.replace("postgres@", "guest@")


def without_rights(place: Place) -> None:
    """The campaign, which was not made for that role."""
    guest(place)


def login(user: str, password: str | None = None, database: str | None = None) -> Callable[[Place], None]:
    """Words for a URL of somebody else."""

    def prepare(place: Place) -> None:
        head, _, rest = place.storage.partition("postgres@")
        server, _, name = rest.partition("/")
        who = user if password is None else f"{user}:{password}"
        place.words.update(url=f"{head}{who}@{server}/{database or name}", server=server, name=name)
        host, _, port = server.partition(":")
        place.words.update(host=host, port=port)

    return prepare


def old(place: Place) -> None:
    """A file that only its owner may read."""
    file_of(place).chmod(0o600)


def garbled(place: Place) -> None:
    """A database whose pages were overwritten, as by a disk that broke."""
    path = file_of(place)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


def sealed(place: Place) -> None:
    """A directory in which nothing can be made."""
    (place.here / "sealed").mkdir(mode=0o555)


LITE, POSTGRES = "sqlite", "postgresql"

ROWS = [
    # no database at all
    *(
        Mistake(
            id=f"no file: {command}",
            typed=f"{command} --storage sqlite:///none.db",
            only=LITE,
            says="storage 'sqlite:///none.db': there is no file none.db; name another with --storage, or launch a "
            "campaign",
        )
        for command in ("status", "list", "dashboard", "report fake", "export fake")
    ),
    Mistake(
        id="a missing directory",
        typed=f"{RUN} --storage sqlite:///none/x.db",
        only=LITE,
        says="storage 'sqlite:///none/x.db': there is no directory none; make it first: mkdir -p none",
    ),
    Mistake(
        id="a directory for a database",
        typed="status --storage sqlite:///{here}",
        only=LITE,
        says="storage 'sqlite:///{here}' is a directory; name a file in it: sqlite:///{here}/sofim.db",
    ),
    Mistake(
        id="a database in memory",
        typed=f"{RUN} --storage sqlite://",
        only=LITE,
        says="storage 'sqlite://' lives in memory and would be lost; name a file: sqlite:///sofim.db",
    ),
    Mistake(
        id="a database in memory by another name",
        typed="status --storage 'sqlite:///file:x?mode=memory&uri=true'",
        only=LITE,
        says=(
            "storage 'sqlite:///file:x?mode=memory&uri=true' lives in memory and would be lost; name a file: "
            "sqlite:///sofim.db"
        ),
    ),
    Mistake(
        id="a home directory in a URL",
        typed=f"{RUN} --storage sqlite:///~/x.db",
        only=LITE,
        says=("storage 'sqlite:///~/x.db': ~ is not a home directory in a URL; write it out: sqlite:////<any>/x.db"),
    ),
    Mistake(
        id="a driver that waits for events",
        typed="status --storage sqlite+aiosqlite:///x.db",
        only=LITE,
        says=(
            "storage 'sqlite+aiosqlite:///x.db' names a driver for asynchronous programs, aiosqlite, which Optuna "
            "cannot use; write sqlite:… for the usual one"
        ),
    ),
    Mistake(
        id="an option of a journal",
        typed=f"{RUN} --storage 'journal:///x.log?timeout=60'",
        only=LITE,
        says=(
            "storage 'journal:///x.log?timeout=60' cannot be opened: a journal has no option 'timeout'; leave that out "
            "of the URL"
        ),
    ),
    Mistake(
        id="the scheme of PostgreSQL in short",
        typed="status --storage postgres://me:secret@host/name",
        only=LITE,
        says=(
            "storage 'postgres://me:***@host/name': the scheme is written postgresql; write "
            "postgresql://me:***@host/name"
        ),
    ),
    Mistake(
        id="a journal without a file",
        typed="status --storage journal://x.log",
        only=LITE,
        says="storage 'journal://x.log' names no file; write for example journal:///sofim.log",
    ),
    Mistake(
        id="an option that is no number",
        typed="status --storage 'sqlite:///x.db?timeout=soon'",
        only=LITE,
        says=(
            "storage 'sqlite:///x.db?timeout=soon' cannot be opened: could not convert string to float: 'soon'; mend "
            "that, or name another with --storage"
        ),
    ),
    Mistake(
        id="a dashboard on a file with nothing in it",
        typed="dashboard --storage sqlite:///x.db",
        files={"x.db": ""},
        only=LITE,
        says="storage 'sqlite:///x.db' is empty; launch a campaign first, or name another with --storage",
    ),
    Mistake(
        id="a dashboard on a database with nothing in it",
        typed="dashboard",
        storage="empty",
        only=POSTGRES,
        says="storage '{storage}' is empty; launch a campaign first, or name another with --storage",
    ),
    *(
        Mistake(
            id=f"a damaged study: {typed}",
            typed=typed,
            storage="copy",
            prepare=changed("DELETE FROM study_user_attributes WHERE key = 'metric'"),
            says=(
                "study 'fake/digits-mlp/sgd' of campaign 'fake' is damaged: its attribute 'metric' is missing or not "
                "what a campaign stores; restore the storage from a copy, or report on its studies one by one with "
                "sofim report --study NAME"
            ),
        )
        for typed in ("status fake", "report fake", "export fake", "confirm fake", "launch fake")
    ),
    Mistake(
        id="another program's study where a campaign's would be",
        typed=f"{RUN} --name other",
        storage="copy",
        prepare=changed(
            "INSERT INTO studies (study_name) VALUES ('other/digits-mlp/sgd')",
            "INSERT INTO study_directions (study_id, direction, objective) SELECT study_id, 'MINIMIZE', 0 "
            "FROM studies WHERE study_name = 'other/digits-mlp/sgd'",
            "INSERT INTO study_user_attributes (study_id, key, value_json) SELECT study_id, 'author', '\"Ada\"' "
            "FROM studies WHERE study_name = 'other/digits-mlp/sgd'",
        ),
        says=(
            "the storage has a study 'other/digits-mlp/sgd' that no campaign made; give this campaign another name "
            "with --name"
        ),
    ),
    Mistake(
        id="a text for a database",
        typed="status --storage sqlite:///text",
        files={"text": "this is no database"},
        only=LITE,
        says="storage 'sqlite:///text': text is not an SQLite database; name another file with --storage",
    ),
    Mistake(
        id="a text to launch in",
        typed=f"{RUN} --storage sqlite:///text",
        files={"text": "this is no database"},
        only=LITE,
        says="storage 'sqlite:///text': text is not an SQLite database; name another file with --storage",
    ),
    Mistake(
        id="a garbled database",
        typed="status",
        storage="copy",
        prepare=garbled,
        only=LITE,
        says=(
            "storage '{storage}' cannot be opened: database disk image is malformed; restore "
            "it from a copy, or name another with --storage"
        ),
    ),
    Mistake(
        id="a name too long for a file",
        typed=f"{RUN} --storage sqlite:///{{long}}.db",
        only=LITE,
        says=(
            "storage 'sqlite:///{long}.db' cannot be opened: File name too long; mend that, or name another with "
            "--storage"
        ),
    ),
    Mistake(
        id="an option of no database",
        typed=f"{RUN} --storage 'sqlite:///x.db?colour=red'",
        only=LITE,
        says=(
            "storage 'sqlite:///x.db?colour=red' cannot be opened: Query string argument(s) 'colour' are not "
            "accepted by the pysqlite driver and are being ignored; leave that out of the URL"
        ),
    ),
    Mistake(
        id="no URL",
        typed="status --storage trials.db",
        only=LITE,
        says=(
            "storage 'trials.db' is not a database URL; write for example sqlite:///sofim.db or "
            "postgresql+psycopg://user@host/name"
        ),
    ),
    Mistake(
        id="an empty URL",
        typed="status --storage ''",
        only=LITE,
        says=(
            "storage '' is not a database URL; write for example sqlite:///sofim.db or "
            "postgresql+psycopg://user@host/name"
        ),
    ),
    Mistake(
        id="a URL of two lines",
        typed="status --storage 'sqlite:///a\nb.db'",
        only=LITE,
        says=(
            "storage 'sqlite:///a%0Ab.db': there is no file a\\nb.db; name another with --storage, or launch a campaign"
        ),
    ),
    Mistake(
        id="a database of an unknown kind",
        typed="status --storage oracel://host/name",
        only=LITE,
        says=(
            "storage 'oracel://host/name' needs a database driver that is not installed; install its SQLAlchemy driver"
        ),
    ),
    Mistake(
        id="a database whose driver is missing",
        typed="status --storage mysql+mysqldb://me:s3cret@host/name",
        only=LITE,
        says=(
            "storage 'mysql+mysqldb://me:***@host/name' needs a database driver that is not installed; install "
            "its SQLAlchemy driver"
        ),
    ),
    Mistake(
        id="a port that is a word",
        typed="status --storage postgresql://me:s3cret@host:port/name",
        only=LITE,
        says=(
            "storage 'host:port/name' is not a database URL; write for example sqlite:///sofim.db or "
            "postgresql+psycopg://user@host/name"
        ),
    ),
    # rights
    Mistake(
        id="a database that may not be read",
        typed="status",
        storage="copy",
        prepare=old,
        as_nobody=True,
        only=LITE,
        says=(
            "storage '{storage}' cannot be opened: Permission denied; ask its owner for the "
            "right to read and write it, or name another with --storage"
        ),
    ),
    Mistake(
        id="a database that may not be written",
        typed=RUN,
        storage="copy",
        prepare=read_only,
        as_nobody=True,
        only=LITE,
        says=(
            "storage '{storage}' refuses: attempt to write a readonly database; mend that and "
            "run the same command again: every trial that it has counts, the others are asked again"
        ),
    ),
    Mistake(
        id="a database to confirm in that may not be written",
        typed="confirm fake --anyway",
        storage="copy",
        prepare=read_only,
        as_nobody=True,
        only=LITE,
        says=(
            "storage '{storage}' refuses: attempt to write a readonly database; mend that and "
            "run the same command again: every trial that it has counts, the others are asked again"
        ),
    ),
    Mistake(
        id="a directory in which no database can be made",
        typed=f"{RUN} --storage sqlite:///sealed/x.db",
        prepare=sealed,
        as_nobody=True,
        only=LITE,
        says=(
            "storage 'sqlite:///sealed/x.db' cannot be opened: unable to open database file; see to it that "
            "you may write it, or name another with --storage"
        ),
    ),
    # another's, and other versions
    Mistake(
        id="another program's database",
        typed="status",
        storage="empty",
        prepare=foreign,
        says=(
            "storage '{storage}' is the database of another program, with a table 'trials' of its own; name "
            "another with --storage"
        ),
    ),
    Mistake(
        id="another program's database to launch in",
        typed=RUN,
        storage="empty",
        prepare=foreign,
        says=(
            "storage '{storage}' is the database of another program, with a table 'trials' of its own; name "
            "another with --storage"
        ),
    ),
    Mistake(
        id="a newer schema",
        typed="status",
        storage="copy",
        prepare=changed(
            "UPDATE alembic_version SET version_num = 'v9.0.0.a'", "UPDATE version_info SET library_version = '9.0.0'"
        ),
        says=(
            "storage '{storage}' has the tables of a newer Optuna (v9.0.0.a, and Optuna <any> needs <any>); "
            "install that with: pip install --upgrade optuna, or name another storage with --storage"
        ),
    ),
    Mistake(
        id="an older schema",
        typed="status",
        storage="copy",
        prepare=changed(
            "UPDATE alembic_version SET version_num = 'v2.6.0.a'", "UPDATE version_info SET library_version = '2.6.0'"
        ),
        says=(
            "storage '{storage}' has the tables of an older Optuna (v2.6.0.a, and Optuna <any> needs "
            "<any>); bring them up to date with: <any>optuna storage upgrade --storage {storage}"
        ),
    ),
    Mistake(
        id="an older schema to launch in",
        typed=RUN,
        storage="copy",
        prepare=changed(
            "UPDATE alembic_version SET version_num = 'v2.6.0.a'", "UPDATE version_info SET library_version = '2.6.0'"
        ),
        says=(
            "storage '{storage}' has the tables of an older Optuna (v2.6.0.a, and Optuna <any> needs "
            "<any>); bring them up to date with: <any>optuna storage upgrade --storage {storage}"
        ),
    ),
    Mistake(
        id="a newer protocol",
        typed="launch fake",
        storage="copy",
        prepare=changed(attribute("protocol", 3)),
        says=(
            "campaign 'fake' was run under protocol 3, this is protocol 2, and their values do not compare; give "
            "this one another name with --name"
        ),
    ),
    Mistake(
        id="an older protocol to extend",
        typed="launch fake --extend --trials 3",
        storage="copy",
        prepare=changed(attribute("protocol", 1)),
        says=(
            "campaign 'fake' was run under protocol 1, this is protocol 2, and their values do not compare; give "
            "this one another name with --name"
        ),
    ),
    Mistake(
        id="an older protocol to confirm",
        typed="confirm fake",
        storage="copy",
        prepare=changed(attribute("protocol", 1)),
        says=(
            "campaign 'fake' was run under protocol 1, this is protocol 2, and their values do not compare; search "
            "again, under another name: <any>launch fake --name NAME<any>"
        ),
    ),
    Mistake(
        id="an older protocol to evaluate",
        typed="evaluate fake --storage {storage}",
        storage="copy",
        prepare=changed(attribute("protocol", 1)),
        says=(
            "campaign 'fake' was run under protocol 1, this is protocol 2, and their values do not compare; search "
            "again, under another name: <any>launch fake --name NAME<any>"
        ),
    ),
    Mistake(
        id="a campaign of another version",
        typed="launch fake",
        storage="copy",
        prepare=stored(colour="red"),
        says=(
            "stored campaign 'fake': colour is not a key of a campaign: allowed are {keys}; it was stored by "
            "another version: go on with that, or launch its file under another --name"
        ),
    ),
    Mistake(
        id="a campaign whose optimizer is no more",
        typed="launch fake",
        storage="copy",
        prepare=stored(optimizers=["rprop"]),
        says=(
            "stored campaign 'fake': search_space.rprop: 'rprop' has no search space: known are "
            "{optimizers}; it was stored by another version: go on with that, or launch its file under another "
            "--name"
        ),
    ),
]
