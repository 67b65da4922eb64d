"""The database: opened with clear errors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc as sa_exc

from studies.errors import UserError
from studies.ledger._journal import SCHEME
from studies.ledger._opening import check_schema, check_sqlite, first_line, open_journal, prepare_tables, remedy_for

# a server that is cut off is noticed within a minute, not when the system gives the connection up
_LIBPQ = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 4,
          "tcp_user_timeout": 40_000}  # fmt: skip
REFUSALS = (sa_exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


def hide_password(url: str) -> str:
    """``url`` as it may be shown: passwords as ``***``, also those among the options."""
    try:
        parsed = _parse(url)
    except sa_exc.ArgumentError:
        if "@" in url:
            return url.rpartition("@")[2].partition("?")[0]
        return f"{url.partition(':')[0]}:***" if ":" in url else url  # a host was forgotten
    if "@" in (parsed.host or ""):  # of a password with an @ that was not written %40
        parsed = parsed.set(host=str(parsed.host).rpartition("@")[2])
    if "@" in (parsed.database or "") and parsed.host:  # and with a /
        host, _, database = str(parsed.database).rpartition("@")[2].partition("/")
        parsed = parsed.set(host=host, database=database, port=None)
    secret = {name: "***" for name in parsed.query if "pass" in name.lower() or "pwd" in name.lower()}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def _parse(url: str) -> sa.engine.URL:
    try:
        return sa.engine.make_url(url)
    except ValueError as error:  # a port that is no number
        raise sa_exc.ArgumentError(str(error)) from None


def open_storage(url: str, *, create: bool = True) -> BaseStorage:
    """Optuna's storage at a SQLAlchemy ``url``.

    Args:
        url: for example ``sqlite:///sofim.db`` or ``postgresql+psycopg://user:password@host/name``; or
            ``journal:///sofim.log`` for Optuna's journal file.
        create: whether a file that is not there may be made; otherwise it is an error.

    Raises:
        UserError: the URL cannot be read, the driver is missing, or the database cannot be opened.
    """
    shown = hide_password(url)
    if url.startswith(SCHEME):
        return open_journal(url.removeprefix(SCHEME), shown, create=create)
    try:
        parsed = _parse(url)
    except sa_exc.ArgumentError:
        raise UserError(
            f"storage '{shown}' is not a database URL; write for example sqlite:///sofim.db "
            "or postgresql+psycopg://user@host/name"
        ) from None
    options: dict[str, Any] = {}
    if parsed.get_backend_name() == "sqlite":
        check_sqlite(parsed.database, shown, create=create)
        options = {"connect_args": {"timeout": 15}}  # seconds to wait for another program's lock, before it is said
    elif parsed.get_backend_name() == "postgresql" and parsed.get_driver_name() in ("psycopg", "psycopg2"):
        options = {"connect_args": {name: n for name, n in _LIBPQ.items() if name not in parsed.query}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", sa_exc.SAWarning)  # an option that would be ignored
            prepare_tables(url, options, shown)
        storage = RDBStorage(url, engine_kwargs=options, skip_compatibility_check=True)
    except (ImportError, sa_exc.NoSuchModuleError):
        remedy = "pip install 'psycopg[binary]'" if "postgres" in url else "install its SQLAlchemy driver"
        raise UserError(f"storage '{shown}' needs a database driver that is not installed; {remedy}") from None
    except (sa_exc.DatabaseError, optuna.exceptions.StorageInternalError) as error:
        reason = first_line(error)
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None
    except (TypeError, ValueError, sa_exc.SAWarning, sa_exc.ArgumentError) as error:  # options in the URL
        reason = first_line(error).split(";")[0]
        raise UserError(f"storage '{shown}' cannot be opened: {reason}; {remedy_for(reason)}") from None
    check_schema(storage, shown)
    if parsed.get_backend_name() == "postgresql":
        sa.event.listen(storage.engine, "connect", _limit_waiting)
        storage.engine.dispose()
    return storage


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


def refused(shown: str, error: BaseException, waited: float = 0.0) -> UserError:
    """The error for a storage, shown as ``shown``, that was opened and answered with ``error``, for ``waited`` s."""
    since = f" for {waited:.0f} s" if waited >= 1 else ""
    return UserError(
        f"storage '{shown}' refuses{since}: {first_line(error)}; mend that and run the same command again: "
        "every trial that it has counts, the others are asked again"
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
