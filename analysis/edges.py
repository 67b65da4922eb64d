"""Values at an end of the range they were searched in, and the line of a campaign's file that widens it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
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
        line: Of a campaign's file: what widens the range at that end, see `widened`.
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

    Neither has a range an end where it cannot be widened: there is no iteration below the first.

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
        if not math.isfinite(at):
            continue
        end: Literal["lower", "upper"] = "lower" if at < 0.5 else "upper"
        distance = min(at, 1 - at)
        is_end = value in (parameter.low, parameter.high)
        if (distance <= near or is_end) and _wider(parameter, end) != (parameter.low, parameter.high):
            found.append(Edge(parameter, value, end, distance, widened(study, parameter, end)))
    return found


def widened(study: Study, parameter: ParameterInfo, end: Literal["lower", "upper"]) -> str:
    """Return the line of a campaign's file that widens a range at one end: above its tables, or in that of the space.

    By a factor of ten on a logarithmic scale (of 1 − value where that was searched), by its width on a linear one; no
    further than the optimizer accepts.

    >>> from analysis.study import Study
    >>> study = Study(0, "c/w/sofim", {}, "w", "sofim", "accuracy", "maximize", {})
    >>> widened(study, ParameterInfo("lr", "float", 1e-3, 10.0, log=True), "upper")
    'search_space.sofim.lr = [0.001, 100.0]'
    """
    low, high = _wider(parameter, end)
    tables = study.campaign.get("search_space")
    written = tables.get(study.optimizer) if isinstance(tables, Mapping) else None
    place, name, ends = f"search_space.{_key(study.optimizer)}", _key(parameter.name), f"[{low!r}, {high!r}]"
    if not isinstance(written, Mapping) or not written:
        return f"{place}.{name} = {ends}"
    before = written.get(parameter.name)
    if isinstance(before, Mapping):  # all that a person says of it
        entries = {**before, "low": low, "high": high}
        ends = f"{{ {', '.join(f'{_key(key)} = {_toml(entry)}' for key, entry in entries.items())} }}"
    return f"{name} = {ends} in [{place}]"


def _toml(value: object) -> str:
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def _key(name: str) -> str:
    """Return a name as a key of TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _wider(parameter: ParameterInfo, end: str) -> tuple[float, float]:
    low, high = parameter.low, parameter.high
    upper = end == "upper"
    if parameter.kind == "int":
        if parameter.log:
            low, high = (low, high * _INTEGER_FACTOR) if upper else (max(1, low // _INTEGER_FACTOR), high)
        else:
            low, high = (low, high + (high - low)) if upper else (max(min(low, 1), low - (high - low)), high)
        return int(max(low, parameter.accepts.low)), int(min(high, parameter.accepts.high))
    if parameter.log:
        low, high = (low, high * _FACTOR) if upper else (low / _FACTOR, high)
    elif parameter.one_minus:
        lower = round(1 - _FACTOR * (1 - low), 12)
        low, high = (low, 1 - (1 - high) / _FACTOR) if upper else (max(0.0, lower) if low >= 0 else lower, high)
    else:
        low, high = (low, high + (high - low)) if upper else (low - (high - low), high)
        low = max(low, 0.0) if parameter.low >= 0 else low
    # the end that stays is as it was: a file that changes it asks for another range
    if upper:
        return low, _short(parameter, _accepted(parameter, high), 10)
    return _short(parameter, _accepted(parameter, low), 6), high


def _short(parameter: ParameterInfo, end: float, digits: int) -> float:
    """Return an end of a range with so many digits, where the optimizer accepts that too."""
    short = float(f"{end:.{digits}g}")
    return short if short in parameter.accepts else end


def _accepted(parameter: ParameterInfo, end: float) -> float:
    """Return an end of a range, or how far one may go: nine tenths of the way to a limit that is itself refused."""
    accepts = parameter.accepts
    if end in accepts or not math.isfinite(end):
        return end
    limit, before, is_open = (
        (accepts.low, parameter.low, accepts.open_low)
        if end <= accepts.low
        else (accepts.high, parameter.high, accepts.open_high)
    )
    return before + 0.9 * (limit - before) if is_open else limit
