"""Trials on their way to the database: one background thread writes all that is pending in one transaction.

The driver is the only writer, so what it holds in memory is the truth while it lives, and the database follows. A trial
is visible as RUNNING with its latest value while it trains, and no transaction ever holds up the training. While the
database is away, results wait here.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import exc as sa_exc
from sqlalchemy import orm

from studies.errors import UserError
from studies.ledger._database import REFUSALS, first_line, refused
from studies.ledger._journal import JournalFile
from studies.ledger._lease import HEARTBEAT_SECONDS, Lease
from studies.safekeeping import Safekeeping

FLUSH_SECONDS = 0.25  # how long results may wait for company in one transaction
FIRST_PAUSE_SECONDS = 0.25  # before the second try of a database that refuses; then twice as long, and so on
LONGEST_PAUSE_SECONDS = 10.0
FOLDER = "checkpoints"  # attribute of a study
# refusals that may be over a moment later: a server that restarts or fails over, a full disk, a lock
_PASSING = (sa_exc.OperationalError, sa_exc.InterfaceError, sa_exc.InternalError, OSError)


@dataclass
class _Pending:
    """What the database does not know yet of one trial."""

    trial: FrozenTrial | None = None  # to be created, RUNNING
    values: dict[int, float] = field(default_factory=dict)  # by epoch
    end: FrozenTrial | None = None
    checkpoint: str | None = None  # that is not needed any more when this is written


Key = tuple[int, int]
"""Study id and number of a trial."""

Batch = Mapping[Key, _Pending]


class TrialWriter:
    """Writes trials behind the driver's back, and renews its lease while it does and every few seconds.

    A batch that fails is tried again, after pauses that grow, until the storage's timeout; meanwhile results gather,
    and :attr:`trouble` says why. Each batch arrives once: also when the connection breaks during a commit.

    Args:
        storage: Optuna's storage. Its public calls cost a transaction each; for an RDB the same statements are put into
            one session by ``RDBStorage``'s own building blocks (this is why the Optuna version has an upper bound).
        shown: the storage's URL as an error may show it.
        lease: of this driver.
        safekeeping: how long to try, and where checkpoints are: that of a trial is removed once its end is written.
        kept: what else is kept up to date with each renewal: user attributes of the first study, by name.

    Raises:
        UserError: from any method, once a write failed for good: what is in the database is whole, the rest is lost.
    """

    def __init__(
        self,
        storage: BaseStorage,
        shown: str,
        lease: Lease,
        safekeeping: Safekeeping,
        kept: Callable[[], Mapping[str, Any]] = dict,
        kept_on: int | None = None,
    ) -> None:
        self._storage, self._shown, self._lease, self._safekeeping = storage, shown, lease, safekeeping
        self._kept, self._kept_on = kept, kept_on
        self._ids: dict[Key, int] = {}
        self._pending: dict[Key, _Pending] = {}  # in the order in which trials were created
        self._condition = threading.Condition()
        self._writing = False
        self._closed = False  # no more will come
        self._given_up = False  # what is pending need not be written
        self._batches = 0
        self._error: BaseException | None = None
        self._trouble: tuple[float, str] | None = None
        self._thread = threading.Thread(target=self._run, name="trial-writer", daemon=True)
        self._thread.start()

    def known(self, study_id: int, number: int, trial_id: int) -> None:
        """Says that trial ``number`` is in the database already, as ``trial_id``."""
        self._ids[study_id, number] = trial_id

    def folder(self, study_id: int) -> str:
        """What the folder with a study's checkpoints is called, the same for ever; empty where there are none."""
        if self._safekeeping.checkpoints is None:
            return ""
        found = self._storage.get_study_user_attrs(study_id).get(FOLDER)
        if not found:
            found = uuid.uuid4().hex  # names of studies may come again, in another database
            self._storage.set_study_user_attr(study_id, FOLDER, found)
        return str(found)

    def sweep(self, folder: str, keep: Collection[int]) -> None:
        """Removes the checkpoints of a study that belong to none of these trials."""
        if self._safekeeping.checkpoints is not None and folder:
            self._safekeeping.checkpoints.sweep(folder, keep)

    def start(self, study_id: int, trial: FrozenTrial) -> None:
        """Creates ``trial`` (RUNNING, with its parameters and attributes)."""
        with self._change(study_id, trial.number) as pending:
            pending.trial = trial

    def value(self, study_id: int, number: int, epoch: int, value: float) -> None:
        """Sets an intermediate value of a running trial."""
        with self._change(study_id, number) as pending:
            pending.values[epoch] = value

    def finish(self, study_id: int, trial: FrozenTrial, checkpoint: str | None = None) -> None:
        """Ends a running trial: state, value and new attributes of ``trial``. Its epochs went through :meth:`value`.

        ``checkpoint`` names one that nobody needs once this is written.
        """
        with self._change(study_id, trial.number) as pending:
            pending.end = trial
            pending.checkpoint = checkpoint

    @contextmanager
    def _change(self, study_id: int, number: int) -> Iterator[_Pending]:
        with self._condition:
            self._raise_error()
            yield self._pending.setdefault((study_id, number), _Pending())
            self._condition.notify_all()

    @property
    def trouble(self) -> str | None:
        """Why results wait in memory, in words; ``None`` while the database takes them."""
        with self._condition:
            if self._trouble is None:
                return None
            since, reason = self._trouble
            return (
                f"storage '{self._shown}' does not answer for {time.monotonic() - since:.0f} s ({reason}); results are "
                f"kept in memory, it is asked again until --storage-timeout, {self._safekeeping.storage_timeout:g} s"
            )

    def check(self) -> None:
        """Raises what ended the writing, if anything did."""
        with self._condition:
            self._raise_error()

    @property
    def up_to_date(self) -> bool:
        """Whether the database has all that was given to be written."""
        with self._condition:
            return not (self._error or self._given_up or self._pending or self._writing)

    def flush(self) -> None:
        """Returns when all is written."""
        with self._condition:
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._error or not (self._pending or self._writing))
            self._raise_error()

    def close(self) -> None:
        """Writes the rest and stops the thread; when that is interrupted, the rest is given up."""
        try:
            self.flush()
        except BaseException:
            with self._condition:
                self._given_up = True
            raise
        finally:
            with self._condition:
                self._closed = True
                self._condition.notify_all()
            self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    # ------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        try:
            while self._write_next():
                pass
        except BaseException as error:
            with self._condition:
                self._error = error
                self._writing = False
                self._condition.notify_all()
        finally:
            with suppress(*REFUSALS):
                self._storage.remove_session()

    def _write_next(self) -> bool:
        """Waits for something to write, or until the lease is to be renewed, and writes; says whether more may come."""
        with self._condition:
            self._condition.wait_for(lambda: self._pending or self._closed, timeout=HEARTBEAT_SECONDS)
            if self._closed and (self._given_up or not self._pending):
                return False
            batch, self._pending = self._pending, {}
            self._writing = True
            self._batches += 1
        written = self._write_patiently(batch)
        with self._condition:
            self._writing = False
            self._condition.notify_all()
        if not written:
            return False
        if self._safekeeping.checkpoints is not None:
            for pending in batch.values():
                if pending.checkpoint:
                    self._safekeeping.checkpoints.remove(pending.checkpoint)
        with self._condition:
            self._condition.wait_for(lambda: self._closed, timeout=FLUSH_SECONDS)
        return True

    def _write_patiently(self, batch: Batch) -> bool:
        """Writes ``batch``, again and again for a while; returns whether it is written, not given up."""
        began, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                self._write(batch)
            except REFUSALS as error:
                self._forget_connections()
                waited = time.monotonic() - began
                if not _is_passing(error) or waited >= self._safekeeping.storage_timeout:
                    raise refused(self._shown, error, waited) from error
                with self._condition:
                    self._trouble = (began, first_line(error))
                    if self._condition.wait_for(
                        lambda: self._given_up, min(pause, self._safekeeping.storage_timeout - waited)
                    ):
                        return False
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                with self._condition:
                    self._trouble = None
                return True

    def _forget_connections(self) -> None:
        """Connections that broke are not used again, and nothing follows a line that is torn."""
        with suppress(*REFUSALS):
            self._storage.remove_session()
        with suppress(*REFUSALS):
            if isinstance(self._storage, RDBStorage):
                self._storage.engine.dispose()
            elif isinstance(self._storage, JournalFile):
                self._storage.mend()

    def _write(self, batch: Batch) -> None:
        kept = self._kept()
        if not isinstance(self._storage, RDBStorage):
            if not self._lease.renew(self._batches):
                write_by_public_calls(self._storage, batch, self._ids)
                for name, value in kept.items():
                    self._storage.set_study_user_attr(self._kept_on or 0, name, value)
            return
        with self._storage.scoped_session() as session, session.begin():
            if self._lease.renew(self._batches, session):
                found = _ids_of(session, batch)
            else:
                found = write_in_one_transaction(self._storage, session, batch, self._ids)
                for name, value in kept.items():
                    _set_attribute(session, self._kept_on, name, value)
        self._ids.update(found)


def _is_passing(error: BaseException) -> bool:
    """Whether a refusal may be over a moment later; Optuna wraps those that its own calls meet."""
    return isinstance(error, _PASSING) or isinstance(error.__cause__, _PASSING)


def _ids_of(session: orm.Session, batch: Batch) -> dict[Key, int]:
    """The ids of the trials that ``batch`` created, which is in the database."""
    found = {}
    for (study_id, number), pending in batch.items():
        if pending.trial is not None:
            row = models.TrialModel
            chosen = sa.select(row.trial_id).where(row.study_id == study_id, row.number == number)
            found[study_id, number] = int(session.execute(chosen).scalar_one())
    return found


def _set_attribute(session: orm.Session, study_id: int | None, name: str, value: Any) -> None:
    row = models.StudyUserAttributeModel
    found = session.query(row).filter(row.study_id == study_id, row.key == name).one_or_none()
    if found is None:
        session.add(row(study_id=study_id, key=name, value_json=json.dumps(value)))
    else:
        found.value_json = json.dumps(value)


def write_in_one_transaction(
    storage: RDBStorage, session: orm.Session, batch: Batch, ids: Mapping[Key, int]
) -> dict[Key, int]:
    """Puts ``batch`` into ``session``; returns the ids of the trials that it creates.

    Optuna's own setters search for a row before they add it, which takes most of their time. Here an epoch's value
    comes once, and an attribute that is there stays as it is.
    """
    created: dict[Key, int] = {}
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
            raise _ended_elsewhere(number)
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
    return created


def write_by_public_calls(storage: BaseStorage, batch: Batch, ids: dict[Key, int]) -> None:
    """Writes ``batch`` to a storage without transactions; what an attempt that failed has written is passed over."""
    for key, pending in batch.items():
        study_id, number = key
        if pending.trial is not None and key not in ids:
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
        try:
            storage.set_trial_state_values(trial_id, end.state, None if end.value is None else [end.value])
        except optuna.exceptions.UpdateFinishedTrialError:
            raise _ended_elsewhere(number) from None


def _ended_elsewhere(number: int) -> UserError:
    return UserError(f"another program ended trial {number} of this campaign; stop it and launch again")


def _check_number(found: int, expected: int) -> None:
    if found != expected:
        raise UserError(
            f"another program adds trials to a study of this campaign (number {found} came where {expected} was next); "
            "stop it and launch again"
        )
