"""What a storage refuses, whether it is the same a moment later, and what is said of it, with a remedy, in one line."""

from __future__ import annotations

import errno
import re
import shlex
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from search_spaces.errors import UserError

_HEADER = 20  # bytes of an SQLite file that are looked at
REFUSALS = (sa_exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)

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


def remedy_for(reason: str) -> str:
    """Return what to do about a database that refuses for ``reason``.

    >>> remedy_for('database "trials" does not exist')
    'make it first: createdb trials, or name another with --storage'
    """
    for pattern, remedy in _REMEDIES:
        if found := re.search(pattern, reason):
            return remedy.format(*found.groups())
    return "mend that, or name another with --storage"


def remedy_for_writing(error: BaseException) -> str:
    """Return what to do about a database that refuses what is written to it."""
    told = error if isinstance(error, sa.exc.StatementError) else error.__cause__
    column = re.search(r"Data too long for column '(\w+)'", str(error) if told is None else str(told))
    table = re.match(r"\s*(?:INSERT INTO|UPDATE) (\w+)", getattr(told, "statement", None) or "")
    if column and table:  # made by another version, or by Optuna, whose texts end there after 65,535 bytes
        return f"make room with the statement ALTER TABLE {table[1]} MODIFY {column[1]} LONGTEXT"
    return "mend that"


def unreadable(shown: str, error: BaseException) -> UserError:
    """Return the error for a storage that was opened to look at it and then answered with ``error``."""
    reason = first_line(error)
    return UserError(f"storage '{shown}' cannot be read: {reason}; {remedy_for(reason)}")


def first_line(error: BaseException) -> str:
    """Return one line of what a database says: of PostgreSQL's, for each address it tried, the last is the reason."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    lines = [line.strip() for line in str(cause).strip().splitlines()] or [type(error).__name__]
    tried = [line for line in lines if line.startswith("- host: ")]
    line = re.sub(r"^- host: .*?(?=connection )", "", tried[-1]) if tried else lines[0]
    return line.removeprefix("connection failed: ").rpartition("FATAL:  ")[2]


def refused(shown: str, error: BaseException, waited: float = 0.0) -> UserError:
    """Return the error for a storage that was opened and answered with ``error``, for ``waited`` seconds."""
    since = f" for {waited:.0f} s" if waited >= 1 else ""
    return UserError(
        f"storage '{shown}' refuses{since}: {first_line(error)}; {remedy_for_writing(error)} and run the same command "
        "again: every trial that it has counts, the others are asked again"
    )


@contextmanager
def told_in_one_line(shown: str, url: sa.URL) -> Iterator[None]:
    """Say errors of a database that is opened in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", sa_exc.SAWarning)  # an option that would be ignored
            yield
    except (ImportError, sa_exc.NoSuchModuleError):
        if url.get_backend_name() == "postgres":  # as hosts of databases often have it
            again = shown.replace("postgres", "postgresql", 1)
            raise UserError(f"storage '{shown}': the scheme is written postgresql; write {again}") from None
        postgres = url.get_backend_name() == "postgresql"
        remedy = "pip install 'psycopg[binary]'" if postgres else "install its SQLAlchemy driver"
        raise UserError(f"storage '{shown}' needs a database driver that is not installed; {remedy}") from None
    except (sa_exc.DatabaseError, optuna.exceptions.StorageInternalError) as error:
        reason = first_line(error)
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None
    except (TypeError, ValueError, sa_exc.SAWarning, sa_exc.ArgumentError) as error:  # options in the URL
        reason = first_line(error).split(";")[0]
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None


def check_file(path: Path, shown: str, beginning: bytes, kind: str, *, create: bool) -> bytes:
    """Refuse what is no file of its kind, nor a place for one.

    Args:
        path: The file.
        shown: The URL as an error may show it.
        beginning: What a file of its kind begins with.
        kind: What it is, in words.
        create: Whether it may be missing.

    Returns:
        How it begins: nothing where it is missing, or empty.

    Raises:
        UserError: It is not.
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


def _check_place(path: Path, shown: str, *, create: bool) -> None:
    if not path.parent.is_dir():
        if path.parts[0].startswith("~"):
            raise UserError(
                f"storage '{shown}': {path.parts[0]} is not a home directory in a URL; write it out: "
                f"{shown.replace(str(path), str(_home(path)), 1)}"
            )
        made = shlex.join(["mkdir", "-p", str(path.parent)])
        raise UserError(f"storage '{shown}': there is no directory {path.parent}; make it first: {made}")
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


# ------------------------------------------------------------------------------------------------ for how long
#
# Drivers raise OperationalError for a connection that broke, and for a right that is missing; so the numbers decide by
# which databases tell what happened, and the kind of the exception only where there is none.

_KINDS = (sa_exc.OperationalError, sa_exc.InterfaceError, sa_exc.InternalError, OSError, RuntimeError)

# of a file
_LASTING_ERRORS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip
# of SQLite: a lock, a full disk, a disk that is away
_PASSING_SQLITE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_SCHEMA,
}  # fmt: skip
# of standard SQL, by their first two characters: connection, failover (the other server only reads at first),
# deadlock, resources such as disk space, locks, shutdown, the system
_PASSING_STATES = ("08", "25", "40", "53", "55", "57", "58")
# of MySQL and MariaDB: a right that is missing, a table or column, a value too long, too large or of the wrong kind,
# a packet or a row too large, a check
_LASTING_MYSQL = {
    1044, 1045, 1049, 1054, 1062, 1064, 1071, 1118, 1136, 1142, 1143, 1146, 1153, 1162, 1227, 1264, 1265, 1364,
    1366, 1370, 1406, 1698, 3140, 3819, 4025,
}  # fmt: skip


def is_passing(error: BaseException) -> bool:
    """Return whether a refusal may be over a moment later; Optuna wraps those that its own calls meet."""
    told = error if isinstance(error, _KINDS) else error.__cause__
    if not isinstance(told, _KINDS):
        return False
    if isinstance(told, OSError):
        return told.errno not in _LASTING_ERRORS
    reason = getattr(told, "orig", None)
    if isinstance(reason, sqlite3.Error):
        code = getattr(reason, "sqlite_errorcode", None)
        return code is None or code & 0xFF in _PASSING_SQLITE  # what is above says it more exactly
    state = getattr(reason, "sqlstate", None) or getattr(reason, "pgcode", None)
    if isinstance(state, str):
        return state.startswith(_PASSING_STATES)
    number = reason.args[0] if reason is not None and reason.args else None
    return not (isinstance(number, int) and number in _LASTING_MYSQL)
