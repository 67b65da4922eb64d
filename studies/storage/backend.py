"""What a campaign needs of a storage beyond Optuna's own calls: the one seam for whoever adds a kind of storage.

A new kind is ``class Mine(Backend, OptunasStorage)`` in a module with an ``open_storage``, which
:data:`studies.storage.url.MODULES` names. It overrides what it does better than by Optuna's public calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import optuna
from optuna.storages import BaseStorage, InMemoryStorage

from studies.storage.rows import Batch, Key, check_number, ended_elsewhere


class Cell(NamedTuple):
    """A user attribute of a study, which is read and written as JSON."""

    study_id: int
    name: str


class Cells(Protocol):
    """Cells of a storage, or of one that is seen by a transaction."""

    def read(self, cell: Cell) -> str | None:
        """Return what stands there; ``None`` where there is nothing yet."""

    def exchange(self, cell: Cell, before: str | None, after: str) -> bool:
        """Put ``after`` where ``before`` stands; return whether it did."""


Ids = dict[Key, int]
"""Of trials in the storage, by study and number."""

Renew = Callable[[Cells], bool]
"""Renews the lease among cells; returns whether what is to be written beside it has been written before."""


class Backend(BaseStorage):
    """A storage of Optuna that takes batches of trials from a driver with a lease.

    Everything works here by public calls, a transaction each. They exchange nothing at once: of two drivers that begin
    together one finds out later.

    Attributes:
        atomic: Whether a batch is written as a whole or not at all, with the lease that is renewed beside it.
    """

    atomic: ClassVar[bool] = False

    def read(self, cell: Cell) -> str | None:
        """Return what stands in a cell; ``None`` where there is nothing yet."""
        attributes = self.get_study_user_attrs(cell.study_id)
        return json.dumps(attributes[cell.name]) if cell.name in attributes else None

    def exchange(self, cell: Cell, before: str | None, after: str) -> bool:
        """Put ``after`` where ``before`` stands; return whether it did."""
        if self.read(cell) != before:
            return False
        self.set_study_user_attr(cell.study_id, cell.name, json.loads(after))
        return True

    def write(self, batch: Batch, ids: Ids, renew: Renew, kept: Mapping[Cell, Any], *, again: bool) -> None:
        """Write ``batch``, unless the lease is lost or says that it has been written before.

        Args:
            batch: Changes of trials. Where the storage is not atomic, what is written is taken out of it.
            ids: Of trials that are there; those of new ones are added.
            renew: Is called first, in the same transaction where there are any.
            kept: What is written beside it.
            again: Whether an attempt at this batch has failed. A trial may be there then whose creation was not
                answered.

        Raises:
            UserError: Another driver has taken over, or another program writes to these studies.
        """
        renew(self)
        for key in batch:
            self._write_trial(batch, key, ids, again=again)
        for cell, value in kept.items():
            self.set_study_user_attr(cell.study_id, cell.name, value)

    def _write_trial(self, batch: Batch, key: Key, ids: Ids, *, again: bool) -> None:
        pending, (study_id, number) = batch[key], key
        if pending.trial is not None and key not in ids:
            there = self._find_trial(study_id, number) if again else None
            ids[key] = self.create_new_trial(study_id, template_trial=pending.trial) if there is None else there
            check_number(self.get_trial_number_from_id(ids[key]), number)
        pending.trial = None
        trial_id, end = ids[key], pending.end
        for epoch in list(pending.values):
            self.set_trial_intermediate_value(trial_id, epoch, pending.values[epoch])
            del pending.values[epoch]
        if end is None:
            return
        if self.get_trial(trial_id).state.is_finished():
            if not again:
                raise ended_elsewhere(number)
            pending.end = None  # it came through, and was not answered
            return
        setters = [
            *((self.set_trial_user_attr, name, entry) for name, entry in end.user_attrs.items()),
            *((self.set_trial_system_attr, name, entry) for name, entry in end.system_attrs.items()),
        ]
        for set_attribute, name, entry in setters[pending.attributes :]:
            set_attribute(trial_id, name, entry)
            pending.attributes += 1
        try:
            self.set_trial_state_values(trial_id, end.state, None if end.value is None else [end.value])
        except optuna.exceptions.UpdateFinishedTrialError:
            raise ended_elsewhere(number) from None
        pending.end = None

    def _find_trial(self, study_id: int, number: int) -> int | None:
        try:
            return self.get_trial_id_from_study_id_trial_number(study_id, number)
        except KeyError:
            return None

    def set_everywhere(self, study_ids: Sequence[int], name: str, value: Any) -> None:
        """Give studies that have a user attribute another one; all of them or none, where the storage is atomic."""
        for study_id in study_ids:
            self.set_study_user_attr(study_id, name, value)

    def mend(self) -> None:
        """Make whole what a write that failed may have left, before the next attempt."""

    def forget_connections(self) -> None:
        """Give up connections, so that one that broke is not used again."""
        self.remove_session()

    def close(self) -> None:
        """Give the connections back; nothing is asked of the storage any more."""
        self.forget_connections()


class Nothing(Backend, InMemoryStorage):
    """What is read of a storage in which nothing is yet."""
