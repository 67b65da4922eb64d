"""Which trials and parameters of a study a surrogate can be fitted to, and why to none."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.outcomes import MINIMUM_COMPLETE, Floats, Outcomes, constant, span
from search_spaces.errors import number_of

MINIMUM_TRIALS = 20
TRIALS_PER_PARAMETER = 5
MINIMUM_ACTIVE = 10
WIDEST = sys.float_info.max / 1000  # span of values with which one can still calculate


def within(parameters: Sequence[ParameterInfo], trials: pd.DataFrame, direction: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the trials whose values lie in the ranges that were searched, and what is to be said of the others.

    Optuna runs a configuration that somebody enqueues, whatever the range. It is no part of the space whose sensitivity
    is told, and at the range's end, where it does not belong, it would tell of a place where nothing was tried.

    Args:
        parameters: How each was searched.
        trials: Of one study, columns ``number``, ``outcome``, ``value``, ``params``.
        direction: Of the study.
    """
    inside = scales.inside(scales.encode(parameters, list(trials["params"])))
    kept = np.all(inside, axis=1)
    if kept.all():
        return trials, []
    where = [
        _outside(parameter, [values[parameter.name] for values in trials["params"][~inside[:, column]]])
        for column, parameter in enumerate(parameters)
        if not inside[:, column].all()
    ]
    number = int((~kept).sum())
    what = "1 trial has a value" if number == 1 else f"{number} trials have values"
    said = f"{what} outside the searched range ({'; '.join(where)}) and {'is' if number == 1 else 'are'} left out here"
    complete = trials[(trials["outcome"] == "complete") & trials["value"].notna()]
    if len(complete):
        values = complete["value"].astype(float)
        best = (values if direction == "maximize" else -values).sort_values(ascending=False, kind="stable").index[0]
        if not kept[trials.index.get_loc(best)]:
            said += (
                f"; the best trial, {trials['number'][best]}, is one of them, and the best one here is the best within"
            )
    found: pd.DataFrame = trials[kept]
    return found, [f"{said}."]


def _outside(parameter: ParameterInfo, values: Sequence[object]) -> str:
    numbers = [value for value in values if isinstance(value, int | float)]
    if parameter.kind == "categorical" or len(numbers) < len(values):
        shown = ", ".join(dict.fromkeys(map(str, values)))
        return f"{parameter.name} = {shown}"
    ends = dict.fromkeys(scales.written(parameter, value) for value in (min(numbers), max(numbers)))
    low, high = (scales.written(parameter, end) for end in (parameter.low, parameter.high))
    return f"{parameter.name} = {' to '.join(ends)}, searched from {low} to {high}"


def obstacle(trials: pd.DataFrame, used: Outcomes, num_parameters: int) -> str | None:
    """Return why no surrogate can be fitted to the trials of a study, or ``None``.

    Args:
        trials: All of them, columns ``outcome``.
        used: Those that have a value.
        num_parameters: That vary.
    """
    kinds = used.trials["outcome"].to_numpy()
    needed = max(MINIMUM_TRIALS, TRIALS_PER_PARAMETER * num_parameters)
    complete = int((kinds == "complete").sum())
    if len(trials) and (trials["outcome"] == "diverged").all():
        return "the only trial diverged" if len(trials) == 1 else f"all {len(trials)} trials diverged"
    if not len(used.goodness):
        return _nothing(trials)
    if len(kinds) < MINIMUM_TRIALS:
        return f"{_few(len(kinds))}, at least {needed} are needed"
    if num_parameters == 0:
        return "no parameter varies"
    if len(kinds) < needed:
        return f"{_few(len(kinds))}, at least {needed} are needed for {number_of(num_parameters, 'parameter')}"
    if complete < MINIMUM_COMPLETE:
        are = "is" if complete == 1 else "are"
        return f"only {number_of(complete, 'trial')} {are} complete, at least {MINIMUM_COMPLETE} are needed"
    worked = int(((kinds == "complete") & ~used.failed).sum())
    if worked < MINIMUM_COMPLETE:
        did = (
            "only 1 has a value that is neither infinite nor like a penalty"
            if worked == 1
            else (f"only {worked} have a value that is neither infinite nor like a penalty")
        )
        return f"of {complete} complete trials {did}, at least {MINIMUM_COMPLETE} are needed"
    if constant(used.goodness):
        return "the metric is the same for all trials"
    if not span(used.goodness) < WIDEST:
        return f"the values lie farther apart than can be calculated with ({_ends(used)})"
    return None


def _nothing(trials: pd.DataFrame) -> str:
    ended = trials[trials["outcome"].isin(["complete", "pruned", "infeasible"])]
    if len(ended) and (ended["outcome"] == "infeasible").all():
        return f"all {len(ended)} trials that ended are infeasible"
    if (trials["outcome"] == "complete").any() and trials["value"].notna().any():
        return "no trial has a finite value"
    return "no trial has a value"


def _ends(used: Outcomes) -> str:
    return " and ".join(f"{used.sign * end:.3g}" for end in (used.goodness.max(), used.goodness.min()))


def _few(trials: int) -> str:
    return f"{number_of(trials, 'trial')} {'is' if trials == 1 else 'are'} too few"


def usable(parameters: Sequence[ParameterInfo], used: Outcomes) -> tuple[list[ParameterInfo], Floats, list[str]]:
    """Return the parameters that vary and enough trials have, the trials' positions (n, d), and what was left out."""
    said: list[str] = []
    points = scales.encode(parameters, list(used.trials["params"]))
    keep = []
    for column, parameter in enumerate(parameters):
        seen = points[~np.isnan(points[:, column]), column]
        if parameter.kind == "mixed":
            said.append(f"{parameter.name} is a number in some trials and a category in others, and is left out.")
        elif not scales.varies(parameter) or (len(seen) and np.ptp(seen) == 0):
            said.append(f"{parameter.name} has only one value and is left out.")
        elif len(seen) < MINIMUM_ACTIVE:
            if len(used.goodness) >= MINIMUM_TRIALS:
                have = "has" if len(seen) == 1 else "have"
                said.append(f"{parameter.name} is left out: only {number_of(len(seen), 'trial')} {have} it.")
        else:
            keep.append(column)
            if len(seen) < len(points):
                said.append(
                    f"{parameter.name} is active in {len(seen)} of {len(points)} trials; where it is not, it counts as "
                    "having no effect."
                )
    return [parameters[column] for column in keep], points[:, keep], said
