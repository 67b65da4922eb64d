"""The path from the default to the best configuration, one parameter at a time: which change bought what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.dependence import band
from analysis.sensitivity.importance import Refit, predictions
from analysis.sensitivity.surrogate import Floats

COLUMNS = (
    "step",
    "parameter",
    "before",
    "after",
    "predicted",
    "predicted_low",
    "predicted_high",
    "gain",
    "gain_low",
    "gain_high",
)
START = "(default)"


def ablation(
    fitted: Sequence[Refit], parameters: Sequence[ParameterInfo], default: Floats, best: Floats, sign: float
) -> pd.DataFrame:
    """Change the parameters of the default to the best configuration's, always the one that is predicted to gain most.

    Greedy (Fawcett and Hoos 2016): with interactions, an order is one account of the gain among several.

    Args:
        fitted: Refits; their mean decides the order, their spread gives the bands.
        parameters: D of them; those inactive in either configuration, or equal in both, are left out.
        default: Position, shape (d,).
        best: Position, shape (d,).
        sign: Metric = sign · goodness.

    Returns:
        Columns: ``step`` (0 is the default), ``parameter``, ``before``, ``after`` (stored), ``predicted`` (metric) with
        ``predicted_low``, ``predicted_high``, ``gain`` of the step with ``gain_low``, ``gain_high`` (positive is
        better).
    """
    remaining = [
        j
        for j in range(len(parameters))
        if not math.isnan(default[j]) and not math.isnan(best[j]) and default[j] != best[j]
    ]
    current = default.copy()
    here = predictions(fitted, current[None])[:, 0]
    rows: list[tuple[object, ...]] = [(0, START, None, None, *_three(sign * here), 0.0, 0.0, 0.0)]
    while remaining:
        options = np.tile(current, (len(remaining), 1))
        options[np.arange(len(remaining)), remaining] = best[remaining]
        predicted = predictions(fitted, options)
        chosen = int(predicted.mean(axis=0).argmax())
        j = remaining.pop(chosen)
        after = predicted[:, chosen]
        values = scales.decode(parameters[j], float(current[j])), scales.decode(parameters[j], float(best[j]))
        rows.append((len(rows), parameters[j].name, *values, *_three(sign * after), *_three(after - here)))
        current, here = options[chosen], after
    return scales.frame(rows, COLUMNS, ("before", "after"))


def _three(draws: Floats) -> tuple[float, float, float]:
    mean, low, high = band(draws)
    return float(mean), float(low), float(high)
