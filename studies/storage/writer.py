"""Trials on their way to the database: one background thread writes all that is pending in one transaction.

The driver is the only writer, so what it holds in memory is the truth while it lives, and the database follows. A trial
is visible as RUNNING with its latest value while it trains, and no transaction ever holds up the training. While the
database is away, results wait here.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from analysis.schema import LOST
from search_spaces.errors import UserError
from studies.storage.backend import Backend, Cell
from studies.storage.database import running_template
from studies.storage.durability import Durability
from studies.storage.lease import HEARTBEAT_SECONDS, Lease
from studies.storage.refusals import REFUSALS, first_line, is_passing, refused
from studies.storage.rows import Batch, Key, Pending

FLUSH_SECONDS = 0.25  # how long ends of trials may wait for company in one transaction
SHOW_SECONDS = 1.0  # and what only shows how far they are
FIRST_PAUSE_SECONDS = 0.25  # before the second try of a database that refuses; then twice as long, and so on
LONGEST_PAUSE_SECONDS = 10.0
FOLDER = "checkpoints"  # attribute of a study
PLACE = "checkpoints_in"  # likewise: the directory with that folder


def new_folder() -> str:
    """Return a name for a study's folder of checkpoints: names of studies may come again, in another database."""
    return uuid.uuid4().hex


class TrialWriter:
    """Writes trials behind the driver's back, and renews its lease while it does and every few seconds.

    A batch that fails is tried again, after pauses that grow, until the storage's timeout; meanwhile results gather,
    and :attr:`trouble` says why. Each batch arrives once: also when the connection breaks during a commit.

    Args:
        storage: Where to write.
        shown: The storage's URL as an error may show it.
        lease: Of this driver.
        durability: How long to try, and where checkpoints are: that of a trial is removed once its end is written.
        kept: What else is kept up to date with each renewal: user attributes of a study, by name.
        kept_on: Which study that is.

    Raises:
        UserError: From any method, once a write failed for good: what is in the database is whole, the rest is lost.
    """

    def __init__(
        self,
        storage: Backend,
        shown: str,
        lease: Lease,
        durability: Durability,
        kept: Callable[[], Mapping[str, Any]] = dict,
        kept_on: int | None = None,
    ) -> None:
        self._storage, self._shown, self._lease, self._safekeeping = storage, shown, lease, durability
        self._kept, self._kept_on = kept, kept_on
        self._ids: dict[Key, int] = {}
        self._running: set[Key] = set()  # in the database, and there without an end
        self._pending: dict[Key, Pending] = {}  # in the order in which trials were created
        self._condition = threading.Condition()
        self._writing = False
        self._flushing = 0  # callers that wait until all is written
        self._closed = False  # no more will come
        self._given_up = False  # what is pending need not be written
        self._batches = 0
        self._error: BaseException | None = None
        self._trouble: tuple[float, str] | None = None
        self._thread = threading.Thread(target=self._run, name="trial-writer", daemon=True)
        self._thread.start()

    def known(self, study_id: int, number: int, trial_id: int) -> None:
        """Say that trial ``number`` is in the database already, as ``trial_id``."""
        self._ids[study_id, number] = trial_id

    def folder(self, study_id: int, *, make: bool = False) -> str:
        """Return what the folder with a study's checkpoints is called, the same for ever.

        Args:
            study_id: Of the study.
            make: Whether to name one where there is none yet, in a study of an earlier version, and to bring what an
                earlier driver has left of it in another directory.

        Returns:
            Its name, or nothing where there is none, or no checkpoints at all.
        """
        if self._safekeeping.checkpoints is None:
            return ""
        attributes = self._storage.get_study_user_attrs(study_id)
        found, before, now = attributes.get(FOLDER), attributes.get(PLACE), str(self._safekeeping.checkpoints.directory)
        if not found and make:
            found = new_folder()
            self._storage.set_study_user_attr(study_id, FOLDER, found)
        if make and before != now:
            if isinstance(before, str):
                self._safekeeping.checkpoints.bring(Path(before), str(found))
            self._storage.set_study_user_attr(study_id, PLACE, now)
        return str(found or "")

    def sweep(self, folder: str, keep: Collection[int]) -> None:
        """Remove the checkpoints of a study that belong to none of these trials."""
        if self._safekeeping.checkpoints is not None and folder:
            self._safekeeping.checkpoints.sweep(folder, keep)

    def start(self, study_id: int, trial: FrozenTrial) -> None:
        """Create ``trial`` (RUNNING, with its parameters and attributes)."""
        with self._change(study_id, trial.number) as pending:
            pending.trial = trial

    def value(self, study_id: int, number: int, epoch: int, value: float) -> None:
        """Set an intermediate value of a running trial."""
        with self._change(study_id, number) as pending:
            pending.values[epoch] = value

    def finish(self, study_id: int, trial: FrozenTrial, checkpoint: str | None = None) -> None:
        """End a running trial: state, value and new attributes of ``trial``. Its epochs went through :meth:`value`.

        ``checkpoint`` names one that nobody needs once this is written.
        """
        with self._change(study_id, trial.number) as pending:
            pending.end = trial
            pending.checkpoint = checkpoint

    @contextmanager
    def _change(self, study_id: int, number: int) -> Iterator[Pending]:
        with self._condition:
            self._raise_error()
            yield self._pending.setdefault((study_id, number), Pending())
            self._condition.notify_all()

    @property
    def trouble(self) -> str | None:
        """Why results wait in memory, in words; ``None`` while the database takes them."""
        with self._condition:
            if self._trouble is None:
                return None
            began, reason = self._trouble
            since = time.monotonic() - began
            return (
                f"storage '{self._shown}' has not answered {f'for {since:.0f} s' if since >= 1 else 'just now'} "
                f"({reason}); results are kept in memory, it is asked again until --storage-timeout, "
                f"{self._safekeeping.storage_timeout:g} s"
            )

    def check(self) -> None:
        """Raise what ended the writing, if anything did."""
        with self._condition:
            self._raise_error()

    @property
    def up_to_date(self) -> bool:
        """Whether the database has all that was given to be written."""
        with self._condition:
            return not (self._error or self._given_up or self._pending or self._writing)

    def flush(self) -> None:
        """Return when all is written."""
        with self._condition:
            self._flushing += 1
            self._condition.notify_all()
            try:
                self._condition.wait_for(lambda: self._error or not (self._pending or self._writing))
            finally:
                self._flushing -= 1
            self._raise_error()

    def close(self) -> None:
        """Write the rest and stop the thread; when that is interrupted, the rest is given up."""
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
            self._write_last_words()
        except BaseException as error:
            with self._condition:
                self._error = error
                self._writing = False
                self._condition.notify_all()
        finally:
            with suppress(*REFUSALS):
                self._storage.remove_session()

    def _write_next(self) -> bool:
        """Wait for something to write, or until the lease is to be renewed, and write; say whether more may come."""
        with self._condition:
            self._condition.wait_for(lambda: self._pending or self._closed, timeout=HEARTBEAT_SECONDS)
            if self._pending and SHOW_SECONDS > FLUSH_SECONDS:  # the pause after the last batch is part of it
                self._condition.wait_for(self._hurries, timeout=SHOW_SECONDS - FLUSH_SECONDS)
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
            self._condition.wait_for(lambda: self._closed or self._flushing, timeout=FLUSH_SECONDS)
        return True

    def _write_last_words(self) -> None:
        """Write what is kept, as it is at the end; once: what stands there is some seconds old."""
        if self._kept() and not self._given_up:
            self._batches += 1
            with suppress(*REFUSALS, UserError):
                self._write({}, False)

    def _hurries(self) -> bool:
        """Return whether something waits that a killed driver would lose, or somebody who wants all to be written."""
        return self._closed or self._flushing > 0 or any(one.end is not None for one in self._pending.values())

    def _write_patiently(self, batch: Batch) -> bool:
        """Write ``batch``, again and again for a while; return whether it is written, not given up."""
        began, pause, again = time.monotonic(), FIRST_PAUSE_SECONDS, False
        while True:
            try:
                if again:
                    self._storage.mend()
                self._write(batch, again)
            except REFUSALS as error:
                again = True
                with suppress(*REFUSALS):
                    self._storage.forget_connections()
                waited = time.monotonic() - began
                lasting = not is_passing(error)
                if lasting and waited < self._safekeeping.storage_timeout:
                    self._write_what_can_be(batch)
                if lasting or waited >= self._safekeeping.storage_timeout:
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

    def _write_what_can_be(self, batch: Batch) -> None:
        """Write of a batch that is refused for good each trial that is not; no trial is left without an end."""
        if not self._storage.atomic:  # what can be is written already
            return
        if len(batch) > 1:
            for key, pending in batch.items():
                self._write_if_possible({key: pending})
        lost = {}
        for study_id, number in self._running:
            end = running_template(number, {}, {}, {"failure": LOST})
            end.state = TrialState.FAIL
            lost[study_id, number] = Pending(end=end)
        self._write_if_possible(lost)

    def _write_if_possible(self, batch: Batch) -> None:
        self._batches += 1
        with suppress(*REFUSALS):
            self._write(batch, False)

    def _write(self, batch: Batch, again: bool) -> None:
        if again and not self._storage.atomic:
            self._batches += 1  # that the lease was renewed says nothing of the rest
        created = {key for key, pending in batch.items() if pending.trial is not None}
        ended = {key for key, pending in batch.items() if pending.end is not None}
        kept = {Cell(self._kept_on or 0, name): value for name, value in self._kept().items()}
        self._storage.write(batch, self._ids, partial(self._lease.renew, self._batches), kept, again=again)
        self._running |= created
        self._running -= ended
