"""What a storage knows of the trials of some studies, in plain rows, read by one of two readers that agree.

For a database it is SQL (:mod:`analysis._sql`), several times faster than Optuna's objects; for any other storage it is
Optuna's own reader, below. What the rows mean is decided once, for both, in :mod:`analysis.load`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial

from analysis._parameters import Choice

TEST_PREFIX = "test_"  # of the user attributes of confirmation runs that come from test data


CONSTRAINTS = "constraints"
"""The system attribute of Optuna that lists a trial's constraints; those with names are ``constraints:NAME``."""


def constraint_values(attributes: Mapping[str, Any]) -> list[float]:
    """The values of a trial's constraints, from its system attributes; NaN for what is no number."""
    listed = attributes.get(CONSTRAINTS)
    named = [entry for name, entry in attributes.items() if name.startswith(f"{CONSTRAINTS}:")]
    every = [*(listed if isinstance(listed, Sequence) else ()), *named]
    return [float(entry) if isinstance(entry, int | float) else math.nan for entry in every]


class TrialRow(NamedTuple):
    """One trial: ``trial_id`` is unique in the storage, ``number`` in the study, ``state`` is the name of Optuna's."""

    trial_id: int
    study_id: int
    number: int
    state: str
    started: datetime | None
    completed: datetime | None


Attribute = tuple[int, str, Any]
"""A user attribute of a trial: its trial_id, the attribute's name and its value."""


class Points(NamedTuple):
    """Intermediate values, in no particular order: three arrays of one length."""

    trial_id: npt.NDArray[np.int64]
    epoch: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


class Reader(Protocol):
    """Reads the trials of the studies it was made for.

    While a driver writes, a later call may know more than an earlier one, never less, and what a call says of a trial
    that had ended before it is final: Optuna changes no ended trial. So read `trials` first, and believe of the other
    calls only what belongs to those.
    """

    def trials(self) -> list[TrialRow]:
        """All trials."""

    def values(self, objective: int = 0) -> dict[int, float]:
        """The value in one objective of each trial that has one, by trial_id; infinite ones included."""

    def constraints(self) -> dict[int, list[float]]:
        """The values of Optuna's constraints of each trial that has some, by trial_id; above 0 one is broken."""

    def params(self) -> dict[int, dict[str, Choice]]:
        """The stored parameters of each trial that has some, by trial_id, in the order in which they were drawn."""

    def distributions(self) -> dict[str, list[BaseDistribution]]:
        """The different distributions that trials drew each parameter from, by name, in the order of appearance."""

    def attributes(self, names: Sequence[str], *, tests: bool = False) -> Iterator[Attribute]:
        """The user attributes called ``names``, and with ``tests`` those of test data, one after the other."""

    def points(self) -> Points:
        """All intermediate values, NaN and infinite ones included."""


def open_reader(storage: BaseStorage, study_ids: Sequence[int]) -> Reader:
    """The reader for ``storage``."""
    if isinstance(storage, RDBStorage):
        from analysis._sql import SqlReader

        return SqlReader(storage.engine, study_ids)
    return OptunaReader(storage, study_ids)


class OptunaReader:
    """Reads any storage through Optuna, all of it when it is made."""

    def __init__(self, storage: BaseStorage, study_ids: Sequence[int]) -> None:
        self._trials: Mapping[int, list[FrozenTrial]] = {i: storage.get_all_trials(i) for i in study_ids}

    def _all(self) -> Iterable[FrozenTrial]:
        return (trial for listed in self._trials.values() for trial in listed)

    def trials(self) -> list[TrialRow]:
        return [
            TrialRow(t._trial_id, study_id, t.number, t.state.name, t.datetime_start, t.datetime_complete)
            for study_id, listed in self._trials.items()
            for t in listed
        ]

    def values(self, objective: int = 0) -> dict[int, float]:
        every = ((trial._trial_id, trial.values) for trial in self._all())
        return {i: values[objective] for i, values in every if values is not None and len(values) > objective}

    def constraints(self) -> dict[int, list[float]]:
        every = ((trial._trial_id, constraint_values(trial.system_attrs)) for trial in self._all())
        return {trial_id: values for trial_id, values in every if values}

    def params(self) -> dict[int, dict[str, Choice]]:
        return {trial._trial_id: trial.params for trial in self._all() if trial.params}

    def distributions(self) -> dict[str, list[BaseDistribution]]:
        found: dict[str, list[BaseDistribution]] = {}
        for trial in self._all():
            for name, distribution in trial.distributions.items():
                known = found.setdefault(name, [])
                if distribution not in known:
                    known.append(distribution)
        return found

    def attributes(self, names: Sequence[str], *, tests: bool = False) -> Iterator[Attribute]:
        return (
            (trial._trial_id, name, entry)
            for trial in self._all()
            for name, entry in trial.user_attrs.items()
            if name in names or (tests and name.startswith(TEST_PREFIX))
        )

    def points(self) -> Points:
        rows = [(t._trial_id, epoch, value) for t in self._all() for epoch, value in t.intermediate_values.items()]
        trial_ids, epochs, values = zip(*rows, strict=True) if rows else ((), (), ())
        return Points(np.array(trial_ids, np.int64), np.array(epochs, np.int64), np.array(values, np.float64))
