"""Which refusals of a database may be over a moment later, and which will be the same however often it is asked.

Drivers raise OperationalError for a connection that broke, and for a right that is missing; so the numbers decide by
which databases tell what happened, and the kind of the exception only where there is none.
"""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy import exc as sa_exc

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
    """Whether a refusal may be over a moment later; Optuna wraps those that its own calls meet."""
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
