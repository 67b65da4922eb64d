"""Stored values of parameters and the unit cube of the scales on which they were searched.

Every coordinate is uniform on [0, 1] under the search: the logarithm's position for ``log``, that of log(1 − value) for
``one_minus``, a cell of equal width for each choice of a category and (but for ``log``) each integer. A parameter that
a trial does not have is *inactive* there: NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.load import ParameterInfo

Floats = NDArray[np.float64]

INACTIVE = math.nan
_SMALLEST = 1e-12  # what 1 - value and value are taken for where a range reaches their zero


def varies(parameter: ParameterInfo) -> bool:
    """Whether the parameter had more than one value to take."""
    return len(parameter.choices) > 1 if parameter.kind == "categorical" else parameter.high > parameter.low


def encode(parameters: Sequence[ParameterInfo], configurations: Sequence[Mapping[str, object]]) -> Floats:
    """Positions of configurations (stored values) in the unit cube: shape (n, d), NaN where inactive.

    A value outside its range is moved to the range's end, a choice that is unknown is inactive.
    """
    points = np.full((len(configurations), len(parameters)), INACTIVE)
    for column, parameter in enumerate(parameters):
        for row, values in enumerate(configurations):
            if parameter.name in values:
                points[row, column] = position(parameter, values[parameter.name])
    return points


def position(parameter: ParameterInfo, value: object) -> float:
    """The position of one stored value in [0, 1], NaN where it has none."""
    if parameter.kind == "categorical":
        same = [i for i, choice in enumerate(parameter.choices) if choice == value and type(choice) is type(value)]
        equal = same or [i for i, choice in enumerate(parameter.choices) if choice == value]
        return (equal[0] + 0.5) / len(parameter.choices) if equal else INACTIVE
    if not isinstance(value, int | float | np.number) or not math.isfinite(value):
        return INACTIVE
    low, high = _ends(parameter)
    if high == low:
        return 0.5
    return min(1.0, max(0.0, (_forward(parameter, float(value)) - low) / (high - low)))


def decode(parameter: ParameterInfo, at: float) -> object:
    """The stored value at a position in [0, 1]; ``None`` for NaN."""
    if math.isnan(at):
        return None
    if parameter.kind == "categorical":
        return parameter.choices[min(int(at * len(parameter.choices)), len(parameter.choices) - 1)]
    low, high = _ends(parameter)
    searched = low + at * (high - low)
    value = math.exp(searched) if parameter.log else 1 - math.exp(-searched) if parameter.one_minus else searched
    value = min(parameter.high, max(parameter.low, round(value) if parameter.kind == "int" else value))
    # Twelve digits: the way through logarithms and back must not turn 0.1 into 0.10000000000000006.
    return int(value) if parameter.kind == "int" else float(f"{value:.12g}")


def decades(parameter: ParameterInfo) -> float:
    """Width of the range in factors of ten (of 1 − value for ``one_minus``); NaN where it was not searched so."""
    if not (parameter.log or parameter.one_minus):
        return math.nan
    low, high = _ends(parameter)
    return (high - low) / math.log(10)


def grid(parameter: ParameterInfo, cells: int) -> Floats:
    """Positions at which to show the parameter: one for each value it can take if those are few, else ``cells``."""
    if parameter.kind == "categorical":
        return (np.arange(len(parameter.choices)) + 0.5) / len(parameter.choices)
    if parameter.kind == "int" and parameter.high - parameter.low < cells:
        return np.array([position(parameter, value) for value in range(int(parameter.low), int(parameter.high) + 1)])
    return (np.arange(cells) + 0.5) / cells


def frame(rows: Sequence[tuple[object, ...]], columns: Sequence[str], stored: Sequence[str]) -> pd.DataFrame:
    """A frame whose columns ``stored`` keep the values as trials have them: an integer 64 does not become 64.0."""
    table = pd.DataFrame(rows, columns=list(columns))
    for name in stored:
        place = list(columns).index(name)
        table[name] = pd.Series([row[place] for row in rows], dtype=object)
    return table


def _ends(parameter: ParameterInfo) -> tuple[float, float]:
    half = 0.5 if parameter.kind == "int" else 0.0
    return _forward(parameter, parameter.low - half), _forward(parameter, parameter.high + half)


def _forward(parameter: ParameterInfo, value: float) -> float:
    if parameter.log:
        return math.log(max(value, _SMALLEST))
    return -math.log(max(1 - value, _SMALLEST)) if parameter.one_minus else value
