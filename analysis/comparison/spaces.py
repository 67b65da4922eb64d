"""What each optimizer searched: the only thing in which optimizers of a fair comparison differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity.scales import decades
from analysis.study import Study
from search_spaces.errors import number_of

SPACES = ("optimizer", "parameter", "kind", "scale", "low", "high", "choices", "default", "decades")
FIXED = "fixed"


def searched(study: Study) -> str:
    """Return what of a study's space was searched, and what was fixed."""
    fixed = ", ".join(f"{name} = {value}" for name, value in study.fixed.items())
    return volume(study.parameters) + (f" with {fixed}" if fixed else "")


def volume(parameters: Mapping[str, ParameterInfo]) -> str:
    """Return the size of a search space: how many decades its logarithmic ranges span together, and its other choices.

    Volumes of different spaces have different units, so each factor is told on its own.
    """
    total = sum(width for p in parameters.values() if not math.isnan(width := decades(p)))
    others = [p for p in parameters.values() if math.isnan(decades(p))]
    factors = [f"{total:.1f} decades"] if len(others) < len(parameters) else []
    factors += [number_of(len(p.choices), f"{p.name} choice") for p in others if p.kind == "categorical"]
    factors += [f"{p.name} {p.low:g} to {p.high:g}" for p in others if p.kind != "categorical"]
    return f"{number_of(len(parameters), 'parameter')} ({' × '.join(factors)})" if factors else "nothing"


def _scale(parameter: ParameterInfo) -> str:
    if parameter.kind == "mixed":
        return ""
    if parameter.kind == "categorical":
        return "choice"
    return "log" if parameter.log else "log(1 - value)" if parameter.one_minus else "linear"


def search_spaces(studies: Sequence[Study]) -> pd.DataFrame:
    """Return what was searched, of each optimizer, and what was fixed: the only thing that may differ.

    Returns:
        One row a parameter (of the optimizer's first study), the fixed ones last. Columns: ``optimizer``,
        ``parameter``, ``kind`` (float, int, categorical, mixed, fixed), ``scale`` (log, log(1 - value), linear, choice;
        empty for a mixed or fixed one), ``low``, ``high`` (NaN for a choice), ``choices`` (as text), ``default`` (of a
        fixed one, its value), ``decades`` (width of a logarithmic range; NaN otherwise).
    """
    first = {study.optimizer: study for study in reversed(studies)}
    rows: list[tuple[object, ...]] = []
    for optimizer in dict.fromkeys(study.optimizer for study in studies):
        for p in first[optimizer].parameters.values():
            choices = ", ".join(map(str, p.choices))
            rows.append((optimizer, p.name, p.kind, _scale(p), p.low, p.high, choices, p.default, decades(p)))
        for name, value in first[optimizer].fixed.items():
            rows.append((optimizer, name, FIXED, "", math.nan, math.nan, "", value, math.nan))
    frame = pd.DataFrame(rows, columns=list(SPACES))
    frame["default"] = pd.Series([row[7] for row in rows], dtype=object)
    return frame
