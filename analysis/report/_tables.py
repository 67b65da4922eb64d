"""Tables of the page: which columns it has room for, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.comparison.spaces import search_spaces
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.study import Study
from analysis.text import cell

_ROWS_SHOWN = 60
_PERCENT = {"first_order", "total_order", "share", "share_of_range", "predicted_share"}
_SPACES = "search_spaces"
_STORED = {"best", "low", "high", "default", "tuned", "before", "after"}  # columns with values of a parameter
_ALERTS = ("no", "search too small")
VERSUS = {
    "leaderboard": "optimizer runs test validation tuned epochs_to_target gradient_evaluations_to_target "
    "seconds_to_target trials complete pruned diverged failed params",
    "comparisons": "a b difference probability_of_improvement verdict",
    "time_to_target": "optimizer axis target reached runs median ratio restricted_ratio comparable",
    "cost": "optimizer batch_size seconds_per_step step_ratio gradient_evaluations_per_step "
    "evaluation_ratio comparable",
    "inclusion": "larger smaller difference verdict limit",
}
SCORES = {
    "aggregate": "optimizer iqm workloads runs",
    "improvement": "a b probability_of_improvement workloads",
    "profile_score": "axis optimizer score workloads comparable",
    "ranks": "optimizer mean_rank workloads critical_difference friedman_p behind_best",
}
FAIRNESS = {
    "fairness": "rule requirement workload kept evidence",
    "search_spaces": "optimizer parameter kind scale low high choices default",
}
_ENDS = {
    "iqm": ("low", "high"),
    "score": ("low", "high"),
    "mean_rank": ("low", "high"),
    "median": ("low", "high"),
    "probability_of_improvement": ("probability_low", "probability_high"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: what is read, and what it is sorted by."""

    text: str
    key: float | str
    number: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page; ``more`` rows are only in the file ``name``.csv; ``alerts`` are rows to be seen."""

    name: str
    columns: list[str]
    rows: list[list[Cell]]
    more: int = 0
    alerts: frozenset[int] = frozenset()


def chosen(tables: Mapping[str, pd.DataFrame], wanted: Mapping[str, str]) -> list[Table]:
    """Those columns that a page has room for; the files have all."""
    found = []
    for name, columns in wanted.items():
        if name not in tables or not len(tables[name]):
            continue
        table = tables[name].copy()
        for column in columns.split():
            for end, own in zip(("_low", "_high"), _ENDS.get(column, ()), strict=False):
                if own in table:
                    table[column + end] = table[own]
        kept = [c for c in columns.split() if c in table and not table[c].isna().all()]
        ends = [f"{c}{end}" for c in kept for end in ("_low", "_high") if f"{c}{end}" in table]
        found.append(as_table(name, table[[*kept, *ends]]))
    return found


def space_table(study: Study) -> Table:
    """What a study searched."""
    table = search_spaces([study]).drop(columns=["optimizer", "decades"])
    table["choices"] = table["choices"].where(table["choices"] != "")
    return as_table(_SPACES, table.dropna(axis="columns", how="all") if len(table) else table)


def as_table(name: str, table: pd.DataFrame, parameters: Mapping[str, ParameterInfo] | None = None) -> Table:
    """A frame as a table: columns ``x``, ``x_low`` and ``x_high`` become one, written as ``x [low, high]``.

    Args:
        name: of the table.
        table: its rows.
        parameters: how those in its column ``parameter`` were searched, which decides of how many _cell their values
            are told apart.
    """
    columns = [str(column) for column in table.columns]
    ends = {f"{column}{end}" for column in columns for end in ("_low", "_high") if f"{column}_low" in columns}
    shown = [column for column in columns if column not in ends or column in ("low", "high")]
    rows = []
    for record in table.head(_ROWS_SHOWN).to_dict("records"):
        cells = []
        for column in shown:
            value = record[column]
            known = parameters.get(str(record.get("parameter"))) if parameters and column in _STORED else None
            unit = _percent if column in _PERCENT else _range_end if name == _SPACES else _of(known)
            text = unit(value)
            if f"{column}_low" in columns and text != "–" and not pd.isna(record[f"{column}_low"]):
                text = f"{text} [{unit(record[f'{column}_low'])}, {unit(record[f'{column}_high'])}]"
            numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            cells.append(Cell(text, float(value) if numeric else str(value), number=numeric))
        rows.append(cells)
    titles = [f"{column.replace('_', ' ')}{', %' if column in _PERCENT else ''}" for column in shown]
    bad = [
        str(record.get("kept", record.get("verdict", ""))) in _ALERTS
        for record in table.head(_ROWS_SHOWN).to_dict("records")
    ]
    alerts = frozenset(place for place, alert in enumerate(bad) if alert)
    return Table(name, titles, rows, max(0, len(table) - _ROWS_SHOWN), alerts)


def _of(parameter: ParameterInfo | None) -> Callable[[object], str]:
    """How values of a parameter are written."""
    if parameter is None:
        return _cell
    return lambda value: (
        scales.written(parameter, value) if isinstance(value, float) and value == value else _cell(value)
    )


def _percent(value: object) -> str:
    return f"{100 * float(str(value)):.0f}" if value is not None and not pd.isna(float(str(value))) else "–"


def _cell(value: object) -> str:
    return cell(bool(value) if isinstance(value, np.bool_) else value)


def _range_end(value: object) -> str:
    """An end of a range, or a default: 0.9999 is not 1."""
    return f"{value:.12g}" if isinstance(value, float) and math.isfinite(value) else _cell(value)
