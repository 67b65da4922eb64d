"""The database: opened with clear errors, written by one background thread in few transactions.

The driver is the only writer, so what it holds in memory is the truth while it lives, and the database follows: a
thread takes all that is pending and commits it at once. A trial is visible as RUNNING with its latest value while it
trains, and no transaction ever holds up the training.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc as sa_exc

from studies.errors import UserError
from studies.ledger._opening import check_schema, check_sqlite, first_line, prepare_tables, remedy_for

_FLUSH_SECONDS = 0.25  # how long results may wait for company in one transaction
RETRY_SECONDS = 60.0  # how long a database that refuses (a full disk, a lock, a server that restarts) is asked again
_PAUSE_SECONDS = 1.0  # between two tries
_CONNECT_SECONDS = 10  # for a server to answer, at each of its addresses; the system's own patience is minutes
REFUSALS = (sa_exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
_PASSING = (sa_exc.OperationalError, sa_exc.InterfaceError)  # refusals that may be over a moment later


def hide_password(url: str) -> str:
    """``url`` as it may be shown: passwords as ``***``, also those among the options."""
    try:
        parsed = _parse(url)
    except sa_exc.ArgumentError:
        return url.split("@")[-1]
    if "@" in (parsed.host or ""):  # of a password with an @ that was not written %40
        parsed = parsed.set(host=str(parsed.host).rpartition("@")[2])
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
        url: for example ``sqlite:///sofim.db`` or ``postgresql+psycopg://user:password@host/name``.
        create: whether a SQLite file that is not there may be made; otherwise it is an error.

    Raises:
        UserError: the URL cannot be read, the driver is missing, or the database cannot be opened.
    """
    shown = hide_password(url)
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
        options = {"connect_args": {"timeout": 60}}  # seconds to wait for a reader's lock
    elif parsed.get_backend_name() == "postgresql" and "connect_timeout" not in parsed.query:
        options = {"connect_args": {"connect_timeout": _CONNECT_SECONDS}}
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
    return storage


def close_storage(storage: BaseStorage) -> None:
    """Gives the connections of ``storage`` back."""
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def refused(shown: str, error: BaseException) -> UserError:
    """The error for a storage, shown as ``shown``, that was opened and then answered with ``error``."""
    return UserError(
        f"storage '{shown}' refuses: {first_line(error)}; mend that and run the same command again: "
        "every trial that it has counts, the others are asked again"
    )


@dataclass
class _Pending:
    """What the database does not know yet of one trial."""

    trial: FrozenTrial | None = None  # to be created, RUNNING
    values: dict[int, float] = field(default_factory=dict)  # by epoch
    end: FrozenTrial | None = None


class TrialWriter:
    """Writes trials behind the driver's back, all pending ones in one transaction.

    Args:
        storage: Optuna's storage. Its public calls cost a transaction each; for an RDB the same statements are put into
            one session by ``RDBStorage``'s own building blocks (this is why the Optuna version has an upper bound).
        shown: the storage's URL as an error may show it.

    Raises:
        UserError: from any method, once a write failed for good: what is in the database is whole, the rest is lost.
    """

    def __init__(self, storage: BaseStorage, shown: str) -> None:
        self._storage = storage
        self._shown = shown
        self._ids: dict[tuple[int, int], int] = {}  # (study_id, number) -> trial_id
        self._pending: dict[tuple[int, int], _Pending] = {}  # in the order in which trials were created
        self._condition = threading.Condition()
        self._writing = False
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="trial-writer", daemon=True)
        self._thread.start()

    def known(self, study_id: int, number: int, trial_id: int) -> None:
        """Says that trial ``number`` is in the database already, as ``trial_id``."""
        self._ids[study_id, number] = trial_id

    def start(self, study_id: int, trial: FrozenTrial) -> None:
        """Creates ``trial`` (RUNNING, with its parameters and attributes)."""
        with self._change(study_id, trial.number) as pending:
            pending.trial = trial

    def value(self, study_id: int, number: int, epoch: int, value: float) -> None:
        """Sets an intermediate value of a running trial."""
        with self._change(study_id, number) as pending:
            pending.values[epoch] = value

    def finish(self, study_id: int, trial: FrozenTrial) -> None:
        """Ends a running trial: state, value and new attributes of ``trial``. Its epochs went through :meth:`value`."""
        with self._change(study_id, trial.number) as pending:
            pending.end = trial

    @contextmanager
    def _change(self, study_id: int, number: int) -> Iterator[_Pending]:
        with self._condition:
            self._raise_error()
            yield self._pending.setdefault((study_id, number), _Pending())
            self._condition.notify_all()

    def flush(self) -> None:
        """Returns when all is written."""
        with self._condition:
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._error or not (self._pending or self._writing))
            self._raise_error()

    def close(self) -> None:
        """Writes the rest and stops the thread."""
        try:
            self.flush()
        finally:
            with self._condition:
                self._closed = True
                self._condition.notify_all()
            self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._write_until_closed()
        finally:
            self._storage.remove_session()

    def _write_until_closed(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._pending or self._closed)
                if not self._pending:
                    return
                batch, self._pending = self._pending, {}
                self._writing = True
            try:
                self._write_patiently(batch)
            except BaseException as error:
                with self._condition:
                    self._error = error
                    self._writing = False
                    self._condition.notify_all()
                return
            with self._condition:
                self._writing = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._closed, timeout=_FLUSH_SECONDS)

    def _write_patiently(self, batch: Mapping[tuple[int, int], _Pending]) -> None:
        """Writes ``batch``, again and again for a while; a transaction that failed left nothing behind."""
        began = time.monotonic()
        while True:
            try:
                self._write(batch)
                return
            except REFUSALS as error:
                self._storage.remove_session()
                if isinstance(error, _PASSING) and time.monotonic() - began < RETRY_SECONDS:
                    time.sleep(_PAUSE_SECONDS)
                    continue
                raise refused(self._shown, error) from error

    def _write(self, batch: Mapping[tuple[int, int], _Pending]) -> None:
        if isinstance(self._storage, RDBStorage):
            _write_in_one_transaction(self._storage, batch, self._ids)
        else:
            _write_by_public_calls(self._storage, batch, self._ids)


def _write_in_one_transaction(
    storage: RDBStorage, batch: Mapping[tuple[int, int], _Pending], ids: dict[tuple[int, int], int]
) -> None:
    """Writes ``batch`` or, when it raises, nothing.

    Optuna's own setters search for a row before they add it, which takes most of their time. Here an epoch's value
    comes once, and an attribute that is there stays as it is.
    """
    from optuna.storages._rdb import models

    created: dict[tuple[int, int], int] = {}
    with storage.scoped_session() as session, session.begin():
        for key, pending in batch.items():
            study_id, number = key
            if pending.trial is not None:
                row: Any = storage._get_prepared_new_trial(study_id, pending.trial, session)
                session.flush()
                _check_number(row.number, number)
                created[key] = row.trial_id
            trial_id = created.get(key) or ids[key]
            finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
            for epoch, value in pending.values.items():
                session.add(
                    models.TrialIntermediateValueModel(
                        trial_id=trial_id, step=epoch, intermediate_value=value, intermediate_value_type=finite
                    )
                )
            end = pending.end
            if end is None:
                continue
            row = models.TrialModel.find_or_raise_by_id(trial_id, session)
            if row.state.is_finished():
                raise UserError(f"another program ended trial {number} of this campaign; stop it and launch again")
            for model, there, attributes in (
                (models.TrialUserAttributeModel, row.user_attributes, end.user_attrs),
                (models.TrialSystemAttributeModel, row.system_attributes, end.system_attrs),
            ):
                names = {attribute.key for attribute in there}
                for name, entry in attributes.items():
                    if name not in names:
                        session.add(model(trial_id=trial_id, key=name, value_json=json.dumps(entry)))
            if end.value is not None:
                storage._set_trial_value_without_commit(session, row, 0, end.value)
            row.state = end.state
            row.datetime_complete = end.datetime_complete or datetime.now()
    ids.update(created)


def _write_by_public_calls(
    storage: BaseStorage, batch: Mapping[tuple[int, int], _Pending], ids: dict[tuple[int, int], int]
) -> None:
    for key, pending in batch.items():
        study_id, number = key
        if pending.trial is not None:
            ids[key] = storage.create_new_trial(study_id, template_trial=pending.trial)
            _check_number(storage.get_trial_number_from_id(ids[key]), number)
        trial_id = ids[key]
        end = pending.end
        for epoch, value in pending.values.items():
            storage.set_trial_intermediate_value(trial_id, epoch, value)
        if end is None:
            continue
        for name, value in end.user_attrs.items():
            storage.set_trial_user_attr(trial_id, name, value)
        for name, value in end.system_attrs.items():
            storage.set_trial_system_attr(trial_id, name, value)
        storage.set_trial_state_values(trial_id, end.state, None if end.value is None else [end.value])


def _check_number(found: int, expected: int) -> None:
    if found != expected:
        raise UserError(
            f"another program adds trials to a study of this campaign (number {found} came where {expected} was next); "
            "stop it and launch again"
        )


def find_study(storage: BaseStorage, name: str) -> int | None:
    """The id of the study ``name``, or ``None``."""
    try:
        return storage.get_study_id_from_name(name)
    except KeyError:
        return None


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
