"""Tables of the page: which columns it has room for, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import ENDS
from analysis.comparison.spaces import search_spaces
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.study import Study
from analysis.text import cell

_ROWS_SHOWN = 60
_SPACES = "search_spaces"
_STORED = {"best", "low", "high", "default", "tuned", "before", "after"}  # columns with values of a parameter
_ALERT = "search too small"


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


def chosen(
    tables: Mapping[str, pd.DataFrame],
    wanted: Mapping[str, str],
    titles: Mapping[str, str] | None = None,
    percent: Mapping[str, Collection[str]] | None = None,
) -> list[Table]:
    """Return those columns that a page has room for; the files have all.

    Args:
        tables: By name.
        wanted: The columns, by the name of the table.
        titles: What to write above a column instead of its name.
        percent: Columns with shares, written in percent, by the name of the table.
    """
    found = []
    for name, columns in wanted.items():
        if name not in tables or not len(tables[name]):
            continue
        table = tables[name].copy()
        for column in columns.split():
            for end, own in zip(("_low", "_high"), ENDS.get(column, ()), strict=False):
                if own in table:
                    table[column + end] = table[own]
        kept = [c for c in columns.split() if c in table and not table[c].isna().all()]
        ends = [f"{c}{end}" for c in kept for end in ("_low", "_high") if f"{c}{end}" in table]
        found.append(as_table(name, table[[*kept, *ends]], percent=(percent or {}).get(name, ()), titles=titles))
    return found


def space_table(study: Study) -> Table:
    """Return what a study searched."""
    table = search_spaces([study]).drop(columns=["optimizer", "decades"])
    table["choices"] = table["choices"].where(table["choices"] != "")
    return as_table(_SPACES, table.dropna(axis="columns", how="all") if len(table) else table)


def as_table(
    name: str,
    table: pd.DataFrame,
    parameters: Mapping[str, ParameterInfo] | None = None,
    percent: Collection[str] = (),
    titles: Mapping[str, str] | None = None,
) -> Table:
    """Return a frame as a table: columns ``x``, ``x_low`` and ``x_high`` become one, written as ``x [low, high]``.

    Args:
        name: Of the table.
        table: Its rows.
        parameters: How those in its column ``parameter`` were searched, which decides of how many _cell their values
            are told apart.
        percent: Columns with shares, written in percent.
        titles: What to write above a column instead of its name.
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
            unit = _percent if column in percent else _range_end if name == _SPACES else _of(known)
            text = unit(value)
            if f"{column}_low" in columns and text != "–" and not pd.isna(record[f"{column}_low"]):
                text = f"{text} [{', '.join(unit(end) for end in _reaching(record, column))}]"
            numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            cells.append(Cell(text, float(value) if numeric else str(value), number=numeric))
        rows.append(cells)
    known_titles = titles or {}
    heads = [
        f"{known_titles.get(column, column.replace('_', ' '))}{', %' if column in percent else ''}" for column in shown
    ]
    bad = [
        str(record.get("kept", "")).split(" ")[0] == "no" or record.get("verdict") == _ALERT
        for record in table.head(_ROWS_SHOWN).to_dict("records")
    ]
    alerts = frozenset(place for place, alert in enumerate(bad) if alert)
    return Table(name, heads, rows, max(0, len(table) - _ROWS_SHOWN), alerts)


def _reaching(record: Mapping[Any, Any], column: str) -> tuple[Any, Any]:
    """Return the ends of an interval, which reach the estimate at least."""
    value, low, high = (record[f"{column}{end}"] for end in ("", "_low", "_high"))
    if not all(isinstance(one, int | float | np.number) and not math.isnan(one) for one in (value, low, high)):
        return low, high
    return min(low, value), max(high, value)


def _of(parameter: ParameterInfo | None) -> Callable[[object], str]:
    """Return how values of a parameter are written."""
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
    """Return an end of a range, or a default: 0.9999 is not 1."""
    return f"{value:.12g}" if isinstance(value, float) and math.isfinite(value) else _cell(value)
