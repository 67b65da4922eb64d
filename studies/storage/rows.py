"""Batches of changes of trials, and what of one goes into which table of a database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import orm

from search_spaces.errors import UserError


@dataclass
class Pending:
    """What the database does not know yet of one trial."""

    trial: FrozenTrial | None = None  # to be created, RUNNING
    values: dict[int, float] = field(default_factory=dict)  # by epoch
    end: FrozenTrial | None = None
    checkpoint: str | None = None  # that is not needed any more when this is written
    attributes: int = 0  # of those of the end, how many are written: where there are no transactions


Key = tuple[int, int]
"""Study id and number of a trial."""

Batch = Mapping[Key, Pending]


def ids_of(session: orm.Session, batch: Batch) -> dict[Key, int]:
    """Return the ids of the trials that ``batch`` created, which is in the database."""
    found = {}
    for (study_id, number), pending in batch.items():
        if pending.trial is not None:
            row = models.TrialModel
            chosen = sa.select(row.trial_id).where(row.study_id == study_id, row.number == number)
            found[study_id, number] = int(session.execute(chosen).scalar_one())
    return found


def write_in_one_transaction(session: orm.Session, batch: Batch, ids: Mapping[Key, int]) -> dict[Key, int]:
    """Put ``batch`` into ``session``, a statement a table; return the ids of the trials that it creates.

    Optuna's own setters search for a row before they add it, which takes most of their time. Here an epoch's value
    comes once, and an attribute that is there stays as it is.
    """
    created = _create(session, {key: one.trial for key, one in batch.items() if one.trial is not None})
    ids = {key: created.get(key) or ids[key] for key in batch}
    value = models.TrialIntermediateValueModel
    _insert(
        session,
        value,
        [
            {"trial_id": ids[key], "step": epoch, "intermediate_value": stored, "intermediate_value_type": kind}
            for key, one in batch.items()
            for epoch, (stored, kind) in (
                (epoch, value.intermediate_value_to_stored_repr(entry)) for epoch, entry in one.values.items()
            )
        ],
    )
    _end(session, {key: one.end for key, one in batch.items() if one.end is not None}, ids)
    return created


def _create(session: orm.Session, trials: Mapping[Key, FrozenTrial]) -> dict[Key, int]:
    rows = {
        key: models.TrialModel(study_id=key[0], number=key[1], state=trial.state, datetime_start=trial.datetime_start)
        for key, trial in trials.items()
    }
    if not rows:
        return {}
    session.add_all(rows.values())
    session.flush()
    row: Any = models.TrialModel
    for study_id in {study_id for study_id, _ in rows}:
        number = session.execute(sa.select(sa.func.count()).where(row.study_id == study_id)).scalar_one()
        check_number(number - 1, max(own for other, own in rows if other == study_id))
    ids = {key: int(row.trial_id) for key, row in rows.items()}
    _insert(
        session,
        models.TrialParamModel,
        [
            {
                "trial_id": ids[key],
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": _as_json(trial.distributions[name]),
            }
            for key, trial in trials.items()
            for name, value in trial.params.items()
        ],
    )
    for model, kind in _ATTRIBUTES.items():
        found = [(ids[key], name, entry) for key, one in trials.items() for name, entry in getattr(one, kind).items()]
        _insert_attributes(session, model, found)
    return ids


def _end(session: orm.Session, ends: Mapping[Key, FrozenTrial], ids: Mapping[Key, int]) -> None:
    if not ends:
        return
    by_id = {ids[key]: end for key, end in ends.items()}
    rows: list[Any] = session.query(models.TrialModel).filter(models.TrialModel.trial_id.in_(by_id)).all()
    for row in rows:
        if row.state.is_finished():
            raise ended_elsewhere(row.number)
        row.state = by_id[row.trial_id].state
        row.datetime_complete = by_id[row.trial_id].datetime_complete or datetime.now()
    for model, kind in _ATTRIBUTES.items():
        there = {
            tuple(row) for row in session.execute(sa.select(model.trial_id, model.key).where(model.trial_id.in_(by_id)))
        }
        found = [
            (trial_id, name, entry)
            for trial_id, end in by_id.items()
            for name, entry in getattr(end, kind).items()
            if (trial_id, name) not in there
        ]
        _insert_attributes(session, model, found)
    value = models.TrialValueModel
    told = {trial_id: end.value for trial_id, end in by_id.items() if end.value is not None}
    _insert(
        session,
        value,
        [
            {"trial_id": trial_id, "objective": 0, "value": stored, "value_type": kind}
            for trial_id, (stored, kind) in ((i, value.value_to_stored_repr(entry)) for i, entry in told.items())
        ],
    )


_ATTRIBUTES: Mapping[Any, str] = {
    models.TrialUserAttributeModel: "user_attrs",
    models.TrialSystemAttributeModel: "system_attrs",
}
"""Tables of attributes, and what the attributes are called on a trial."""


def _insert_attributes(session: orm.Session, model: Any, found: Sequence[tuple[int, str, Any]]) -> None:
    _insert(session, model, [{"trial_id": i, "key": name, "value_json": json.dumps(entry)} for i, name, entry in found])


def _insert(session: orm.Session, model: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        session.execute(sa.insert(model), rows)


@cache
def _as_json(distribution: BaseDistribution) -> str:
    return distribution_to_json(distribution)


def ended_elsewhere(number: int) -> UserError:
    """Return the error for a trial that ended while this driver ran it."""
    return UserError(f"another program ended trial {number} of this campaign; stop it and launch again")


def check_number(found: int, expected: int) -> None:
    """Refuse a study to which somebody else adds trials."""
    if found != expected:
        raise UserError(
            f"another program adds trials to a study of this campaign (number {found} came where {expected} was next); "
            "stop it and launch again"
        )
