"""What a database is looked at for before it is used, and what is said where it cannot be."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from studies.errors import UserError
from studies.ledger._journal import SCHEME, JournalFile

_REMEDIES = (  # by a pattern in what the database says
    (
        r"password",
        "give the right one in the URL, user:password@host with / and @ in it as %2F and %40, or in ~/.pgpass",
    ),
    (r'role "(.*)" does not exist', "name another user in the URL, or make it first: createuser {0}"),
    (r'database "(.*)" does not exist', "make it first: createdb {0}, or name another with --storage"),
    (r"(?i)permission denied", "ask its owner for the right to read and write it, or name another with --storage"),
    (r"read-?only|unable to open", "see to it that you may write it, or name another with --storage"),
    (r"malformed", "restore it from a copy, or name another with --storage"),
    (r"argument|option", "leave that out of the URL"),
    (r"connection|resolve host", "start the server, or correct host and port in --storage"),
)


_needed: list[str] = []  # the schema of the installed Optuna, read once: it takes as long as to open a database


def check_sqlite(database: str | None, shown: str, *, create: bool) -> None:
    """Refuses what is no file of an SQLite database, nor a place for one.

    Args:
        database: the file, as the URL has it.
        shown: the URL as an error may show it.
        create: whether it may be missing.

    Raises:
        UserError: it is not.
    """
    if not database or database == ":memory:":
        raise UserError(f"storage '{shown}' lives in memory and would be lost; name a file: sqlite:///sofim.db")
    _check_place(database, shown, b"SQLite format 3\x00", "an SQLite database", create=create)


def open_journal(file: str, shown: str, *, create: bool) -> JournalFile:
    """Optuna's journal in ``file``; otherwise as :func:`check_sqlite`."""
    if not file:
        raise UserError(f"storage '{shown}' names no file; write for example {SCHEME}sofim.log")
    _check_place(file, shown, b'{"op_code"', "a journal of Optuna", create=create)
    try:
        return JournalFile(Path(file).absolute())  # its lock is a link to it
    except (StorageInternalError, KeyError) as error:
        reason = first_line(error)
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None


def _check_place(file: str, shown: str, beginning: bytes, kind: str, *, create: bool) -> None:
    path = Path(file)
    try:
        _check_file(path, shown, create=create)
        if path.exists():
            with path.open("rb") as opened:
                header = opened.read(len(beginning))
            if header and header != beginning:
                raise UserError(f"storage '{shown}': {path} is not {kind}; name another file with --storage")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None


def _check_file(path: Path, shown: str, *, create: bool) -> None:
    if not path.parent.is_dir():
        raise UserError(
            f"storage '{shown}': there is no directory {path.parent}; make it first: mkdir -p {path.parent}"
        )
    if path.is_dir():
        raise UserError(f"storage '{shown}' is a directory; name a file in it: {shown.rstrip('/')}/sofim.db")
    if not create and not path.exists():
        raise UserError(
            f"storage '{shown}': there is no file {path}; name another with --storage, or launch a campaign"
        )


def prepare_tables(url: str, options: Mapping[str, Any], shown: str) -> None:
    """Makes Optuna's tables where they are missing, by a connection that is closed whatever happens.

    Raises:
        UserError: the database is another program's.
    """
    from optuna.storages._rdb import models

    ours = models.BaseModel.metadata
    engine = sa.create_engine(url, poolclass=sa.NullPool, **options)
    inspector = sa.inspect(engine)
    there = set(inspector.get_table_names())
    if "version_info" not in there:
        names = {
            name: {column["name"] for column in inspector.get_columns(name)} for name in there & ours.tables.keys()
        }
        theirs = [name for name, columns in names.items() if not columns >= set(ours.tables[name].columns.keys())]
        # a server's database may well be shared with other programs, a file is one program's
        theirs = theirs or ([] if names or engine.dialect.name != "sqlite" else list(there))
        if theirs:
            raise UserError(
                f"storage '{shown}' is the database of another program, with a table '{min(theirs)}' of its own; "
                "name another with --storage"
            )
    ours.create_all(engine)
    with engine.connect() as connection:
        connection.execute(sa.select(ours.tables["version_info"].c.library_version))


def check_schema(storage: RDBStorage, shown: str) -> None:
    """Refuses, and closes, a storage whose tables are of another Optuna version."""
    if not _needed:
        _needed.append(storage.get_head_version())
    there, needed = storage.get_current_version(), _needed[0]
    if there == needed:
        return
    older = there in storage.get_all_versions()
    storage.remove_session()
    storage.engine.dispose()
    if older:
        remedy = f"bring them up to date with: optuna storage upgrade --storage {shlex.quote(shown)}"
    else:
        remedy = "install that with: pip install --upgrade optuna, or name another storage with --storage"
    raise UserError(
        f"storage '{shown}' has the tables of {'an older' if older else 'a newer'} Optuna ({there}, and Optuna "
        f"{optuna.__version__} needs {needed}); {remedy}"
    )


def remedy_for(reason: str) -> str:
    """What to do about a database that refuses for ``reason``.

    >>> remedy_for('database "trials" does not exist')
    'make it first: createdb trials, or name another with --storage'
    """
    for pattern, remedy in _REMEDIES:
        if found := re.search(pattern, reason):
            return remedy.format(*found.groups())
    return "mend that, or name another with --storage"


def unreadable(shown: str, error: BaseException) -> UserError:
    """The error for a storage, shown as ``shown``, that was opened to look at it and then answered with ``error``."""
    reason = first_line(error)
    return UserError(f"storage '{shown}' cannot be read: {reason}; {remedy_for(reason)}")


def first_line(error: BaseException) -> str:
    """What a database says, in one line: of PostgreSQL's several, for each address it tried, the last is the reason."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    lines = [line.strip() for line in str(cause).strip().splitlines()] or [type(error).__name__]
    tried = [line for line in lines if line.startswith("- host: ")]
    line = re.sub(r"^- host: .*?(?=connection )", "", tried[-1]) if tried else lines[0]
    return line.removeprefix("connection failed: ").rpartition("FATAL:  ")[2]
