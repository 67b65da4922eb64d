"""Reads trials from any storage through Optuna's objects; see :class:`analysis._rows.Reader` for the methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from analysis._rows import Attribute, Points, TrialRow, constraint_values
from analysis.parameters import Choice
from analysis.schema import TEST_PREFIX


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
