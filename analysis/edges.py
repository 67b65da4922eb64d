"""Values at an end of the range they were searched in, and the line of a campaign's file that widens it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.study import Study

NEAR = 0.025
"""Part of the searched scale within which a value is at an end of it."""

_FACTOR = 10.0  # by which a range on a logarithmic scale is widened
_INTEGER_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Edge:
    """A value at an end of its range.

    Attributes:
        parameter: How it was searched.
        value: As it is stored.
        end: Which end.
        distance: To it, as a part of the searched scale.
        line: The table and the key of a campaign's file that widen the range at that end, as one line.
    """

    parameter: ParameterInfo
    value: object
    end: Literal["lower", "upper"]
    distance: float
    line: str

    @property
    def sentence(self) -> str:
        """What is at which end of which range, in words."""
        name = self.parameter.name
        low, high, value = (
            scales.written(self.parameter, number)
            for number in (self.parameter.low, self.parameter.high, self.value)
        )  # fmt: skip
        where = "at" if self.distance <= NEAR or self.value in (self.parameter.low, self.parameter.high) else "near"
        return f"{name} = {value} is {where} the {self.end} end of its range ({low} to {high})"


def edges(study: Study, params: Mapping[str, object], *, near: float = NEAR) -> list[Edge]:
    """Return the values of a configuration that are at an end of their range; categories have no ends.

    Args:
        study: In which they were searched.
        params: Stored values.
        near: Part of the searched scale within which a value is at an end.
    """
    found = []
    for name, parameter in study.parameters.items():
        if name not in params or parameter.kind not in ("float", "int") or not scales.varies(parameter):
            continue
        value = params[name]
        at = scales.position(parameter, value)
        if at <= near or value == parameter.low:
            found.append(Edge(parameter, value, "lower", at, widened(study, parameter, "lower")))
        elif at >= 1 - near or value == parameter.high:
            found.append(Edge(parameter, value, "upper", 1 - at, widened(study, parameter, "upper")))
    return found


def widened(study: Study, parameter: ParameterInfo, end: Literal["lower", "upper"]) -> str:
    """Return the line of a campaign's file that widens a range at one end.

    By a factor of ten on a logarithmic scale (of 1 − value where that was searched), by its width on a linear one.

    >>> from analysis.study import Study
    >>> study = Study(0, "c/w/sofim", {}, "w", "sofim", "accuracy", "maximize", {})
    >>> widened(study, ParameterInfo("lr", "float", 1e-3, 10.0, log=True), "upper")
    '[search_space.sofim] lr = [0.001, 100.0]'
    """
    low, high = _wider(parameter, end)
    return f"[search_space.{study.optimizer}] {parameter.name} = [{low!r}, {high!r}]"


def _wider(parameter: ParameterInfo, end: str) -> tuple[float, float]:
    low, high = parameter.low, parameter.high
    upper = end == "upper"
    if parameter.kind == "int":
        if parameter.log:
            low, high = (low, high * _INTEGER_FACTOR) if upper else (max(1, low // _INTEGER_FACTOR), high)
        else:
            low, high = (low, high + (high - low)) if upper else (max(min(low, 1), low - (high - low)), high)
        return int(low), int(high)
    if parameter.log:
        low, high = (low, high * _FACTOR) if upper else (low / _FACTOR, high)
    elif parameter.one_minus:
        low, high = (low, 1 - (1 - high) / _FACTOR) if upper else (max(0.0, 1 - _FACTOR * (1 - low)), high)
    else:
        low, high = (low, high + (high - low)) if upper else (low - (high - low), high)
        low = max(low, 0.0) if parameter.low >= 0 else low
    return float(f"{low:.6g}"), float(f"{high:.10g}")


def named(found: Sequence[Edge]) -> str:
    """Return what is at which end, in one sentence without its full stop."""
    return "; ".join(edge.sentence for edge in found)
