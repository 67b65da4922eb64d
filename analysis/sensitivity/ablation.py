"""The path from the default to the best configuration, one parameter at a time: which change bought what.

The surrogate decides the order alone. What each step bought is measured: ``sofim confirm NAME --ablation`` trains the
default and the steps on the seeds of the winner's confirmation, as Fawcett and Hoos (2016) ran theirs. A prediction far
from where the sampler looked is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import intervals
from analysis.metric_scale import Scale, factor, floor_of, on_scale
from analysis.parameters import ParameterInfo
from analysis.schema import COUNTED, DEFAULT, STEP, WINNER
from analysis.sensitivity import scales
from analysis.sensitivity.importance import Refit, predictions
from analysis.sensitivity.outcomes import in_metric
from analysis.sensitivity.surrogate import Floats

_MEASURED = ("measured", "measured_low", "measured_high", "gain", "gain_low", "gain_high")
COLUMNS = ("step", "parameter", "before", "after", "runs", "diverged", *_MEASURED)
START = "(default)"
_ROUNDING = 1e-9  # of a value that was turned into search coordinates and back


def path(
    fitted: Sequence[Refit], parameters: Sequence[ParameterInfo], default: Floats, best: Floats
) -> list[tuple[str, object, object]]:
    """Return the changes from the default to the best configuration, always the one that is predicted to gain most.

    Greedy (Fawcett and Hoos 2016): with interactions, an order is one account of the gain among several.

    Args:
        fitted: Refits; their mean decides the order.
        parameters: D of them; those inactive in either configuration, or equal in both, are left out.
        default: Position, shape (d,).
        best: Position, shape (d,).

    Returns:
        Parameter, and its stored values before and after.
    """
    remaining = [
        j
        for j in range(len(parameters))
        if not math.isnan(default[j]) and not math.isnan(best[j]) and default[j] != best[j]
    ]
    current = default.copy()
    changes: list[tuple[str, object, object]] = []
    while remaining:
        options = np.tile(current, (len(remaining), 1))
        options[np.arange(len(remaining)), remaining] = best[remaining]
        chosen = int(predictions(fitted, options).mean(axis=0).argmax())
        j = remaining.pop(chosen)
        before, after = (scales.decode(parameters[j], float(position)) for position in (current[j], best[j]))
        changes.append((parameters[j].name, before, after))
        current = options[chosen]
    return changes


def planned(changes: Sequence[tuple[str, object, object]]) -> pd.DataFrame:
    """Return the path of which nothing was run: `measured` without numbers, a row for the default and each change."""
    rows = [(START, None, None), *changes]
    unknown = (0, 0, *(math.nan,) * len(_MEASURED))
    return scales.frame([(step, *row, *unknown) for step, row in enumerate(rows)], COLUMNS, ("before", "after"))


def measured(runs: pd.DataFrame, winner: int, sign: float, scale: Scale) -> pd.DataFrame:
    """Return what the default and the steps from there to the winner were measured to be.

    Args:
        runs: Of one study, as ``analysis.load.ablation_runs`` gives them: columns ``role`` (``"default"``, ``"step"``,
            ``"winner"``), ``step``, ``path_to``, ``confirms``, ``params``, ``outcome``, ``value``.
        winner: The number of the trial that the path leads to; runs on other paths are ignored.
        sign: +1 when the metric is maximized, -1 when minimized.
        scale: Of the metric.

    Returns:
        Columns: ``step`` (0 is the default), ``parameter``, ``before``, ``after`` (stored), ``runs``, ``diverged`` (of
        these), ``measured`` (the metric's mean over the others) with its 95 % interval ``…_low``, ``…_high``, and
        ``gain`` over the step before with its interval: a difference where more is better, on a logarithmic scale the
        factor by which the metric is better. Empty where the default was not run, or not the winner.
    """
    stages = [rows for rows in _stages(runs, winner) if len(rows)]
    roles = [str(rows["role"].iloc[0]) for rows in stages]
    if not {DEFAULT, WINNER} <= set(roles):
        return pd.DataFrame(columns=list(COLUMNS))
    floor = floor_of(runs["value"].to_numpy(np.float64))
    rows: list[tuple[object, ...]] = []
    before: tuple[Mapping[str, object], Floats] | None = None
    change: tuple[str, object, object]
    for step, stage in enumerate(stages):
        params: Mapping[str, object] = stage["params"].iloc[0]
        values = _came_through(stage, scale, floor)
        ends = [float(in_metric(np.array(sign * end), sign, scale)) for end in intervals.mean(values)]
        if before is None:
            change, gain = (START, None, None), (math.nan,) * 3
        else:
            change, gain = _change(before[0], params), _gain(values, before[1], sign, scale)
        rows.append((step, *change, len(stage), len(stage) - len(values), *ends, *gain))
        before = params, values
    return scales.frame(rows, COLUMNS, ("before", "after"))


def whole_gain(runs: pd.DataFrame, winner: int, sign: float, scale: Scale) -> tuple[float, float, float]:
    """Return what the winner gained over the default, with its 95 % interval; arguments and unit as of `measured`.

    NaN where one of the two was not run.
    """
    first, *_, last = _stages(runs, winner)
    floor = floor_of(runs["value"].to_numpy(np.float64))
    before, after = (_came_through(rows, scale, floor) for rows in (first, last))
    return _gain(after, before, sign, scale)


def _came_through(rows: pd.DataFrame, scale: Scale, floor: float) -> Floats:
    """Return the values of the runs of a stage that did not break (n,), on the scale of the metric."""
    values = on_scale(rows["value"].to_numpy(np.float64), scale, floor)
    return np.asarray(values[np.isfinite(values) & (rows["outcome"] != "diverged").to_numpy()])


def _stages(runs: pd.DataFrame, winner: int) -> list[pd.DataFrame]:
    ended = runs[runs["outcome"].isin(COUNTED)]
    steps = ended[(ended["role"] == STEP) & (ended["path_to"] == winner).fillna(False).astype(bool)]
    return [
        ended[ended["role"] == DEFAULT],
        *(steps[steps["step"] == step] for step in sorted(steps["step"].dropna().unique())),
        ended[(ended["role"] == WINNER) & (ended["confirms"] == winner).fillna(False).astype(bool)],
    ]


def _change(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, object, object]:
    changed = [name for name in after if not same(before.get(name), after[name])]
    if len(changed) == 1:
        return changed[0], before.get(changed[0]), after[changed[0]]
    return ", ".join(changed), None, None


def same(one: object, other: object) -> bool:
    """Return whether two stored values are the same but for rounding on the way to search coordinates and back."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_ROUNDING)
    return one == other


def _gain(values: Floats, before: Floats, sign: float, scale: Scale) -> tuple[float, float, float]:
    welch = intervals.difference(sign * values, sign * before)
    low, high = welch.interval()
    if scale == "linear":
        return welch.estimate, low, high
    return factor(welch.estimate), factor(low), factor(high)
