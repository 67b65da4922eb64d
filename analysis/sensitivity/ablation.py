"""The path from the default to the best configuration, one parameter at a time: which change bought what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.intervals import mean
from analysis.metric_scale import Scale, floor_of, on_scale
from analysis.parameters import ParameterInfo
from analysis.schema import COUNTED, DEFAULT, STEP, WINNER
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


MEASURED = (
    "step", "parameter", "before", "after", "value", "value_low", "value_high", "gain", "gain_low", "gain_high",
    "seeds", "broken",
)  # fmt: skip
_ROUNDING = 1e-9  # of a value that was turned into search coordinates and back


def measured(
    runs: pd.DataFrame, winner: int, direction: str, scale: Scale = "linear", column: str = "value"
) -> pd.DataFrame:
    """Return the path from the default to a winner as it was run, each step on the same seeds.

    Args:
        runs: Of one study, see :func:`analysis.load.ablation_runs`.
        winner: Number of the trial that the path leads to; steps to another one are left out.
        direction: ``"maximize"`` or ``"minimize"``.
        scale: Of the metric, see `analysis.metric_scale`.
        column: What is looked at: ``"value"`` (validation) or ``"test_metric"``.

    Returns:
        A row for the default and each change, in their order; without rows where the default or a step was not run.
        Columns: ``step`` (0 is the default), ``parameter`` (``"(default)"`` there), ``before``, ``after`` (stored
        values), ``value`` with ``value_low``, ``value_high`` (mean over seeds of the runs that came through, with 95 %
        of Student's t; the geometric mean on a logarithmic scale), ``gain`` of the step with its ends (positive is
        better: the mean of the differences seed by seed, Student's t over those; on a logarithmic scale the factor,
        above 1 is better), ``seeds`` (that came through here and one step before), ``broken`` (runs that diverged or
        failed, which are in no mean).
    """
    ended = runs[runs["outcome"].isin(COUNTED)]
    steps = ended[(ended["role"] == STEP) & (ended["path_to"] == winner).fillna(False).astype(bool)]
    goal = ended[(ended["role"] == WINNER) & (ended["confirms"] == winner).fillna(False).astype(bool)]
    points = [ended[ended["role"] == DEFAULT], *(own for _, own in steps.groupby("step")), goal]
    if not all(map(len, points)):
        return scales.frame([], MEASURED, ("before", "after"))
    floor = floor_of(np.concatenate([_by_seed(own, column).to_numpy(np.float64) for own in points]))
    sign = 1.0 if direction == "maximize" else -1.0
    rows: list[tuple[object, ...]] = []
    params: Mapping[str, Any] = {}
    earlier = pd.Series(dtype="float64")
    for step, own in enumerate(points):
        found = _by_seed(own, column)
        here = pd.Series(on_scale(found, scale, floor), index=found.index)
        gains = np.asarray(sign * (here - earlier).dropna(), np.float64)
        change = _change(params, own["params"].iloc[0]) if step else (START, None, None)
        if change is None:  # the path was begun, and has not all its steps yet
            return scales.frame([], MEASURED, ("before", "after"))
        told = [*mean(np.asarray(here, np.float64)), *(mean(gains) if step else (0.0, 0.0, 0.0))]
        told = told if scale == "linear" else [math.exp(number) for number in told]
        rows.append((step, *change, *told, len(gains) if step else len(here), len(own) - len(here)))
        params, earlier = own["params"].iloc[0], here
    return scales.frame(rows, MEASURED, ("before", "after"))


def _change(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, object, object] | None:
    """Return the one parameter in which two configurations differ, and its values; ``None`` where there are more."""
    changed = [name for name, value in after.items() if not _same(before.get(name), value)]
    return (changed[0], before.get(changed[0]), after[changed[0]]) if len(changed) == 1 else None


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_ROUNDING)
    return one == other


def _by_seed(runs: pd.DataFrame, column: str) -> pd.Series:
    through = runs[(runs["outcome"] == "complete") & np.isfinite(runs[column].to_numpy(np.float64))]
    found: pd.Series = through.drop_duplicates("seed").set_index("seed")[column]
    return found


def _three(draws: Floats) -> tuple[float, float, float]:
    mean, low, high = band(draws)
    return float(mean), float(low), float(high)
