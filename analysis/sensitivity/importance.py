"""Variance shares of parameters, with intervals that hold the surrogate's own error.

Trials are drawn with replacement, a surrogate is fitted to the draw, and its functional ANOVA gives Sobol indices under
the uniform measure on the searched scales. A forest shrinks what it learns, and invents where nothing is; the trials
that the draw left out tell by how much: the components of its ANOVA (main effects, pairs, rest) are rescaled by a
regression of those trials' values on them. Effects that generalize grow back to size, those that do not vanish.

A sampler that learns leaves most of the space to few trials. So a trial counts by the share of the space that is
nearest to it, in that regression and in R², which is then that over the space and not that over where the sampler
looked. Half-widths of the intervals add in quadrature the spread over the draws, a part of the step that the rescaling
took (a large step does not land exactly), a part of the variance that is not explained at all, and what that may be of
the explained one where no trials lie, and a part of what stopped runs are only guessed to gain. Coverage is measured in
the tests, on uniform draws, and by ``benchmarks/sensitivity.py`` under the samplers and pruners that users have.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.stats import chi2, qmc

from analysis.sensitivity.surrogate import Components, Floats, Surrogate, decompose, fit

MINIMUM_R2 = 0.3  # out-of-bag R² below which no conclusion is drawn
LEVEL = 0.90
_Z = 1.6449  # of a normal distribution, for LEVEL
_DISTRUST = 0.5  # part of the rescaling's step that counts as standard error
_MISSED = 0.1  # part of the unexplained variance that may be a parameter's: noise and missed effects look alike
_UNSEEN = 0.6  # part of the unexplained, per explained, variance that may be a parameter's where nothing is seen
_GUESSED = 0.15  # part of what stopped runs would have gained, beside the spread, that may be a parameter's
_RESOLUTION = 0.005  # standard error that cells and sampled points leave in any share
_PRIOR = 1.0  # standard deviation of a component's factor around 1 before the left-out trials are seen
EVEN = 0.6  # evenness of trials that were drawn independently and uniformly: 0.67 in one dimension, 0.8 in four
_JUDGES = 10  # trials near the best that it takes to know the surrogate's error there
_DIGITS = 10  # of values in the unit of the fit
_POINTS = 4096  # of the space, by which volumes are measured


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit in which values are fitted.

    Trees stop splitting at a variance of 1e-16, whatever the metric's unit is, lose what is small beside the distance
    to 0, and break ties by the last digits; in this unit, and rounded, none of it matters: an accuracy and an error
    rate give the same trees.

    Attributes:
        centre: In goodness, one of the values.
        size: In goodness, the largest distance from there.
    """

    centre: float
    size: float

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Return the unit for ``values`` (n,)."""
        centre = float(np.partition(values, len(values) // 2)[len(values) // 2])
        return cls(centre, float(np.abs(values - centre).max()) or sys.float_info.min)

    def standard(self, values: Floats) -> Floats:
        """Return goodness in this unit."""
        return np.asarray(np.round((values - self.centre) / self.size, _DIGITS))

    def goodness(self, standard: Floats) -> Floats:
        """Return what `standard` was given."""
        return self.centre + self.size * standard


@dataclass(frozen=True, slots=True)
class Refit:
    """A surrogate of one draw of trials. Its last coordinate is the planted noise parameter.

    Attributes:
        surrogate: Over d + 1 coordinates.
        unit: Of what the surrogate, the components and ``predicted`` say.
        components: Of its ANOVA, rescaled.
        left_out: Indices of the trials that the draw left out.
        predicted: For those, same length.
        shares: First-order (d + 1,), total-order (d + 1,), pairs (in the order of ``components.pairs``).
        unscaled: The same before rescaling.
        weights: Of all trials, the share of the space nearest to each, shape (n,), sum 1.
        even: How evenly these lie, see `evenness`.
        bounds: The worst and the best value that was observed: beyond, nothing is predicted.
    """

    surrogate: Surrogate
    unit: Unit
    components: Components
    left_out: NDArray[np.intp]
    predicted: Floats
    shares: tuple[Floats, Floats, Floats]
    unscaled: tuple[Floats, Floats, Floats]
    weights: Floats
    even: float
    bounds: tuple[float, float]

    def goodness(self, standard: Floats) -> Floats:
        """Return goodness from what the surrogate says in its unit: never beyond what was observed."""
        return self.unit.goodness(np.clip(standard, *self.bounds))

    def __call__(self, points: Floats) -> Floats:
        """Predict goodness at ``points`` (n, d), NaN meaning inactive (taken at the middle); returns shape (n,)."""
        middle = np.full((len(points), 1), 0.5)
        return self.goodness(self.surrogate(np.column_stack([np.where(np.isnan(points), 0.5, points), middle])))


def refits(
    points: Floats,
    values: Floats,
    rng: np.random.Generator,
    *,
    num_refits: int = 20,
    num_trees: int = 10,
    workers: int = 1,
) -> list[Refit]:
    """Fit surrogates to bootstrap draws of the trials.

    Args:
        points: Shape (n, d), NaN where a parameter is inactive. There it can have no effect, so each refit fills in
            fresh uniform numbers: The forest learns that it does nothing there, whatever the rule of activity is.
        values: Shape (n,).
        rng: Its children drive the refits, so that the result does not depend on ``workers``.
        num_refits: How many.
        num_trees: Of each of the two forests of a surrogate.
        workers: Threads.
    """
    *children, last = rng.spawn(num_refits + 1)
    unit = Unit.of(values)
    standard = unit.standard(values)
    weights = volumes(points, last)
    space = weights, evenness(weights, points)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(lambda child: _refit(points, standard, space, unit, child, num_trees), children))


def volumes(points: Floats, rng: np.random.Generator) -> Floats:
    """Return the share of the unit cube that is nearest to each trial: shape (n,), sum 1; equal trials share theirs.

    Args:
        points: Shape (n, d), NaN where a parameter is inactive, which fresh uniform numbers fill.
        rng: Spreads the points by which volumes are measured.
    """
    filled = np.where(np.isnan(points), rng.random(points.shape), points)
    distinct, place, count = np.unique(filled, axis=0, return_inverse=True, return_counts=True)
    spread = qmc.Sobol(points.shape[1], rng=rng).random(max(_POINTS, 1 << (2 * len(points) - 1).bit_length()))
    nearest = KDTree(distinct).query(spread)[1]
    own = np.bincount(nearest, minlength=len(distinct)) / len(spread)
    place = place.reshape(-1)
    return np.asarray(own[place] / count[place])


def evenness(weights: Floats, points: Floats) -> float:
    """Return how evenly trials lie in the space, 0 to 1: as how many they count there, of the different ones.

    Args:
        weights: Their shares of the space, shape (n,), sum 1.
        points: Shape (n, d).
    """
    distinct, place = np.unique(np.nan_to_num(points, nan=-1.0), axis=0, return_inverse=True)
    own = np.bincount(place.reshape(-1), weights=weights)
    return float(1 / (own**2).sum() / len(distinct))


def predictions(fitted: Sequence[Refit], points: Floats) -> Floats:
    """Return goodness at ``points`` (n, d) by every refit: shape (refits, n)."""
    return np.array([refit(points) for refit in fitted])


def _refit(
    points: Floats, values: Floats, space: tuple[Floats, float], unit: Unit, rng: np.random.Generator, num_trees: int
) -> Refit:
    weights_of_space, even = space
    n = len(values)
    filled = np.column_stack([np.where(np.isnan(points), rng.random(points.shape), points), rng.random(n)])
    weights = np.bincount(rng.integers(n, size=n), minlength=n)
    drawn = weights > 0
    surrogate = fit(filled[drawn], values[drawn], rng, weights=weights[drawn].astype(float), num_trees=num_trees)
    raw = decompose(surrogate)
    left_out = np.flatnonzero(~drawn)
    mains, pairs = raw.at(filled[left_out])
    predicted = surrogate(filled[left_out])
    rest = predicted - raw.mean - mains.sum(axis=1) - pairs.sum(axis=1)
    design = np.column_stack([mains, pairs, rest])
    factors = rescaling(design, values[left_out] - raw.mean, weights_of_space[left_out])
    square, high = _beyond_pairs(surrogate, raw, rng)
    d = surrogate.dimension
    scaled = Components(
        raw.mean,
        raw.mains * factors[:d, None],
        {key: table * factor for (key, table), factor in zip(raw.pairs.items(), factors[d:-1], strict=True)},
    )
    return Refit(
        surrogate,
        unit,
        scaled,
        left_out,
        predicted,
        _shares(scaled, factors[-1] ** 2 * square, factors[-1] ** 2 * high),
        _shares(raw, square, high),
        weights_of_space,
        even,
        (float(values.min()), float(values.max())),
    )


def rescaling(design: Floats, values: Floats, weights: Floats | None = None) -> Floats:
    """Factors (columns,) by which the columns of ``design`` (n, columns) add up best to ``values`` (n,), none negative.

    Ridge regression towards factors of 1: with few trials, or for a component without variance, they stay there.

    Args:
        design: Components at the trials.
        values: Of the trials.
        weights: Of the trials, shape (n,), not negative; by default equal. They count as as many as their squares say.
    """
    share = np.full(len(values), 1.0) if weights is None else weights
    if len(values) < 3 or not share.sum() > 0:
        return np.ones(design.shape[1])
    share = share / share.sum()
    centred = design - share @ design
    away = values - share @ values
    residual = away - centred.sum(axis=1)
    noise = max(float(share @ residual**2), 1e-9 * float(share @ away**2), np.finfo(float).tiny)
    weighted = centred.T * (share / (share @ share))
    normal = weighted @ centred / noise + np.eye(design.shape[1]) / _PRIOR**2
    return np.maximum(0.0, 1.0 + np.linalg.solve(normal, weighted @ residual / noise))


def _beyond_pairs(
    surrogate: Surrogate, components: Components, rng: np.random.Generator, num_points: int = 512
) -> tuple[float, Floats]:
    """Return variance of what pairs do not explain, and each coordinate's part (d,) in it, by Jansen's estimator."""
    d = surrogate.dimension
    base, other = rng.random((2, num_points, d))
    moved = np.repeat(base[None], d + 1, axis=0)
    for j in range(d):
        moved[j + 1, :, j] = other[:, j]
    stacked = moved.reshape(-1, d)
    mains, pairs = components.at(stacked)
    rest = (surrogate(stacked) - components.mean - mains.sum(axis=1) - pairs.sum(axis=1)).reshape(d + 1, num_points)
    return float(rest[0].var()), 0.5 * ((rest[0] - rest[1:]) ** 2).mean(axis=1)


def _shares(components: Components, square: float, high: Floats) -> tuple[Floats, Floats, Floats]:
    first = (components.mains**2).mean(axis=1)
    pairs = np.array([(table**2).mean() for table in components.pairs.values()])
    total = first + high
    for (j, k), share in zip(components.pairs, pairs, strict=True):
        total[[j, k]] += share
    variance = float(first.sum() + pairs.sum() + square)
    if not variance > 0:
        return np.zeros_like(first), np.zeros_like(first), np.zeros_like(pairs)
    return first / variance, np.minimum(total / variance, 1.0), pairs / variance


def out_of_bag(fitted: Sequence[Refit], size: int) -> Floats:
    """Return every trial predicted by the mean of the refits that did not draw it (size,); NaN where all did.

    In the unit of the refits.
    """
    total, count = np.zeros(size), np.zeros(size)
    for refit in fitted:
        total[refit.left_out] += refit.predicted
        count[refit.left_out] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def score(fitted: Sequence[Refit], values: Floats) -> float:
    """Return out-of-bag R² of ``values`` (n,) where the sampler looked; NaN for a constant."""
    return _score(fitted, values, np.ones(len(values)))


def score_of_space(fitted: Sequence[Refit], values: Floats) -> float:
    """Return out-of-bag R² of ``values`` (n,) over the space, each trial by its share of it; NaN for a constant."""
    return _score(fitted, values, fitted[0].weights)


def _score(fitted: Sequence[Refit], values: Floats, weights: Floats) -> float:
    predicted, values = out_of_bag(fitted, len(values)), fitted[0].unit.standard(values)
    weights = np.where(np.isnan(predicted), 0.0, weights)
    if not weights.sum() > 0:
        return float("nan")
    weights = weights / weights.sum()
    spread = float(weights @ (values - weights @ values) ** 2)
    if not spread > 0:
        return float("nan")
    return float(1.0 - weights @ (values - np.nan_to_num(predicted)) ** 2 / spread)


def error_among_good(fitted: Sequence[Refit], values: Floats, quantile: float = 0.25) -> float:
    """Return the root mean square out-of-bag error of the trials that are predicted to be the best ``quantile``.

    What the surrogate can tell apart near the best: over the whole space it errs mostly where nobody wants to be. The
    trials are those of the best predictions, not of the best values, which would be the luckiest.
    """
    unit = fitted[0].unit
    predicted, values = out_of_bag(fitted, len(values)), unit.standard(values)
    good = predicted >= np.nanquantile(predicted, 1 - quantile)
    return unit.size * float(np.sqrt(((values[good] - predicted[good]) ** 2).mean()))


def error_limit(fitted: Sequence[Refit], values: Floats, quantile: float = 0.25) -> float:
    """Return what `error_among_good` is at most, by a one-sided 90 % limit (chi-square): few trials tell little of it.

    A loss that is larger can be told apart near the best. Infinite where fewer than ten trials judge it: of studies of
    30 trials in which a width was told, it was false in one of three.
    """
    judged = math.ceil(quantile * len(values))
    if judged < _JUDGES:
        return math.inf
    return error_among_good(fitted, values, quantile) * math.sqrt(judged / float(chi2.ppf(0.1, judged)))


@dataclass(frozen=True, slots=True)
class Importance:
    """Shares of the explained variance; rows of intervals are estimate, low, high at :data:`LEVEL`.

    Attributes:
        first: Shape (3, d), effect of a parameter alone.
        total: Shape (3, d), with all interactions it takes part in.
        pairs: For j < k, shape (3,), the interaction of two.
        noise_first: What a parameter without effect reaches, upper end.
        noise_total: The same for total order.
    """

    first: Floats
    total: Floats
    pairs: dict[tuple[int, int], Floats]
    noise_first: float
    noise_total: float

    @property
    def stands_out(self) -> NDArray[np.bool_]:
        """Which parameters' total-order intervals lie wholly beyond what one without effect reaches, shape (d,)."""
        return np.asarray(self.total[1] > self.noise_total)


def guessed(fitted: Sequence[Refit], values: Floats, imputed: Floats | None) -> float:
    """Return how large what was not run is beside what varies, over the space: a ratio of standard deviations.

    Args:
        fitted: Refits.
        values: Those that were fitted, shape (n,).
        imputed: How much of each was not measured, shape (n,); ``None``: nothing.
    """
    weights, unit = fitted[0].weights, fitted[0].unit
    standard = unit.standard(values)
    spread = float(weights @ (standard - weights @ standard) ** 2)
    if imputed is None or not spread > 0:
        return 0.0
    return math.sqrt(float(weights @ (imputed / unit.size) ** 2) / spread)


def importance(fitted: Sequence[Refit], values: Floats, imputed: Floats | None = None) -> Importance:
    """Gather the shares of the refits into estimates and intervals.

    Args:
        fitted: Refits.
        values: Those that were fitted, shape (n,).
        imputed: How much of each was not measured, see `guessed`.
    """
    explained = score_of_space(fitted, values)
    missed = 1.0 if np.isnan(explained) else min(1.0, max(0.0, 1.0 - explained))
    unseen = max(0.0, 1 - fitted[0].even / EVEN)
    unsure = math.hypot(
        _MISSED * missed,
        _UNSEEN * unseen * min(2.0, missed / max(1 - missed, 0.1)),
        _GUESSED * min(2.0, guessed(fitted, values, imputed)),
    )
    first, total, pairs = (
        _interval(
            np.array([refit.shares[i] for refit in fitted]), np.array([refit.unscaled[i] for refit in fitted]), unsure
        )
        for i in range(3)
    )
    noise = fitted[0].surrogate.dimension - 1
    keys = fitted[0].components.pairs
    real = {key: pairs[:, column] for column, key in enumerate(keys) if noise not in key}
    return Importance(first[:, :noise], total[:, :noise], real, float(first[2, noise]), float(total[2, noise]))


def _interval(shares: Floats, unscaled: Floats, unsure: float) -> Floats:
    """Estimate, low and high (3, m) from the shares of the refits (refits, m) and what it may have missed."""
    estimate = shares.mean(axis=0)
    step = estimate - unscaled.mean(axis=0)
    error = np.sqrt(shares.var(axis=0, ddof=1) + (_DISTRUST * step) ** 2 + unsure**2 + _RESOLUTION**2)
    return np.stack([estimate, np.maximum(0.0, estimate - _Z * error), np.minimum(1.0, estimate + _Z * error)])
