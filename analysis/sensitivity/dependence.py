"""How the metric depends on one parameter and on two, averaged over all others, with bands over refits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.fit import Fit
from analysis.sensitivity.importance import LEVEL, Refit
from analysis.sensitivity.surrogate import BINS, Floats, cell_of

InMetric = Callable[[Floats], Floats]
"""Values in units of the metric from goodness, see `analysis.sensitivity.outcomes.Outcomes.metric`."""

CURVE = ("parameter", "position", "value", "predicted", "low", "high")
MAP = ("parameter_a", "parameter_b", "value_a", "value_b", "predicted", "low", "high")


def band(draws: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean, lower and upper quantile at :data:`LEVEL` over the first axis."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return draws.mean(axis=0), low, high


def in_units(draws: Floats, in_metric: InMetric) -> tuple[Floats, Floats, Floats]:
    """Return `band` of goodness in units of the metric: estimate, and its lower and upper end there."""
    mean, *ends = band(draws)
    one, two = (in_metric(end) for end in ends)
    centre = in_metric(mean)
    return centre, np.minimum(np.minimum(one, two), centre), np.maximum(np.maximum(one, two), centre)


def partial_dependence(
    fitted: Sequence[Refit], parameters: Sequence[ParameterInfo], in_metric: InMetric
) -> pd.DataFrame:
    """Return the metric over each parameter, all others averaged uniformly over their ranges.

    On a logarithmic scale the averages are of logarithms. Nothing is predicted beyond what was observed.

    Returns:
        Columns: ``parameter``, ``position`` (on the searched scale, 0 to 1), ``value`` (stored), ``predicted``
            (metric), ``low``, ``high`` (band over the refits).
    """
    rows: list[tuple[object, ...]] = []
    for j, parameter in enumerate(parameters):
        at = scales.grid(parameter, BINS)
        cells = cell_of(at)
        draws = np.array([_main(refit, j)[cells] for refit in fitted])
        for place, *numbers in zip(at, *in_units(draws, in_metric), strict=True):
            rows.append((parameter.name, place, scales.decode(parameter, place), *numbers))
    return scales.frame(rows, CURVE, ("value",))


def partial_dependence_of(fit: Fit) -> pd.DataFrame:
    """Return `partial_dependence` of a fit."""
    return partial_dependence(fit.fitted, fit.parameters, fit.used.metric)


def _main(refit: Refit, j: int) -> Floats:
    """Return goodness over the cells of coordinate j, others averaged: shape (BINS,)."""
    return refit.goodness(refit.components.mean + refit.components.mains[j])


def joint(refit: Refit, j: int, k: int) -> Floats:
    """Return the refit over cells of coordinates j (rows) and k (columns), in its unit, others averaged."""
    c = refit.components
    pair = c.pairs[j, k] if j < k else c.pairs[k, j].T
    table: Floats = c.mean + c.mains[j][:, None] + c.mains[k][None, :] + pair
    return table


def pair_map(
    fitted: Sequence[Refit], parameters: Sequence[ParameterInfo], j: int, k: int, in_metric: InMetric
) -> pd.DataFrame:
    """Return the metric over two parameters: a row a cell.

    Returns:
        Columns: ``parameter_a``, ``parameter_b``, ``value_a``, ``value_b`` (stored), ``predicted``, ``low``, ``high``.
    """
    at_a, at_b = scales.grid(parameters[j], BINS), scales.grid(parameters[k], BINS)
    rows_of, columns_of = cell_of(at_a), cell_of(at_b)
    cells = np.ix_(rows_of, columns_of)
    mean, low, high = in_units(np.array([refit.goodness(joint(refit, j, k)[cells]) for refit in fitted]), in_metric)
    names = parameters[j].name, parameters[k].name
    values_a = [scales.decode(parameters[j], at) for at in at_a]
    values_b = [scales.decode(parameters[k], at) for at in at_b]
    rows = [
        (*names, value_a, value_b, mean[a, b], low[a, b], high[a, b])
        for a, value_a in enumerate(values_a)
        for b, value_b in enumerate(values_b)
    ]
    return scales.frame(rows, MAP, ("value_a", "value_b"))


@dataclass(frozen=True, slots=True)
class Coordinates:
    """What two coordinates explain of the joint effect of η and ρ; each is (estimate, low, high) over refits.

    Attributes:
        ratio: Share that a function of η/ρ alone explains.
        knee: Share that a function of √ρ alone explains.
        both: Share that a sum of a function of η/ρ and one of √ρ explains.
        original: Share that a sum of a function of η and one of ρ explains, to compare ``both`` with.
        of_all: Share of the metric's whole explained variance that the joint effect is.
    """

    ratio: tuple[float, float, float]
    knee: tuple[float, float, float]
    both: tuple[float, float, float]
    original: tuple[float, float, float]
    of_all: tuple[float, float, float]


def effective_coordinates(
    fitted: Sequence[Refit], parameters: Sequence[ParameterInfo], learning_rate: int, rho: int
) -> Coordinates | None:
    """Compare η/ρ and √ρ with η and ρ as coordinates of SOFIM (both must be searched on log scales, else ``None``)."""
    widths = scales.decades(parameters[learning_rate]), scales.decades(parameters[rho])
    if not all(math.isfinite(width) and width > 0 for width in widths):
        return None
    cells = np.arange(BINS)
    log_rate, log_rho = (x.ravel() for x in np.meshgrid(cells * widths[0], cells * widths[1], indexing="ij"))
    ratio = _labels(log_rate - log_rho)
    knee, rate = (x.ravel() for x in np.meshgrid(cells, cells))
    sums = [_basis(labels) for labels in ((ratio,), (knee,), (ratio, knee), (rate, knee))]
    draws = []
    for refit in fitted:
        table = joint(refit, learning_rate, rho).ravel()
        j, k = sorted((learning_rate, rho))
        first, _, pairs = refit.shares
        whole = first[j] + first[k] + pairs[list(refit.components.pairs).index((j, k))]
        draws.append([*(_explained(table, basis) for basis in sums), whole])
    mean, low, high = band(np.array(draws))
    return Coordinates(*((float(mean[i]), float(low[i]), float(high[i])) for i in range(5)))


def _labels(values: Floats) -> np.typing.NDArray[np.intp]:
    """Cut ``values`` into BINS classes of equal width."""
    place = (values - values.min()) / (np.ptp(values) or 1.0)
    labels: np.typing.NDArray[np.intp] = np.minimum((place * BINS).astype(np.intp), BINS - 1)
    return labels


def _basis(labels: tuple[np.typing.NDArray[np.intp], ...]) -> Floats:
    """Return an orthonormal basis, in columns, of the sums of one function of each labelling."""
    vectors, lengths, _ = np.linalg.svd(np.column_stack([np.eye(BINS)[label] for label in labels]), full_matrices=False)
    return np.asarray(vectors[:, lengths > lengths[0] * len(vectors) * np.finfo(float).eps])


def _explained(table: Floats, basis: Floats) -> float:
    """Return R² of the function within ``basis`` that is nearest to ``table``."""
    centred = table - table.mean()
    spread = float(centred @ centred)
    return float(np.sum((basis.T @ centred) ** 2) / spread) if spread > 0 else 0.0
