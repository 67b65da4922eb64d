"""What a storage knows of the trials of some studies, in plain rows, read by one of two readers that agree.

For a database it is SQL (:mod:`analysis._sql`), several times faster than Optuna's objects; for any other storage it is
Optuna's own reader (:mod:`analysis._optuna`). What the rows mean is decided once, for both, in :mod:`analysis._frames`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution

from analysis.parameters import Choice

CONSTRAINTS = "constraints"
"""The system attribute of Optuna that lists a trial's constraints; those with names are ``constraints:NAME``."""


def constraint_values(attributes: Mapping[str, Any]) -> list[float]:
    """Return the values of a trial's constraints, from its system attributes; NaN for what is no number."""
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
        """Return all trials."""

    def values(self, objective: int = 0) -> dict[int, float]:
        """Return the value in one objective of each trial that has one, by trial_id; infinite ones included."""

    def constraints(self) -> dict[int, list[float]]:
        """Return the values of Optuna's constraints of each trial that has some, by trial_id; above 0 one is broken."""

    def params(self) -> dict[int, dict[str, Choice]]:
        """Return the stored parameters of each trial that has some, by trial_id, in the order of drawing."""

    def distributions(self) -> dict[str, list[BaseDistribution]]:
        """Return the distributions that trials drew each parameter from, by name, in the order of appearance."""

    def attributes(self, names: Sequence[str], *, tests: bool = False) -> Iterator[Attribute]:
        """Return the user attributes called ``names``, and with ``tests`` those of test data, one after the other."""

    def points(self) -> Points:
        """Return all intermediate values, NaN and infinite ones included."""
