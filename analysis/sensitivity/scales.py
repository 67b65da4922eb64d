"""Stored values of parameters and the unit cube of the scales on which they were searched.

Every coordinate is uniform on [0, 1] under the search: the logarithm's position for ``log``, that of log(1 − value) for
``one_minus``, a cell of equal width for each choice of a category and (but for ``log``) each integer or step. A
parameter that a trial does not have is *inactive* there: NaN. A value that its range does not hold, which Optuna takes
where somebody enqueues it, lies outside [0, 1].

What is told apart, and how many digits it takes, is decided in the cube: a range may be of any size and at any place.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.parameters import ParameterInfo

Floats = NDArray[np.float64]

INACTIVE = math.nan
_ROUNDING = 1e-9  # of the cube's side: what the way through logarithms may lose, and nobody searches as finely
_TOLD_APART = 0.005  # of the cube's side, in texts
_LARGEST = math.log(sys.float_info.max)
_WIDE = sys.float_info.max / 4  # a linear range of which twice the width is no number any more


def varies(parameter: ParameterInfo) -> bool:
    """Return whether the parameter had more than one value to take."""
    if parameter.kind == "categorical":
        return len(parameter.choices) > 1
    return parameter.high > parameter.low  # of a mixed one neither is known


def encode(parameters: Sequence[ParameterInfo], configurations: Sequence[Mapping[str, object]]) -> Floats:
    """Return the positions of configurations (stored values): shape (n, d), NaN where inactive."""
    points = np.full((len(configurations), len(parameters)), INACTIVE)
    for column, parameter in enumerate(parameters):
        for row, values in enumerate(configurations):
            if parameter.name in values:
                points[row, column] = position(parameter, values[parameter.name])
    return points


def position(parameter: ParameterInfo, value: object) -> float:
    """Return the position of one stored value: in [0, 1], or outside where its range does not hold it.

    It is infinite where the scale has no place for the value: a choice that is none, 0 on a log scale.
    """
    if parameter.kind == "mixed":
        return INACTIVE
    if parameter.kind == "categorical":
        same = [i for i, choice in enumerate(parameter.choices) if repr(choice) == repr(value)]  # NaN is not NaN
        equal = same or [i for i, choice in enumerate(parameter.choices) if choice == value]
        return (equal[0] + 0.5) / len(parameter.choices) if equal else math.inf
    if not isinstance(value, int | float | np.number) or not math.isfinite(value):
        return math.inf
    low, high = _ends(parameter)
    searched = _forward(parameter, float(value))
    if high == low:
        return 0.5 if searched == low else math.copysign(math.inf, searched - low)
    at = (searched - low) / (high - low)
    return min(1.0, max(0.0, at)) if -_ROUNDING <= at <= 1 + _ROUNDING else at


def inside(points: Floats) -> NDArray[np.bool_]:
    """Return which of the positions their ranges hold; inactive ones are no value that lies outside. Same shape."""
    return np.isnan(points) | ((points >= 0) & (points <= 1))


def decode(parameter: ParameterInfo, at: float) -> object:
    """Return the stored value at a position; ``None`` for NaN, an end of the range for what lies outside."""
    if math.isnan(at):
        return None
    at = min(1.0, max(0.0, at))
    if parameter.kind == "categorical":
        return parameter.choices[min(int(at * len(parameter.choices)), len(parameter.choices) - 1)]
    if at in (0.0, 1.0) or parameter.high == parameter.low:
        end = parameter.high if at else parameter.low
        return int(end) if parameter.kind == "int" else end
    low, high = _ends(parameter)
    value = _backward(parameter, low + at * (high - low))
    if parameter.step:
        value = parameter.low + round((value - parameter.low) / parameter.step) * parameter.step
    value = min(parameter.high, max(parameter.low, round(value) if parameter.kind == "int" else value))
    if parameter.kind == "int":
        return int(value)
    # Twelve digits, where they do: the way through logarithms must not turn 0.1 into 0.10000000000000006.
    rounded = float(_written(parameter, value, 12, _ROUNDING))
    return rounded if parameter.low <= rounded <= parameter.high else value


def written(parameter: ParameterInfo, value: object, *, digits: int = 3) -> str:
    """Return a stored value as text: so many digits, and as many more as tell it from its neighbours.

    >>> nearly_one = ParameterInfo("beta", "float", 0.5, 0.99999, one_minus=True)
    >>> [written(nearly_one, 0.99987), written(ParameterInfo("x", "float", 1e9, 1e9 + 1), 1000000000.123456)]
    ['0.99987', '1000000000.12']
    """
    return _written(parameter, value, digits, _TOLD_APART) if isinstance(value, float) else str(value)


def _written(parameter: ParameterInfo, value: float, digits: int, tolerance: float) -> str:
    """Return the fewest digits that name a place within ``tolerance``; all of them where the value has no place."""
    at = position(parameter, value)
    for number in range(digits, 17):
        text = f"{value:.{number}g}"
        within = parameter.low <= float(text) <= parameter.high or not 0 <= at <= 1  # an end that is no value misleads
        if within and abs(position(parameter, float(text)) - at) <= tolerance:
            return text
    return f"{value:.17g}" if tolerance < _TOLD_APART else repr(value)


def decades(parameter: ParameterInfo) -> float:
    """Return the width of the range in factors of ten (of 1 − value for ``one_minus``); NaN on other scales."""
    if not (parameter.log or parameter.one_minus):
        return math.nan
    low, high = _ends(parameter)
    return (high - low) / math.log(10)


def grid(parameter: ParameterInfo, cells: int) -> Floats:
    """Return positions at which to show the parameter: one for each value if those are few, else ``cells``."""
    if parameter.kind == "categorical":
        return (np.arange(len(parameter.choices)) + 0.5) / len(parameter.choices)
    step = _step(parameter)
    if step and (parameter.high - parameter.low) / step < cells:
        number = round((parameter.high - parameter.low) / step) + 1
        return np.array([position(parameter, parameter.low + place * step) for place in range(number)])
    return (np.arange(cells) + 0.5) / cells


def frame(rows: Sequence[tuple[object, ...]], columns: Sequence[str], stored: Sequence[str]) -> pd.DataFrame:
    """Return a frame whose columns ``stored`` keep the values as trials have them: 64 does not become 64.0."""
    table = pd.DataFrame(rows, columns=list(columns))
    for name in stored:
        place = list(columns).index(name)
        table[name] = pd.Series([row[place] for row in rows], dtype=object)
    return table


def _ends(parameter: ParameterInfo) -> tuple[float, float]:
    half = _step(parameter) / 2
    return _forward(parameter, parameter.low - half), _forward(parameter, parameter.high + half)


def _step(parameter: ParameterInfo) -> float:
    return parameter.step or (1.0 if parameter.kind == "int" else 0.0)


def _forward(parameter: ParameterInfo, value: float) -> float:
    """Return the value on its searched scale; of a linear one half of it, lest a wide range overflow."""
    if parameter.log:
        return math.log(value) if value > 0 else -math.inf
    if parameter.one_minus:
        return -math.log(1 - value) if value < 1 else math.inf
    return value / 2 if parameter.high - parameter.low > _WIDE else value


def _backward(parameter: ParameterInfo, searched: float) -> float:
    if parameter.log:
        return math.exp(min(searched, _LARGEST))
    if parameter.one_minus:
        return 1 - math.exp(-searched)
    return searched * 2 if parameter.high - parameter.low > _WIDE else searched
