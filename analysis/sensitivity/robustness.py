"""How far parameters may move around the best configuration, how much of the space is good, and where runs diverge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import qmc

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.dependence import InMetric, band
from analysis.sensitivity.importance import Refit, predictions
from analysis.sensitivity.outcomes import LOSSES
from analysis.sensitivity.surrogate import BINS, Floats, cell_of, decompose, fit

ENDS = ("best", "low", "low_low", "low_high", "high", "high_low", "high_high")  # stored values
COLUMNS = (
    "parameter",
    "loss_percent",
    *ENDS,
    "width",
    "width_low",
    "width_high",
    "unit",
    "share_of_range",
    "resolved",
    "threshold",
)
LOCAL = ("parameter", "best", "step", "loss", "loss_low", "loss_high")
DIVERGENCE = ("parameter_a", "parameter_b", "value_a", "value_b", "share")
STEP = 0.1  # of the searched range, to either side, for local sensitivity
_RESOLUTION = 65


def robustness(
    fitted: Sequence[Refit],
    parameters: Sequence[ParameterInfo],
    best: Floats,
    unit: float,
    error: float,
    in_metric: InMetric,
) -> pd.DataFrame:
    """Return how far each parameter alone may move from ``best`` (d,) before the prediction has lost 1, 5 and 10 %.

    Args:
        fitted: Refits.
        parameters: In the order of ``best``.
        best: The best configuration's position; inactive parameters (NaN) get no rows.
        unit: Goodness that 100 % of loss is.
        error: Of the surrogate near the best, in goodness.
        in_metric: Gives the metric from goodness.

    Returns:
        Columns: ``parameter``, ``loss_percent``, ``best``, ``low``, ``high`` (stored values between which the loss
        stays below in the mean and in at least 95 % of the refits to either side, for numbers; ``…_low`` and
        ``…_high`` are where the end lies in 90 % of them), ``width`` with ``width_low``, ``width_high``, ``unit``
        (``decades``, ``share of range``, or ``share of choices``), ``share_of_range`` (0 to 1), ``resolved`` (whether
        the loss exceeds ``error``; where it does not, the widths say nothing), ``threshold`` (the metric where the
        loss is reached). A width ends where the search ended.
    """
    rows: list[tuple[object, ...]] = []
    for j, parameter in enumerate(parameters):
        if math.isnan(best[j]):
            continue
        at = scales.grid(parameter, _RESOLUTION)
        here = int(np.abs(at - best[j]).argmin())
        if parameter.kind != "categorical":
            at[here] = best[j]
        curves = predictions(fitted, _moved(best, j, at))
        rows.extend(_stretches(parameter, parameter.name, at, here, curves, unit, error, in_metric))
    return scales.frame(rows, COLUMNS, ENDS)


def untold(parameters: Sequence[ParameterInfo], best: Floats) -> pd.DataFrame:
    """Return the rows of `robustness` where the surrogate is not good enough: where the best is, and no ends."""
    nothing = (math.nan,) * 6
    rows = [
        (parameter.name, percent, scales.decode(parameter, float(at)), *nothing, *nothing[:3], "", math.nan, False)
        for parameter, at in zip(parameters, best, strict=True)
        if not math.isnan(at)
        for percent in LOSSES
    ]
    return scales.frame([(*row, math.nan) for row in rows], COLUMNS, ENDS)


RIDGE = "rho (lr/rho fixed)"


def along_ridge(
    fitted: Sequence[Refit],
    parameters: Sequence[ParameterInfo],
    best: Floats,
    unit: float,
    error: float,
    in_metric: InMetric,
    rates: tuple[int, int],
) -> pd.DataFrame:
    """Return the same for ρ when η moves with it, so that η/ρ stays what it is in the best configuration.

    Small gradients see η/ρ alone, so that ρ may move farther this way than alone; how far says how much the knee √ρ
    matters.

    Args:
        fitted: Refits.
        parameters: In the order of ``best``.
        best: The best configuration's position.
        unit: Goodness that 100 % of loss is.
        error: Of the surrogate near the best, in goodness.
        in_metric: Gives the metric from goodness.
        rates: The columns of lr and rho, both searched on log scales.

    Returns:
        Columns of `robustness`; ``parameter`` is :data:`RIDGE`.
    """
    rate, rho = rates
    slope = scales.decades(parameters[rho]) / scales.decades(parameters[rate])
    reach = best[rate] + (np.array([0.0, 1.0]) - best[rho]) * slope  # of lr, where rho is at its ends
    ends = best[rho] + (np.clip(reach, 0.0, 1.0) - best[rate]) / slope
    at = np.linspace(ends[0], ends[1], _RESOLUTION)
    here = int(np.abs(at - best[rho]).argmin())
    at[here] = best[rho]
    points = _moved(best, rho, at)
    points[:, rate] = np.clip(best[rate] + (at - best[rho]) * slope, 0.0, 1.0)
    rows = _stretches(parameters[rho], RIDGE, at, here, predictions(fitted, points), unit, error, in_metric)
    return scales.frame(rows, COLUMNS, ENDS)


def _stretches(
    parameter: ParameterInfo,
    name: str,
    at: Floats,
    here: int,
    curves: Floats,
    unit: float,
    error: float,
    in_metric: InMetric,
) -> list[tuple[object, ...]]:
    """Return rows of one parameter, from the predictions (refits, positions) at the positions ``at``.

    The mean of the refits is smoother than each of them and goes over an edge that each of them has at another place.
    So the stretch that is told ends where the most cautious twentieth of the refits end it.
    """
    decades = scales.decades(parameter)
    categorical = parameter.kind == "categorical"
    measure = "share of choices" if categorical else "share of range" if math.isnan(decades) else "decades"
    factor = decades if measure == "decades" else 1.0
    mean = curves.mean(axis=0)
    rows: list[tuple[object, ...]] = []
    for percent in LOSSES:
        allowed = unit * percent / 100
        spans = np.array([_span(curve >= curve[here] - allowed, at, here, categorical) for curve in curves])
        low, high, share = _span(mean >= mean[here] - allowed, at, here, categorical)
        _, share_low, share_high = band(spans[:, 2])
        if categorical:
            ends: list[object] = [None] * 6
            share = min(share, float(share_low))
        else:
            _, (low_low, high_low), (low_high, high_high) = band(spans[:, :2])
            low, high = max(low, float(low_high)), min(high, float(high_low))
            places = (low, min(low, float(low_low)), low, high, high, max(high, float(high_high)))
            ends = [scales.decode(parameter, float(place)) for place in places]
            share = high - low
        best = scales.decode(parameter, float(at[here]))
        widths = (share * factor, min(share, float(share_low)) * factor, max(share, float(share_high)) * factor)
        threshold = float(in_metric(mean[here] - np.float64(allowed)))
        rows.append((name, percent, best, *ends, *widths, measure, share, bool(allowed >= error), threshold))
    return rows


def _span(good: np.typing.NDArray[np.bool_], at: Floats, here: int, categorical: bool) -> tuple[float, float, float]:
    """Return ends and share of the stretch of ``good`` around ``here``; for categories the share of good ones."""
    if categorical:
        return math.nan, math.nan, float(good.mean())
    left = right = here
    while left > 0 and good[left - 1]:
        left -= 1
    while right < len(at) - 1 and good[right + 1]:
        right += 1
    # The first and last points of a grid of cells stand for the range's ends.
    half = 0.5 / len(at) * (1 + 1e-9)
    low = 0.0 if left == 0 and at[0] <= half else float(at[left])
    high = 1.0 if right == len(at) - 1 and at[-1] >= 1 - half else float(at[right])
    return low, high, high - low


def _moved(base: Floats, j: int, at: Floats) -> Floats:
    points = np.tile(base, (len(at), 1))
    points[:, j] = at
    return points


def local_sensitivity(
    fitted: Sequence[Refit], parameters: Sequence[ParameterInfo], best: Floats, unit: float
) -> pd.DataFrame:
    """Return the mean predicted loss when one parameter is up to a tenth of its range away from the best configuration.

    The loss is against the best that is predicted within reach, so that none is negative.

    Returns:
        Columns: ``parameter``, ``best`` (stored), ``step`` (share of range; 1 for a category: any choice), ``loss``,
        ``loss_low``, ``loss_high`` (percent of ``unit``).
    """
    rows: list[tuple[object, ...]] = []
    for j, parameter in enumerate(parameters):
        if math.isnan(best[j]):
            continue
        categorical = parameter.kind == "categorical"
        at = scales.grid(parameter, BINS) if categorical else np.clip(best[j] + np.linspace(-STEP, STEP, 11), 0, 1)
        curves = predictions(fitted, _moved(best, j, at))
        reference = np.maximum(predictions(fitted, best[None])[:, 0], curves.max(axis=1))
        mean, low, high = band(100 * (reference - curves.mean(axis=1)) / unit)
        low, high = min(low, mean), max(high, mean)
        value = scales.decode(parameter, float(best[j]))
        rows.append((parameter.name, value, 1.0 if categorical else STEP, float(mean), float(low), float(high)))
    return scales.frame(rows, LOCAL, ("best",))


def cube(num_points: int, dimension: int, rng: np.random.Generator) -> Floats:
    """Scrambled Sobol points (a power of two of them) in the unit cube."""
    return qmc.Sobol(dimension, rng=rng).random(num_points)


def share_near_best(
    fitted: Sequence[Refit], best: Floats, unit: float, rng: np.random.Generator, percent: float = 5.0
) -> tuple[float, float, float]:
    """Return the share of the space predicted within ``percent`` of the best configuration: estimate, low, high."""
    predicted = predictions(fitted, cube(4096, len(best), rng))
    reference = predictions(fitted, best[None])
    share = (predicted.mean(axis=0) >= reference.mean() - unit * percent / 100).mean()
    _, low, high = band((predicted >= reference - unit * percent / 100).mean(axis=1))
    # The mean of many surrogates is smoother than each: its share may lie outside their spread.
    return float(share), min(float(low), float(share)), max(float(high), float(share))


def divergence(
    points: Floats, diverged: np.typing.NDArray[np.bool_], parameters: Sequence[ParameterInfo], rng: np.random.Generator
) -> tuple[float, pd.DataFrame]:
    """Return where runs diverge: share of the space, and a map over the two parameters that decide most of it.

    Args:
        points: All used trials (n, d); at least two parameters for a map.
        diverged: Shape (n,).
        parameters: In the order of the columns.
        rng: Fills inactive parameters and seeds the forest.

    Returns:
        The share of the space (of trials where there are fewer than five diverged or five others), and columns
        ``parameter_a``, ``parameter_b``, ``value_a``, ``value_b``, ``share`` (0 to 1); empty when it cannot be told.
    """
    empty = pd.DataFrame(columns=list(DIVERGENCE))
    if min(diverged.sum(), (~diverged).sum()) < 5:
        return float(diverged.mean()), empty
    filled = np.where(np.isnan(points), rng.random(points.shape), points)
    components = decompose(fit(filled, diverged.astype(float), rng, num_trees=50, rounds=1))
    share = min(1.0, max(0.0, components.mean))
    if len(parameters) < 2:
        return share, empty
    alone = (components.mains**2).mean(axis=1)
    j, k = max(components.pairs, key=lambda key: alone[key[0]] + alone[key[1]] + (components.pairs[key] ** 2).mean())
    table = components.mean + components.mains[j][:, None] + components.mains[k][None, :] + components.pairs[j, k]
    at_a, at_b = scales.grid(parameters[j], BINS), scales.grid(parameters[k], BINS)
    cells = np.clip(table[np.ix_(cell_of(at_a), cell_of(at_b))], 0.0, 1.0)
    rows = [
        (parameters[j].name, parameters[k].name, scales.decode(parameters[j], a), scales.decode(parameters[k], b), cell)
        for a, line in zip(at_a, cells, strict=True)
        for b, cell in zip(at_b, line, strict=True)
    ]
    return share, scales.frame(rows, DIVERGENCE, ("value_a", "value_b"))
