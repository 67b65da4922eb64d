"""What rows of a storage mean: outcomes, curves and confirmation runs, as :mod:`analysis.load` gives them in frames."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis._rows import Attribute, Points, Reader, TrialRow
from analysis.schema import (
    ASKED_AGAIN,
    CONFIRMATION_FACTS,
    DRAWERS,
    DRAWN_BY,
    EVALUATES,
    HISTORY,
    PATH_FACTS,
    ROLE,
    TEST_PREFIX,
    TRIAL_FACTS,
    WINNER,
)
from analysis.study import Study

_ENDED = ("COMPLETE", "PRUNED", "FAIL")
_TRIAL = [
    "study", "workload", "optimizer", "number", "outcome", "value", "seconds", "gradient_evaluations", "failure",
    "params", "seed", "tested", DRAWN_BY,
]  # fmt: skip


class Entry(NamedTuple):
    """A trial and whose it is."""

    study: Study
    row: TrialRow

    @property
    def ended(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.row.state in _ENDED


def index(reader: Reader, by_id: Mapping[int, Study]) -> list[Entry]:
    """Return all trials of the studies, in their order; to be read before anything else is read of these trials."""
    position = {study_id: place for place, study_id in enumerate(by_id)}
    rows = sorted(reader.trials(), key=lambda row: (position[row.study_id], row.number))
    return [Entry(by_id[row.study_id], row) for row in rows]


def of_role(reader: Reader, entries: Sequence[Entry], *roles: str) -> list[Entry]:
    """Return the confirmation runs of what has one of ``roles``, see `analysis.schema.ROLE`."""
    told = {trial_id: role for trial_id, _, role in reader.attributes((ROLE,))}
    return [entry for entry in entries if told.get(entry.row.trial_id, WINNER) in roles]


def trial_frame(reader: Reader, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the frame that `analysis.load.trials` describes."""
    return _frame(_trial_rows(reader, entries, _by_trial(reader.attributes(TRIAL_FACTS, tests=True))), _TRIAL)


def confirmation_frame(reader: Reader, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the frame that `analysis.load.confirmations` describes."""
    attributes = _by_trial(reader.attributes((*TRIAL_FACTS, *CONFIRMATION_FACTS), tests=True))
    rows = _trial_rows(reader, entries, attributes)
    tests: dict[str, None] = {}
    for entry, row in zip(entries, rows, strict=True):
        own = attributes.get(entry.row.trial_id, {})
        row |= {name: own.get(name) for name in CONFIRMATION_FACTS}
        if entry.ended:
            measured = {name: value for name, value in own.items() if name.startswith(TEST_PREFIX)}
            tests |= dict.fromkeys(measured)
            row |= measured
    frame = _frame(rows, [*_TRIAL, *CONFIRMATION_FACTS, *sorted(tests)])
    return frame.astype(CONFIRMATION_FACTS)


def ablation_frame(reader: Reader, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the frame that `analysis.load.ablation_runs` describes."""
    named = (ROLE, *PATH_FACTS)
    attributes = _by_trial(reader.attributes((*TRIAL_FACTS, *CONFIRMATION_FACTS, *named), tests=True))
    rows = _trial_rows(reader, entries, attributes)
    tests: dict[str, None] = {}
    for entry, row in zip(entries, rows, strict=True):
        own = attributes.get(entry.row.trial_id, {})
        row |= {name: own.get(name) for name in (*named, "confirms")}
        row[ROLE] = own.get(ROLE, WINNER)
        if entry.ended:
            measured = {name: value for name, value in own.items() if name.startswith(TEST_PREFIX)}
            tests |= dict.fromkeys(measured)
            row |= measured
    frame = _frame(rows, [*_TRIAL, *named, "confirms", *sorted(tests)])
    return frame.astype({**PATH_FACTS, "confirms": "Int64"})


def evaluation_frame(reader: Reader, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the frame that `analysis.load.evaluations` describes."""
    attributes = _by_trial(reader.attributes((*TRIAL_FACTS, EVALUATES)))
    rows = _trial_rows(reader, entries, attributes)
    for entry, row in zip(entries, rows, strict=True):
        row[EVALUATES] = attributes.get(entry.row.trial_id, {}).get(EVALUATES)
    return _frame(rows, [*_TRIAL, EVALUATES])


def _by_trial(attributes: Iterable[Attribute]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for trial_id, name, value in attributes:
        found.setdefault(trial_id, {})[name] = value
    return found


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({name: [row.get(name) for row in rows] for name in columns}, columns=list(columns))
    texts = dict.fromkeys(("study", "workload", "optimizer", "outcome"), "str")
    numbers = dict.fromkeys(("value", "seconds", "gradient_evaluations"), "float64")
    return frame.astype(
        {
            **texts,
            **numbers,
            "number": "int64",
            "failure": "object",
            "params": "object",
            "seed": "Int64",
            "tested": "bool",
            DRAWN_BY: "object",
        }
    )


def _trial_rows(
    reader: Reader, entries: Sequence[Entry], attributes: Mapping[int, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    foreign = [entry.study for entry in entries if not entry.study.own]
    # a study of several objectives is looked at by itself
    values, params = reader.values(max((study.objective for study in foreign), default=0)), reader.params()
    constraints = reader.constraints() if foreign else {}
    rows = []
    for entry in entries:
        study, trial_id = entry.study, entry.row.trial_id
        # of a trial that ended only after the index was read, half might be known
        facts = attributes.get(trial_id, {}) if entry.ended else {}
        failure = facts.get("failure")
        if study.own:
            seconds, evaluations = _number(facts.get("seconds", 0.0)), _number(facts.get("gradient_evaluations", 0))
        else:
            seconds, evaluations = _duration(entry.row), math.nan
        row = (
            study.name, study.workload, study.optimizer, entry.row.number,
            _outcome(entry, facts, () if study.own else constraints.get(trial_id, ())),
            values.get(trial_id, math.nan) if entry.ended else math.nan,
            seconds, evaluations, failure if isinstance(failure, str) else None, params.get(trial_id, {}),
            _whole(attributes.get(trial_id, {}).get("seed")) if study.own else None,
            study.own and any(name.startswith(TEST_PREFIX) for name in facts),
            _drawer(attributes.get(trial_id, {}).get(DRAWN_BY)) if study.own else None,
        )  # fmt: skip
        rows.append(dict(zip(_TRIAL, row, strict=True)))
    return rows


def _number(value: object) -> float:
    """Return what a trial stores as a number; NaN where it is none that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if abs(value) <= sys.float_info.max else math.nan


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def _drawer(value: object) -> str | None:
    return value if isinstance(value, str) and value in DRAWERS else None


def _duration(row: TrialRow) -> float:
    """Return seconds from start to end of a trial, NaN where one is not known."""
    if row.state not in _ENDED or row.started is None or row.completed is None:
        return math.nan
    return (row.completed - row.started).total_seconds()


def _outcome(entry: Entry, facts: Mapping[str, Any], constraints: Sequence[float]) -> str:
    state = entry.row.state
    if state in ("COMPLETE", "PRUNED") and not all(value <= 0 for value in constraints):
        return "infeasible"
    if state == "PRUNED":
        return "diverged" if facts.get("diverged") is True else "pruned"
    if state == "FAIL":  # nobody asks again for a trial of another program
        return "lost" if entry.study.own and facts.get("failure") in ASKED_AGAIN else "failed"
    return "complete" if state == "COMPLETE" else "running"


def curve_frame(reader: Reader, entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the frame that `analysis.load.curves` describes."""
    place = {entry.row.trial_id: position for position, entry in enumerate(entries)}
    points = _point_frame(reader.points(), place)
    history = _history_frame(reader.attributes(("history",)), entries, place)
    # the outer join: epochs without a finite metric are in the history alone, trials that run have no history yet
    both = points.merge(history, how="outer", on=["entry", "epoch"], sort=True)
    position = both["entry"].to_numpy()
    names = pd.Series([entry.study.name for entry in entries], dtype="str")
    numbers = np.array([entry.row.number for entry in entries], np.int64)
    both.insert(0, "study", names.take(position).reset_index(drop=True))
    both.insert(1, "number", numbers[position])
    return both.drop(columns="entry")


def _point_frame(points: Points, place: Mapping[int, int]) -> pd.DataFrame:
    """Return columns ``entry`` (position in the index), ``epoch``, ``value``; of the trials in the index alone."""
    known, codes = np.unique(points.trial_id, return_inverse=True)
    positions = np.array([place.get(int(trial_id), -1) for trial_id in known], np.int64)[codes]
    frame = pd.DataFrame({"entry": positions, "epoch": points.epoch, "value": points.value})
    return frame[frame["entry"] >= 0]


def _is_column(column: object) -> bool:
    return isinstance(column, list) and {*map(type, column)} <= {int, float, type(None)}


def _history_frame(attributes: Iterable[Attribute], entries: Sequence[Entry], place: Mapping[int, int]) -> pd.DataFrame:
    """Return columns ``entry`` (position in the index), ``epoch``, and those of the history."""
    lengths: list[int] = []
    positions: list[int] = []
    columns: dict[str, list[float | None]] = {name: [] for name in HISTORY}
    for trial_id, _, history in attributes:
        position = place.get(trial_id)
        if position is None or not (entries[position].ended and entries[position].study.own):
            continue
        if not isinstance(history, Mapping) or not all(_is_column(column) for column in history.values()):
            continue  # what another program wrote there
        length = len(history.get("epoch", ()))
        positions.append(position)
        lengths.append(length)
        for name, column in columns.items():
            values = history.get(name, ())
            column.extend(values if len(values) == length else [None] * length)
    frame = pd.DataFrame({name: np.array(column, np.float64) for name, column in columns.items()})  # None is NaN
    frame.insert(0, "entry", np.repeat(np.array(positions, np.int64), lengths))
    return frame.astype({"epoch": "int64"})
