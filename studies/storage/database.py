"""The database: opened with clear errors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc as sa_exc

from search_spaces.errors import UserError
from studies.storage.opening import first_line, has_tables, make_tables, open_journal, remedy_for, remedy_for_writing
from studies.storage.sqlite import SqliteFile
from studies.storage.url import JOURNAL, SQLITE, backend, hide_password, parse, rendered

# a server that is cut off is noticed within a minute, not when the system gives the connection up
_LIBPQ = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 4,
          "tcp_user_timeout": 40_000}  # fmt: skip
REFUSALS = (sa_exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


class _Storage(RDBStorage):
    """Optuna's, for a database whose tables are there.

    Attributes:
        discard: to be called when nobody reads it any more.
    """

    def __init__(self, url: str, options: Mapping[str, Any], discard: Callable[[], object] = lambda: None) -> None:
        self.discard = discard
        # Optuna takes the URL for a template of str.format
        template = url.replace("{", "{{").replace("}", "}}")
        super().__init__(template, dict(options), skip_compatibility_check=True, skip_table_creation=True)


def open_storage(url: str, *, create: bool = True, read_only: bool = False) -> BaseStorage:
    """Optuna's storage at a SQLAlchemy ``url``, to be closed; nothing is written before it is known to be one.

    Args:
        url: for example ``sqlite:///sofim.db`` or ``postgresql+psycopg://user:password@host/name``; or
            ``journal:///sofim.log`` for Optuna's journal file.
        create: whether a file that is not there may be made, and tables where there are none; otherwise it is an error.
        read_only: whether it is only read. Then nothing of it changes, in whatever state a program that was cut off
            has left it: what is read may be a copy and, where nothing is in it yet, a storage in memory.

    Raises:
        UserError: the URL cannot be read, the driver is missing, or the database cannot be opened.
    """
    shown = hide_password(url)
    parsed = parse(url)
    create = create and not read_only
    if backend(parsed) == JOURNAL:
        return open_journal(parsed, shown, create=create)
    with _told(shown, parsed):
        file = SqliteFile(parsed, shown, create=create) if _is_file(parsed, shown) else None
        storage = _open(parsed, file, shown, create=create, read_only=read_only)
    if backend(parsed) == "postgresql" and isinstance(storage, RDBStorage):
        sa.event.listen(storage.engine, "connect", _limit_waiting)
        storage.engine.dispose()
    return storage


def check_settled(url: str) -> None:
    """Refuses a storage with a change that was begun and neither finished nor undone, as who writes would undo it.

    Raises:
        UserError: it is one, or the file is not there.
    """
    shown = hide_password(url)
    parsed = parse(url)
    with _told(shown, parsed):
        if backend(parsed) != JOURNAL and _is_file(parsed, shown):
            SqliteFile(parsed, shown, create=False).check_settled()


def _is_file(url: sa.URL, shown: str) -> bool:
    """Whether it is an SQLite file. Drivers that only a program with an event loop can use are refused."""
    if url.get_dialect().is_async:
        raise UserError(
            f"storage '{shown}' names a driver for asynchronous programs, {url.get_driver_name()}, which Optuna cannot "
            f"use; write {url.get_backend_name()}:… for the usual one"
        )
    return backend(url) == SQLITE


def _open(url: sa.URL, file: SqliteFile | None, shown: str, *, create: bool, read_only: bool) -> BaseStorage:
    options: dict[str, Any] = {}
    reading: dict[str, Any] = {}
    if file is not None:
        options, reading = file.writing, {} if file.is_empty else file.reading()
    elif backend(url) == "postgresql":
        if url.get_driver_name() in ("psycopg", "psycopg2"):
            options = {"connect_args": {name: n for name, n in _LIBPQ.items() if name not in url.query}}
        reading = {**options, "execution_options": {"postgresql_readonly": True}}
    else:
        options = reading = {"pool_pre_ping": True}  # MySQL gives connections up that were idle
    target = rendered(url)
    discard = (lambda: None) if file is None else file.discard
    with ExitStack() as undo:
        undo.callback(discard)
        if not (file is not None and file.is_empty) and has_tables(_engine(target, reading), shown):
            if read_only:
                storage = _Storage(target, reading, discard)
                undo.pop_all()
                return storage
        elif read_only:
            return InMemoryStorage()
        elif not create:
            raise UserError(f"storage '{shown}' is empty; launch a campaign first, or name another with --storage")
        else:
            make_tables(_engine(target, options))
    return _Storage(target, options)


def _engine(target: str, options: Mapping[str, Any]) -> sa.Engine:
    """For a look: each connection is closed at once."""
    kept = {name: value for name, value in options.items() if name != "pool_pre_ping"}
    return sa.create_engine(target, poolclass=sa.NullPool, **kept)


@contextmanager
def _told(shown: str, url: sa.URL) -> Iterator[None]:
    """Errors of a database that is opened, in one line."""
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


def _limit_waiting(connection: Any, _record: object) -> None:
    """What a connection that was cut off had locked is not waited for until the server gives it up, two hours later."""
    cursor = connection.cursor()
    cursor.execute("SET lock_timeout = '15s'")
    cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    cursor.close()
    connection.commit()


def close_storage(storage: BaseStorage) -> None:
    """Gives the connections of ``storage`` back."""
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()
    if isinstance(storage, _Storage):
        storage.discard()


def refused(shown: str, error: BaseException, waited: float = 0.0) -> UserError:
    """The error for a storage, shown as ``shown``, that was opened and answered with ``error``, for ``waited`` s."""
    since = f" for {waited:.0f} s" if waited >= 1 else ""
    return UserError(
        f"storage '{shown}' refuses{since}: {first_line(error)}; {remedy_for_writing(error)} and run the same command "
        "again: every trial that it has counts, the others are asked again"
    )


def find_study(storage: BaseStorage, name: str) -> int | None:
    """The id of the study ``name``, or ``None``."""
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        return None


def set_everywhere(storage: BaseStorage, study_ids: Sequence[int], name: str, value: Any) -> None:
    """Gives studies the same user attribute, all of them or, where the storage has transactions, none."""
    if not isinstance(storage, RDBStorage):
        for study_id in study_ids:
            storage.set_study_user_attr(study_id, name, value)
        return
    from optuna.storages._rdb import models

    row = models.StudyUserAttributeModel
    with storage.scoped_session() as session, session.begin():
        session.execute(
            sa.update(row)
            .where(row.study_id.in_(study_ids), row.key == name)
            .values(value_json=json.dumps(value))
            .execution_options(synchronize_session=False)
        )


def running_template(
    number: int,
    params: Mapping[str, Any],
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    user_attrs: Mapping[str, Any],
) -> FrozenTrial:
    """A RUNNING trial that starts now."""
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        values=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs=dict(user_attrs),
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )
