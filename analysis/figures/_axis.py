"""Axes on the scale on which a parameter was searched: positions from 0 to 1, ticks at stored values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures._style import label
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.text import short

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MOST = 6  # ticks an axis has room for
_MANY_DECADES = 1.5


def set_axis(axes: Axes, which: Literal["x", "y"], parameter: ParameterInfo) -> None:
    """Make one axis of ``axes`` that of ``parameter``."""
    places, labels = ticks(parameter)
    if which == "x":
        axes.set_xlim(0, 1)
        axes.set_xticks(places, labels)
        axes.set_xlabel(label(parameter.name))
    else:
        axes.set_ylim(0, 1)
        axes.set_yticks(places, labels)
        axes.set_ylabel(label(parameter.name))


def ticks(parameter: ParameterInfo) -> tuple[list[float], list[str]]:
    """Return positions of round values of the parameter, and how those are written.

    >>> ticks(ParameterInfo("lr", "float", 1e-4, 1.0, log=True))[1]
    ['10⁻⁴', '10⁻³', '0.01', '0.1', '1']
    >>> ticks(ParameterInfo("momentum", "float", 0.5, 0.995, one_minus=True))[1]
    ['0.5', '0.9', '0.99']
    """
    if parameter.kind == "categorical":
        chosen = list(enumerate(parameter.choices))
        step = math.ceil(len(chosen) / (2 * _MOST))
        size = len(chosen)
        return [(i + 0.5) / size for i, _ in chosen[::step]], [label(short(value)) for _, value in chosen[::step]]
    values = _thinned([v for v in _round_values(parameter) if parameter.low <= v <= parameter.high])
    if len(values) < 2:
        values = [parameter.low, parameter.high]
    return [scales.position(parameter, value) for value in values], [_written(parameter, value) for value in values]


def _round_values(parameter: ParameterInfo) -> list[float]:
    low, high = parameter.low, parameter.high
    if parameter.one_minus:
        ends = [low] if low < 0.9 else []
        return [*ends, *(round(1 - 10.0**-k, k) for k in range(1, 9))]
    if not parameter.log:
        if not math.isfinite(high - low):  # wider than any number
            return [low, low / 2 + high / 2, high]
        return [float(value) for value in MaxNLocator(4, integer=parameter.kind == "int").tick_values(low, high)]
    if parameter.kind == "int":
        return [float(2**k) for k in range(64)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    mantissas = (1,) if math.log10(high) - math.log10(low) > _MANY_DECADES else (1, 2, 5)
    return [float(f"{mantissa}e{k}") for k in decades for mantissa in mantissas]  # 10.0**309 overflows


def _thinned(values: Sequence[float]) -> list[float]:
    step = math.ceil(len(values) / _MOST)
    return list(values[::step]) if step else []


def _written(parameter: ParameterInfo, value: float) -> str:
    exponent = round(math.log10(abs(value))) if value else 0
    if not -2 <= exponent < 5 and value == float(f"1e{exponent}"):
        return f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return scales.written(parameter, float(value), digits=6)
