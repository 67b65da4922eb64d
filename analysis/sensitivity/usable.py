"""Which trials and parameters of a study a surrogate can be fitted to, and why to none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.load import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.outcomes import Floats, Outcomes
from search_spaces.errors import number_of

MINIMUM_TRIALS = 20
TRIALS_PER_PARAMETER = 5
MINIMUM_COMPLETE = 5
MINIMUM_ACTIVE = 10


def obstacle(trials: pd.DataFrame, used: Outcomes, num_parameters: int) -> str | None:
    """Why no surrogate can be fitted to the trials of a study, or ``None``.

    Args:
        trials: all of them, columns ``outcome``.
        used: those that have a value.
        num_parameters: that vary.
    """
    kinds = used.trials["outcome"].to_numpy()
    needed = max(MINIMUM_TRIALS, TRIALS_PER_PARAMETER * num_parameters)
    complete = int((kinds == "complete").sum())
    if len(trials) and (trials["outcome"] == "diverged").all():
        return "the only trial diverged" if len(trials) == 1 else f"all {len(trials)} trials diverged"
    if not len(used.goodness):
        return "no trial has a value"
    if len(kinds) < MINIMUM_TRIALS:
        return f"{_few(len(kinds))}, at least {needed} are needed"
    if num_parameters == 0:
        return "no parameter varies"
    if len(kinds) < needed:
        return f"{_few(len(kinds))}, at least {needed} are needed for {number_of(num_parameters, 'parameter')}"
    if complete < MINIMUM_COMPLETE:
        are = "is" if complete == 1 else "are"
        return f"only {number_of(complete, 'trial')} {are} complete, at least {MINIMUM_COMPLETE} are needed"
    if np.ptp(used.goodness) <= 1e-12 * np.abs(used.goodness).max():
        return "the metric is the same for all trials"
    return None


def _few(trials: int) -> str:
    return f"{number_of(trials, 'trial')} {'is' if trials == 1 else 'are'} too few"


def usable(parameters: Sequence[ParameterInfo], used: Outcomes) -> tuple[list[ParameterInfo], Floats, list[str]]:
    """The parameters that vary and that enough trials have, the trials' positions (n, d), and what was left out."""
    said: list[str] = []
    points = scales.encode(parameters, list(used.trials["params"]))
    keep = []
    for column, parameter in enumerate(parameters):
        seen = points[~np.isnan(points[:, column]), column]
        if not scales.varies(parameter) or (len(seen) and np.ptp(seen) == 0):
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
