"""What tuning gains over the default (Probst, Boulesteix and Bischl 2019), all parameters together and each alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.dependence import band
from analysis.sensitivity.importance import Refit, predictions
from analysis.sensitivity.robustness import cube
from analysis.sensitivity.surrogate import BINS, Floats

COLUMNS = ("parameter", "default", "tuned", "gain", "gain_low", "gain_high", "gain_percent")
ALL = "(all)"


def tunability(
    fitted: Sequence[Refit],
    parameters: Sequence[ParameterInfo],
    default: Floats,
    tried: Floats,
    unit: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the predicted gain of tuning over the default.

    The best of many noisy predictions is too good. So each refit judges what the mean of all others chooses; the gain
    may come out negative, which says that no gain could be shown.

    Args:
        fitted: Refits, at least two.
        parameters: D of them.
        default: Position of the default, shape (d,), no NaN.
        tried: Positions of the trials (n, d), candidates beside 2,048 points spread over the space.
        unit: Goodness that 100 % is.
        rng: Spreads the points.

    Returns:
        Columns: ``parameter`` (``"(all)"`` first), ``default``, ``tuned`` (stored values; ``None`` for all together),
        ``gain`` with ``gain_low``, ``gain_high`` over the refits (in units of the metric, positive is better), and
        ``gain_percent``.
    """
    candidates = np.concatenate([default[None], tried, cube(2048, len(parameters), rng)])
    rows: list[tuple[object, ...]] = []
    rows.append((ALL, None, None, *_gain(predictions(fitted, candidates), unit)))
    for j, parameter in enumerate(parameters):
        at = np.concatenate([[default[j]], scales.grid(parameter, BINS)])
        points = np.tile(default, (len(at), 1))
        points[:, j] = at
        predicted = predictions(fitted, points)
        tuned = scales.decode(parameter, float(at[predicted.mean(axis=0).argmax()]))
        rows.append((parameter.name, scales.decode(parameter, float(default[j])), tuned, *_gain(predicted, unit)))
    return scales.frame(rows, COLUMNS, ("default", "tuned"))


def _gain(predicted: Floats, unit: float) -> tuple[float, float, float, float]:
    """Return gain over column 0 of ``predicted`` (refits, candidates); each refit judges what all others choose."""
    others = predicted.sum(axis=0) - predicted  # of their mean, a multiple
    chosen = predicted[np.arange(len(predicted)), others.argmax(axis=1)]
    mean, low, high = band(chosen - predicted[:, 0])
    return float(mean), float(low), float(high), float(100 * mean / unit)
