"""Databases as storages: opened without a change before they are known to be Optuna's, written in whole batches.

Optuna's public calls cost a transaction each; its tables are written here, through its models of them (this is why the
Optuna version has an upper bound).
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import exc as sa_exc
from sqlalchemy import orm

from search_spaces.errors import UserError
from studies.storage.backend import Backend, Cell, Ids, Nothing, Renew
from studies.storage.refusals import told_in_one_line
from studies.storage.rows import Batch, ids_of, write_in_one_transaction
from studies.storage.sqlite import SqliteFile
from studies.storage.url import SQLITE, backend, rendered

# a server that is cut off is noticed within a minute, not when the system gives the connection up
_LIBPQ = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 4,
          "tcp_user_timeout": 40_000}  # fmt: skip
_ATTRIBUTE = models.StudyUserAttributeModel
_OLDEST = "v0.9.0.a"  # of the schemas that have a number
_MARK = sa.table("alembic_version", sa.column("version_num"))  # where the number is


class Rdb(Backend, RDBStorage):
    """A database whose tables are there.

    Args:
        url: As SQLAlchemy takes it.
        options: Of SQLAlchemy's engine.
        discard: Is called when nobody reads it any more.
    """

    atomic = True

    def __init__(self, url: str, options: Mapping[str, Any], discard: Callable[[], object] = lambda: None) -> None:
        self._discard = discard
        # Optuna takes the URL for a template of str.format
        template = url.replace("{", "{{").replace("}", "}}")
        super().__init__(template, dict(options), skip_compatibility_check=True, skip_table_creation=True)

    @contextmanager
    def _transaction(self) -> Iterator[orm.Session]:
        with self.scoped_session() as session, session.begin():
            yield session

    def read(self, cell: Cell) -> str | None:
        """Return what stands in a cell."""
        with self._transaction() as session:
            return _Cells(session).read(cell)

    def exchange(self, cell: Cell, before: str | None, after: str) -> bool:
        """Put ``after`` where ``before`` stands, in one statement."""
        try:
            with self._transaction() as session:
                return _Cells(session).exchange(cell, before, after)
        except sa_exc.IntegrityError:  # two insert at once
            return False

    def write(self, batch: Batch, ids: Ids, renew: Renew, kept: Mapping[Cell, Any], *, again: bool) -> None:
        """Write ``batch`` and renew the lease in one transaction."""
        with self._transaction() as session:
            cells = _Cells(session)
            if renew(cells):
                created = ids_of(session, batch)
            else:
                created = write_in_one_transaction(session, batch, ids)
                for cell, value in kept.items():
                    cells.set(cell, json.dumps(value))
        ids.update(created)

    def set_everywhere(self, study_ids: Sequence[int], name: str, value: Any) -> None:
        """Give studies another user attribute in one statement."""
        with self._transaction() as session:
            _update(session, [_ATTRIBUTE.study_id.in_(study_ids), _ATTRIBUTE.key == name], json.dumps(value))

    def forget_connections(self) -> None:
        """Give up the connections of this thread, and those that wait for the next."""
        try:
            self.remove_session()
        finally:
            self.engine.dispose()

    def close(self) -> None:
        """Give the connections back, and remove what was made to read by."""
        super().close()
        self._discard()


class _Cells:
    """Rows of Optuna's table of study attributes, exchanged by one conditional statement."""

    def __init__(self, session: orm.Session) -> None:
        self._session = session

    def read(self, cell: Cell) -> str | None:
        text: str | None = self._session.scalar(sa.select(_ATTRIBUTE.value_json).where(*_is(cell)))
        return text

    def exchange(self, cell: Cell, before: str | None, after: str) -> bool:
        if before is not None:
            return _update(self._session, [*_is(cell), _ATTRIBUTE.value_json == before], after) == 1
        values = {"study_id": cell.study_id, "key": cell.name, "value_json": after}
        self._session.execute(sa.insert(_ATTRIBUTE).values(values))
        return True

    def set(self, cell: Cell, text: str) -> None:
        """Put ``text`` into a cell, whatever stands there."""
        if not _update(self._session, _is(cell), text):
            self.exchange(cell, None, text)


def _is(cell: Cell) -> list[sa.ColumnElement[bool]]:
    return [_ATTRIBUTE.study_id == cell.study_id, _ATTRIBUTE.key == cell.name]


def _update(session: orm.Session, where: Sequence[sa.ColumnElement[bool]], text: str) -> int:
    """Put ``text`` into rows of study attributes; return how many there are."""
    statement = sa.update(_ATTRIBUTE).where(*where).values(value_json=text)
    changed: int = session.execute(statement.execution_options(synchronize_session=False)).rowcount  # type: ignore[attr-defined]
    return changed


# ------------------------------------------------------------------------------------------------ opened


def open_storage(url: sa.URL, shown: str, *, create: bool, read_only: bool) -> Backend:
    """Open a database; see :func:`studies.storage.database.open_storage`."""
    with told_in_one_line(shown, url), ExitStack() as undo:
        file = SqliteFile(url, shown, create=create) if _is_file(url, shown) else None
        target, options, reading = rendered(url), *_options(url, file)
        discard = (lambda: None) if file is None else file.discard
        undo.callback(discard)
        made = not (file is not None and file.is_empty) and _has_tables(_engine(target, reading), shown)
        if not made and read_only:
            return Nothing()
        if not (made or create):
            raise UserError(f"storage '{shown}' is empty; launch a campaign first, or name another with --storage")
        if not made:
            _make_tables(_engine(target, options))
        storage = Rdb(target, reading, discard) if read_only else Rdb(target, options)
        if read_only:
            undo.pop_all()
    if backend(url) == "postgresql":
        sa.event.listen(storage.engine, "connect", _limit_waiting)
        storage.engine.dispose()
    return storage


def check_settled(url: sa.URL, shown: str) -> None:
    """Refuse a file with a change that was begun; see :func:`studies.storage.database.check_settled`."""
    with told_in_one_line(shown, url):
        if _is_file(url, shown):
            SqliteFile(url, shown, create=False).check_settled()


def _is_file(url: sa.URL, shown: str) -> bool:
    """Return whether it is an SQLite file. Drivers that only a program with an event loop can use are refused."""
    if url.get_dialect().is_async:
        raise UserError(
            f"storage '{shown}' names a driver for asynchronous programs, {url.get_driver_name()}, which Optuna cannot "
            f"use; write {url.get_backend_name()}:… for the usual one"
        )
    return backend(url) == SQLITE


def _options(url: sa.URL, file: SqliteFile | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of an engine for who writes, and for who must not."""
    if file is not None:
        return file.writing, {} if file.is_empty else file.reading()
    if backend(url) != "postgresql":  # MySQL gives connections up that were idle
        return {"pool_pre_ping": True}, {"pool_pre_ping": True}
    options: dict[str, Any] = {}
    if url.get_driver_name() in ("psycopg", "psycopg2"):
        options = {"connect_args": {name: n for name, n in _LIBPQ.items() if name not in url.query}}
    return options, {**options, "execution_options": {"postgresql_readonly": True}}


def _engine(target: str, options: Mapping[str, Any]) -> sa.Engine:
    """Return an engine for a look: each connection is closed at once."""
    kept = {name: value for name, value in options.items() if name != "pool_pre_ping"}
    return sa.create_engine(target, poolclass=sa.NullPool, **kept)


def _limit_waiting(connection: Any, _record: object) -> None:
    """Do not wait for what a connection that was cut off had locked, until the server gives it up two hours later."""
    cursor = connection.cursor()
    cursor.execute("SET lock_timeout = '15s'")
    cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    cursor.close()
    connection.commit()


# ------------------------------------------------------------------------------------------------ tables


def _has_tables(engine: sa.Engine, shown: str) -> bool:
    """Return whether a database has the tables of the installed Optuna; otherwise it has none, or not all of them yet.

    Args:
        engine: With connections that need not be able to write.
        shown: The URL as an error may show it.

    Raises:
        UserError: The database is another program's, or its tables are of another version of Optuna.
    """
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
    """Refuse tables of another Optuna version than the installed one."""
    needed, known = _schemas()
    if there == needed:
        return
    if older := there in known:
        remedy = f"bring them up to date with: {_upgrade_command(shown)}"
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
    """Return the schema that the installed Optuna needs, and all that it knows how to bring up to date."""
    from optuna.storages import _rdb

    script = ScriptDirectory(str(Path(_rdb.__path__[0]) / "alembic"))
    return str(script.get_current_head()), frozenset(one.revision for one in script.walk_revisions())


def _upgrade_command(shown: str) -> str:
    """Return what brings a storage up to date: Optuna of this environment, which need not be what a shell finds."""
    beside = Path(sys.executable).with_name("optuna")
    found = shutil.which("optuna")
    if not beside.exists() or (found is not None and Path(found).resolve() == beside.resolve()):
        program = "optuna"
    else:
        here = Path.cwd()
        program = str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
    return shlex.join([program, "storage", "upgrade", "--storage", shown])


def _make_tables(engine: sa.Engine) -> None:
    """Make those of Optuna's tables that are not there."""
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
