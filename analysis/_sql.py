"""Reads trials from Optuna's tables, one query a table, without Optuna's objects.

The queries are plain SELECTs that SQLAlchemy writes for whatever database there is. The columns are named here without
their types: an enumeration is then read as its name, which costs nothing, and is cast where a database has a type of
its own for it. The tables are those of Optuna 5, which the dependency is bound to; opening a storage checks them.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution, json_to_distribution

from analysis._rows import CONSTRAINTS, Attribute, Points, TrialRow, constraint_values
from analysis.parameters import Choice
from analysis.schema import TEST_PREFIX
from search_spaces.errors import UserError


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in columns))


_TRIALS = sa.table(
    "trials",
    *(sa.column(name) for name in ("trial_id", "study_id", "number", "state")),
    sa.column("datetime_start", sa.DateTime()),
    sa.column("datetime_complete", sa.DateTime()),
)
_VALUES = _table("trial_values", "trial_id", "objective", "value", "value_type")
_PARAMS = _table("trial_params", "param_id", "trial_id", "param_name", "param_value", "distribution_json")
_ATTRIBUTES = sa.table(
    "trial_user_attributes", sa.column("trial_id"), sa.column("key", sa.String()), sa.column("value_json")
)
_SYSTEM = sa.table(
    "trial_system_attributes", sa.column("trial_id"), sa.column("key", sa.String()), sa.column("value_json")
)
_POINTS = _table("trial_intermediate_values", "trial_id", "step", "intermediate_value", "intermediate_value_type")
# how Optuna calls the values that a database has no number for
_NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
_ROWS_AT_ONCE = 5_000


class SqlReader:
    """Reads the trials of ``study_ids`` through ``engine``; see :class:`analysis._rows.Reader` for its methods."""

    def __init__(self, engine: sa.Engine, study_ids: Sequence[int]) -> None:
        self._engine = engine
        self._of_studies = _TRIALS.c.study_id.in_(list(study_ids))

    def _parts(self, query: sa.Select[Any]) -> Iterator[Sequence[Any]]:
        """Return the rows in parts: hundreds of thousands of tuples alive at once keep the garbage collector busy."""
        with self._engine.connect() as connection:
            yield from connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query).partitions()

    def _rows(self, query: sa.Select[Any]) -> Iterator[Any]:
        return chain.from_iterable(self._parts(query))

    def _joined(self, table: sa.TableClause, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
        return (
            sa.select(table.c.trial_id, *columns)
            .join_from(_TRIALS, table, _TRIALS.c.trial_id == table.c.trial_id)
            .where(self._of_studies)
        )

    def trials(self) -> list[TrialRow]:
        c = _TRIALS.c
        query = sa.select(
            c.trial_id, c.study_id, c.number, sa.cast(c.state, sa.String(16)), c.datetime_start, c.datetime_complete
        ).where(self._of_studies)
        return [TrialRow(*row) for row in self._rows(query)]

    def values(self, objective: int = 0) -> dict[int, float]:
        c = _VALUES.c
        query = self._joined(_VALUES, c.value, _name_of_missing(c.value, c.value_type)).where(c.objective == objective)
        return {trial_id: _NUMBERS[name] if value is None else value for trial_id, value, name in self._rows(query)}

    def constraints(self) -> dict[int, list[float]]:
        c = _SYSTEM.c
        named = c.key.startswith(f"{CONSTRAINTS}:", autoescape=True)
        query = self._joined(_SYSTEM, c.key, c.value_json).where(sa.or_(c.key == CONSTRAINTS, named))
        attributes: dict[int, dict[str, Any]] = {}
        for trial_id, name, written in self._rows(query):
            attributes.setdefault(trial_id, {})[name] = json.loads(written)
        every = ((trial_id, constraint_values(found)) for trial_id, found in attributes.items())
        return {trial_id: values for trial_id, values in every if values}

    def params(self) -> dict[int, dict[str, Choice]]:
        c = _PARAMS.c
        query = self._joined(_PARAMS, c.param_name, c.param_value, c.distribution_json).order_by(c.param_id)
        decoders: dict[str, BaseDistribution] = {}
        found: dict[int, dict[str, Choice]] = {}
        for trial_id, name, value, written in self._rows(query):
            distribution = decoders.get(written)
            if distribution is None:
                distribution = decoders[written] = _distribution(written)
            found.setdefault(trial_id, {})[name] = _decode(distribution, value)
        return found

    def distributions(self) -> dict[str, list[BaseDistribution]]:
        c = _PARAMS.c
        first = sa.func.min(c.param_id)
        query = (
            sa.select(c.param_name, c.distribution_json)
            .join_from(_TRIALS, _PARAMS, _TRIALS.c.trial_id == c.trial_id)
            .where(self._of_studies)
            .group_by(c.param_name, c.distribution_json)
            .order_by(first)
        )
        found: dict[str, list[BaseDistribution]] = {}
        for name, written in self._rows(query):
            found.setdefault(name, []).append(_distribution(written))
        return found

    def attributes(self, names: Sequence[str], *, tests: bool = False) -> Iterator[Attribute]:
        c = _ATTRIBUTES.c
        wanted = [c.key.in_(list(names)), *([c.key.startswith(TEST_PREFIX, autoescape=True)] if tests else [])]
        query = self._joined(_ATTRIBUTES, c.key, c.value_json).where(sa.or_(*wanted))
        return ((trial_id, name, json.loads(written)) for trial_id, name, written in self._rows(query))

    def points(self) -> Points:
        c = _POINTS.c
        query = self._joined(
            _POINTS, c.step, c.intermediate_value, _name_of_missing(c.intermediate_value, c.intermediate_value_type)
        )
        columns: list[list[Any]] = [[], [], [], []]
        for rows in self._parts(query):
            for column, entries in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(entries)
        trial_ids, epochs, values, names = columns
        numbers = np.array(values, np.float64)  # None becomes NaN
        for index in np.flatnonzero(np.isnan(numbers)):
            numbers[index] = _NUMBERS[names[index]]
        return Points(np.array(trial_ids, np.int64), np.array(epochs, np.int64), numbers)


def _name_of_missing(value: sa.ColumnElement[Any], kind: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the name of the kind of a value that no number stands for; NULL, which costs nothing, beside numbers."""
    return sa.case((value.is_(None), sa.cast(kind, sa.String(16))), else_=None)


def _distribution(written: str) -> BaseDistribution:
    with warnings.catch_warnings():
        # that choices are lists or tables was told to whoever made the study
        warnings.filterwarnings("ignore", "Choices for a categorical distribution", UserWarning)
        try:
            return json_to_distribution(written)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"a parameter's range, as it is stored, cannot be read by the installed Optuna ({error}); was it "
                "stored by another version?"
            ) from None


def _decode(distribution: BaseDistribution, value: float) -> Choice:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(value)]
    return int(value) if isinstance(distribution, IntDistribution) else value
