"""What a database is looked at for before it is used, by connections that cannot write, and what is said of it."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import optuna
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from optuna.exceptions import StorageInternalError

from search_spaces.errors import UserError
from studies.storage.journal import JournalFile

_REMEDIES = (  # by a pattern in what the database says
    (
        r"password",
        "give the right one in the URL, user:password@host with / and @ in it as %2F and %40, or in ~/.pgpass",
    ),
    (r'role "(.*)" does not exist', "name another user in the URL, or make it first: createuser {0}"),
    (r'database "(.*)" does not exist', "make it first: createdb {0}, or name another with --storage"),
    (
        r"(?i)permission denied|denied to user",
        "ask its owner for the right to read and write it, or name another with --storage",
    ),
    (r"read-?only|unable to open", "see to it that you may write it, or name another with --storage"),
    (r"malformed", "restore it from a copy, or name another with --storage"),
    (r"argument|option", "leave that out of the URL"),
    (r"connection|resolve host", "start the server, or correct host and port in --storage"),
)
_OLDEST = "v0.9.0.a"  # of the schemas that have a number
_MARK = sa.table("alembic_version", sa.column("version_num"))  # where the number is


def check_file(path: Path, shown: str, beginning: bytes, kind: str, *, create: bool) -> bytes:
    """Refuses what is no file of its kind, nor a place for one.

    Args:
        path: the file.
        shown: the URL as an error may show it.
        beginning: what a file of its kind begins with.
        kind: what it is, in words.
        create: whether it may be missing.

    Returns:
        How it begins: nothing where it is missing, or empty.

    Raises:
        UserError: it is not.
    """
    try:
        _check_place(path, shown, create=create)
        header = b""
        if path.exists():
            if path.is_file():  # a pipe would be waited for
                with path.open("rb") as opened:
                    header = opened.read(max(len(beginning), _HEADER))
            if not path.is_file() or (header and not header.startswith(beginning)):
                raise UserError(f"storage '{shown}': {path} is not {kind}; name another file with --storage")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None
    return header


_HEADER = 20  # bytes of an SQLite file that are looked at


def _check_place(path: Path, shown: str, *, create: bool) -> None:
    if not path.parent.is_dir():
        if path.parts[0].startswith("~"):
            raise UserError(
                f"storage '{shown}': {path.parts[0]} is not a home directory in a URL; write it out: "
                f"{shown.replace(str(path), str(_home(path)), 1)}"
            )
        raise UserError(
            f"storage '{shown}': there is no directory {path.parent}; make it first: mkdir -p {path.parent}"
        )
    if path.is_dir():
        raise UserError(f"storage '{shown}' is a directory; name a file in it: {shown.rstrip('/')}/sofim.db")
    if not create and not path.exists():
        raise UserError(
            f"storage '{shown}': there is no file {path}; name another with --storage, or launch a campaign"
        )


def _home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # of nobody
        return Path.home().joinpath(*path.parts[1:])


def open_journal(url: sa.URL, shown: str, *, create: bool) -> JournalFile:
    """Optuna's journal in the file that ``url`` names; otherwise as :func:`check_file`."""
    if url.host or not url.database:
        raise UserError(f"storage '{shown}' names no file; write for example journal:///sofim.log")
    if url.query:
        option = next(iter(url.query))
        raise UserError(
            f"storage '{shown}' cannot be opened: a journal has no option '{option}'; leave that out of the URL"
        )
    path = Path(url.database)
    check_file(path, shown, b'{"op_code"', "a journal of Optuna", create=create)
    try:
        return JournalFile(path.absolute())  # its lock is a link to it
    except (StorageInternalError, KeyError) as error:
        reason = first_line(error)
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None


def has_tables(engine: sa.Engine, shown: str) -> bool:
    """Whether a database has the tables of the installed Optuna; otherwise it has none, or not all of them yet.

    Args:
        engine: with connections that need not be able to write.
        shown: the URL as an error may show it.

    Raises:
        UserError: the database is another program's, or its tables are of another version of Optuna.
    """
    from optuna.storages._rdb import models

    ours = models.BaseModel.metadata.tables
    inspector = sa.inspect(engine)
    there = set(inspector.get_table_names())

    def lacks(name: str) -> bool:
        return not {column["name"] for column in inspector.get_columns(name)} >= set(ours[name].columns.keys())

    found = there & ours.keys()
    # those of other versions of Optuna have other columns, and they have always had this one
    theirs = [name for name in found if lacks(name)] if not ({"version_info"} & found) or lacks("version_info") else []
    # a server's database may well be shared with other programs, a file is one program's
    theirs = theirs or ([] if found or engine.dialect.name != "sqlite" else list(there))
    with engine.connect() as connection:
        marked = None
        if not theirs and _MARK.name in there:
            marked = connection.scalar(sa.select(_MARK.c.version_num))
            if marked is not None and "version_info" not in there:
                theirs = [_MARK.name]
        if theirs:
            raise UserError(
                f"storage '{shown}' is the database of another program, with a table '{min(theirs)}' of its own; "
                "name another with --storage"
            )
        if "version_info" not in there:
            return False
        schema = connection.scalar(sa.select(ours["version_info"].c.schema_version))
        if marked is None:
            holds = "studies" in there and connection.scalar(sa.select(sa.func.count()).select_from(ours["studies"]))
            if not holds and schema in (None, models.SCHEMA_VERSION):
                return False  # it is being made, or who made it was cut off
    _check_schema(marked or _OLDEST, shown)
    return True


def _check_schema(there: str, shown: str) -> None:
    """Refuses tables of another Optuna version than the installed one."""
    needed, known = _schemas()
    if there == needed:
        return
    if older := there in known:
        remedy = f"bring them up to date with: {upgrade_command(shown)}"
        if "***" in shown:
            remedy += ", with the password in the place of ***"
    else:
        remedy = "install that with: pip install --upgrade optuna, or name another storage with --storage"
    raise UserError(
        f"storage '{shown}' has the tables of {'an older' if older else 'a newer'} Optuna ({there}, and Optuna "
        f"{optuna.__version__} needs {needed}); {remedy}"
    )


@cache
def _schemas() -> tuple[str, frozenset[str]]:
    """The schema that the installed Optuna needs, and all that it knows how to bring up to date."""
    from optuna.storages import _rdb

    script = ScriptDirectory(str(Path(_rdb.__path__[0]) / "alembic"))
    return str(script.get_current_head()), frozenset(one.revision for one in script.walk_revisions())


def upgrade_command(shown: str) -> str:
    """What brings a storage up to date: Optuna of this environment, which need not be what a shell finds."""
    beside = Path(sys.executable).with_name("optuna")
    found = shutil.which("optuna")
    if not beside.exists() or (found is not None and Path(found).resolve() == beside.resolve()):
        program = "optuna"
    else:
        here = Path.cwd()
        program = str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
    return shlex.join([program, "storage", "upgrade", "--storage", shown])


def make_tables(engine: sa.Engine) -> None:
    """Makes those of Optuna's tables that are not there."""
    from optuna.storages._rdb import models

    metadata = models.BaseModel.metadata
    there = set(sa.inspect(engine).get_table_names())
    metadata.create_all(engine)
    if engine.dialect.name not in ("mysql", "mariadb"):
        return
    with engine.begin() as connection:  # TEXT ends there after 65,535 bytes, which a history of 600 epochs needs
        for name in metadata.tables.keys() - there:
            texts = [column.name for column in metadata.tables[name].columns if type(column.type) is sa.Text]
            for column in texts:
                connection.execute(sa.text(f"ALTER TABLE {name} MODIFY {column} LONGTEXT"))


def remedy_for(reason: str) -> str:
    """What to do about a database that refuses for ``reason``.

    >>> remedy_for('database "trials" does not exist')
    'make it first: createdb trials, or name another with --storage'
    """
    for pattern, remedy in _REMEDIES:
        if found := re.search(pattern, reason):
            return remedy.format(*found.groups())
    return "mend that, or name another with --storage"


def remedy_for_writing(error: BaseException) -> str:
    """What to do about a database that refuses what is written to it."""
    told = error if isinstance(error, sa.exc.StatementError) else error.__cause__
    column = re.search(r"Data too long for column '(\w+)'", str(error) if told is None else str(told))
    table = re.match(r"\s*(?:INSERT INTO|UPDATE) (\w+)", getattr(told, "statement", None) or "")
    if column and table:  # made by another version, or by Optuna, whose texts end there after 65,535 bytes
        return f"make room with the statement ALTER TABLE {table[1]} MODIFY {column[1]} LONGTEXT"
    return "mend that"


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
