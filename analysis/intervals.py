"""Intervals and the two ways to compare samples of runs. What is resampled or assumed is said at each; all are of 95 %.

Which interval a mean of few seeds gets was chosen by measured coverage, which `tests/analysis` repeats: for 3, 5 and 10
normal values Student's t covers 95 % at each size and the percentile bootstrap of the mean 75, 84 and 90 %; for
exponential values, which are very skewed, t covers 89, 89 and 90 % and the bootstrap 70, 79 and 86 %. So means and
differences of means have t intervals; the bootstrap is kept for what has no formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Interval = tuple[float, float]

LEVEL = 0.95
FEW = 5  # runs below which a report says that an interval rests on few
DRAWS = 2000  # of a bootstrap
CHANCE = 0.8  # with which a difference is to be found, by custom (Cohen 1988)
UNKNOWN: Interval = (math.nan, math.nan)
_SHARES = 64  # at which a beta distribution is taken
_CLOSE = 1e-6  # part of a solution that is found by halving
_ORDERED = 6  # runs from which order statistics cover the median
_FAR = (math.inf, math.inf, math.inf, 100.0, 30.0, 30.0, 10.0)  # deviations of the median by number of runs, then all
_ROUNDING = 1e-12  # differences below this part of the values' size are those of adding in another order


def mean(values: Floats, level: float = LEVEL) -> tuple[float, float, float]:
    """Return the mean of runs (n,) with Student's t interval: estimate, low, high; the ends are NaN below two runs.

    So they are where all runs gave one value, as a few accuracies on few examples may: how much others differ from it
    is not seen. Assumes independent runs whose mean is about normal (Student 1908).

    >>> mean(np.array([1.0, 2.0, 3.0]))[0]
    2.0
    """
    n = len(values)
    if n == 0:
        return math.nan, *UNKNOWN
    centre = float(values.mean())
    if n == 1 or resolution(values) == 0:
        return centre, *UNKNOWN
    half = float(special.stdtrit(n - 1, 0.5 + level / 2) * values.std(ddof=1) / math.sqrt(n))
    return centre, centre - half, centre + half


def typical(values: Floats, level: float = LEVEL) -> tuple[float, float, float, str]:
    """Return what a typical run of (n,) gives, with its interval: estimate, low, high, and what the estimate is.

    The mean with Student's t interval; where a run lies far out (a collapse, a long tail), of six runs or more the
    median with the interval between order statistics, of fewer the mean and no interval. The interval is of the
    median of all runs, which is the mean where they are about normal: a mean that counts collapses which few seeds have
    not shown is told by no interval. Measured (`benchmarks/verdict.py`) it covers that median in 94 to 97 % of samples
    of 3, 5 and 10 that are normal, of Student's t with two degrees of freedom, lognormal up to a standard deviation of
    1 of the logarithm, or of which one run in ten collapses. There is an interval in 95 % or more of them; where runs
    collapse in 80 % of samples of 3, 60 of 5 and all of 10.

    >>> typical(np.array([0.98, 0.981, 0.982, 0.979, 0.2]))
    (0.8244, nan, nan, 'mean')
    >>> typical(np.array([0.98, 0.981, 0.982, 0.979, 0.983, 0.978, 0.2]))
    (0.98, 0.2, 0.983, 'median')
    """
    n = len(values)
    if not _has_outlier(values):
        return *mean(values, level), "mean"
    if n < _ORDERED:
        return float(values.mean()), *UNKNOWN, "mean"
    rank = order_rank(n, level)
    ordered = np.sort(values)
    return float(np.median(values)), float(ordered[rank]), float(ordered[n - 1 - rank]), "median"


def _has_outlier(values: Floats) -> bool:
    """Return whether a value is farther from the median than normal ones are in about one sample of fifty."""
    n = len(values)
    if n < 3:
        return False
    off = np.abs(values - np.median(values))
    usual = max(float(np.median(off)), resolution(values) if n < _ORDERED or len(set(values.tolist())) < n else 0.0)
    return bool(float(off.max()) > _FAR[min(n, len(_FAR) - 1)] * usual)


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two means, with Welch's standard error and degrees of freedom (Welch 1947; Satterthwaite 1946).

    ``error`` is NaN where one side has fewer than two runs: then there is no interval and no p-value. It is 0 where
    neither side varies at all and the values do not come in steps.
    """

    estimate: float
    error: float
    freedom: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.error)

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference; NaN where there is no interval."""
        if not self.known:
            return math.nan
        if self.error == 0:
            return 1.0 if self.estimate == 0 else 0.0
        return float(2 * special.stdtr(self.freedom, -abs(self.estimate) / self.error))

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the interval; NaN where it is not known."""
        if not self.known:
            return UNKNOWN
        half = float(special.stdtrit(self.freedom, 0.5 + level / 2)) * self.error if self.error else 0.0
        return self.estimate - half, self.estimate + half


def resolution(values: Floats) -> float:
    """Return the smallest step between different values (n,): of accuracies on N examples a multiple of 1 / N.

    0 where all are equal. Values differ by rounding where the step is below 1e-12 of their size.

    >>> resolution(np.array([0.5, 0.75, 0.5, 0.25]))
    0.25
    """
    finite = np.sort(values[np.isfinite(values)])
    steps = np.diff(finite)
    steps = steps[steps > _ROUNDING * max(1e-300, float(np.abs(finite).max(initial=0.0)))]
    return float(steps.min()) if len(steps) else 0.0


def difference(a: Floats, b: Floats, step: float | tuple[float, float] | None = None) -> Difference:
    """Return the mean of runs ``a`` (n,) minus mean of runs ``b`` (m,), which need not vary alike.

    Runs on the same seed count as independent of each other: with initial weights in common they agree more than that,
    which makes the interval too wide, never too narrow.

    Args:
        a: Runs, or means of searches.
        b: The same of another.
        step: The resolution of the values, of both or of each; by default that of all of them, 0 where they do not come
            in steps. Runs that tie have a variance of 0 in the sample and not in truth: of values that are rounded to
            steps it counts as that of a coin between two neighbouring ones, step² / 4, at least. So the smallest p of
            three runs against three that all tie is 0.07, of five 0.01 (the exact rank test: 0.1, 0.008).
    """
    if min(len(a), len(b)) == 0:
        return Difference(math.nan, math.nan, math.nan)
    size = _ROUNDING * max(float(np.abs(a).max()), float(np.abs(b).max()))
    estimate = float(a.mean() - b.mean())
    estimate = 0.0 if abs(estimate) <= size else estimate
    if min(len(a), len(b)) < 2:
        return Difference(estimate, math.nan, math.nan)
    steps = resolution(np.concatenate([a, b])) if step is None else step
    least = (np.broadcast_to(steps, 2) / 2) ** 2
    parts = np.maximum(least, [a.var(ddof=1), b.var(ddof=1)]) / [len(a), len(b)]
    error = float(np.sqrt(parts.sum()))
    if error <= size:
        return Difference(estimate, 0.0, math.inf)
    shares = parts / parts.sum()
    freedom = 1 / (shares**2 / np.array([len(a) - 1, len(b) - 1])).sum()
    return Difference(estimate, error, float(freedom))


def found_apart(n: int, pairs: int = 1) -> float:
    """Return the difference of two means of ``n`` values each, in standard deviations of a value, that Welch's t finds.

    It is found in the share :data:`CHANCE` of samples, where the interval leaves out zero on its side, at the level of
    Holm's first step. Both samples are normal and vary alike, which nobody has told the test: its degrees of freedom
    depend on how the two variances in the sample divide, and on that only, as their sum has the 2 (n - 1) of Student's
    (noncentral t, averaged over the share, which has a beta distribution).

    Args:
        n: Values of each, from 2.
        pairs: That are compared, together at :data:`LEVEL`.

    >>> [round(found_apart(n), 2) for n in (3, 5, 10)], round(found_apart(10, pairs=21), 2)
    ([3.51, 2.08, 1.33], 2.02)
    """
    half, level = (n - 1) / 2, 1 - (1 - LEVEL) / pairs
    shares = special.betaincinv(half, half, (np.arange(_SHARES) + 0.5) / _SHARES)
    limits = special.stdtrit((n - 1) / (shares**2 + (1 - shares) ** 2), (1 + level) / 2)

    def found(effect: float) -> float:
        return 1 - float(special.nctdtr(2 * (n - 1), effect * math.sqrt(n / 2), limits).mean())

    low, high = 0.0, 1.0
    while found(high) < CHANCE:
        low, high = high, 2 * high
    while high - low > _CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < CHANCE else (low, middle)
    return high


def ratio_of_means(a: Floats, b: Floats) -> Difference:
    """Return the logarithm of (mean of ``a``) / (mean of ``b``), both positive, with the error of the delta method.

    The error of a mean's logarithm is the mean's relative error; degrees of freedom as of Welch, and values that tie as
    in `difference`.
    """
    if min(len(a), len(b)) == 0 or not (a.mean() > 0 and b.mean() > 0):
        return Difference(math.nan, math.nan, math.nan)
    step = resolution(np.concatenate([a, b]))
    found = difference(a / a.mean(), b / b.mean(), (step / float(a.mean()), step / float(b.mean())))
    return Difference(math.log(float(a.mean() / b.mean())), found.error, found.freedom)


def probability_of_improvement(a: Floats, b: Floats) -> float:
    """Return the probability that a run of ``a`` is greater than one of ``b``, a tie counting half: U / (n m).

    Mann and Whitney (1947); Agarwal et al. (2021, rliable) average it over tasks. ``-inf`` stands for the worst.

    >>> probability_of_improvement(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    if min(len(a), len(b)) == 0:
        return math.nan
    return float(((a[:, None] > b).sum() + 0.5 * (a[:, None] == b).sum()) / (len(a) * len(b)))


def probability_interval(theta: float, n: int, m: int, level: float = LEVEL) -> Interval:
    """Return interval of a probability of improvement ``theta`` that n and m runs gave; NaN below two runs on a side.

    Unlike a bootstrap it has a width where every run of one side beats every run of the other.
    """
    return mean_probability_interval(theta, [(n, m)], level)


def mean_probability_interval(theta: float, sizes: Sequence[tuple[int, int]], level: float = LEVEL) -> Interval:
    """Return interval of the mean of several probabilities of improvement; NaN where one has below two runs on a side.

    The score interval (Wilson 1927), with the largest variance that U / (n m) can have whatever both sides are
    distributed like, p (1 - p) / min(n, m) (van Dantzig 1951; Birnbaum and Klose 1957, Annals of Mathematical
    Statistics 28, 933-945). That of the mean is largest where all probabilities are alike, and no side has more runs
    than the smallest.

    Args:
        theta: Their mean.
        sizes: Runs of each, (n, m).
        level: Of the interval.
    """
    if math.isnan(theta) or min(map(min, sizes)) < 2:
        return UNKNOWN
    z = float(special.ndtri(0.5 + level / 2))
    spread = z**2 / (len(sizes) * min(map(min, sizes)))
    middle, half = theta + spread / 2, math.sqrt(spread * (theta * (1 - theta) + spread / 4))
    low, high = ((middle + side * half) / (1 + spread) for side in (-1, 1))
    return min(max(0.0, low), theta), max(min(1.0, high), theta)


def median(values: Floats, level: float = LEVEL) -> tuple[float, float, float, float]:
    """Return the lower median of runs (n,) with an interval between two of them: estimate, low, high, coverage.

    The value that half of the runs, rounded up, do not exceed: of times of which some never came (``inf``) it is the
    Kaplan-Meier median, since all were given the same budget. The interval is between order statistics (David and
    Nagaraja 2003, 7.1) and assumes nothing but independence; below six runs even smallest to largest covers less than
    95 %, and ``coverage`` says how much. NaN where there is nothing.
    """
    n = len(values)
    if n == 0:
        return math.nan, *UNKNOWN, math.nan
    ordered = np.sort(values)
    centre = float(ordered[(n + 1) // 2 - 1])
    if n == 1:
        return centre, *UNKNOWN, math.nan
    rank = order_rank(n, level)
    return centre, float(ordered[rank]), float(ordered[n - 1 - rank]), order_coverage(n, rank)


def order_rank(n: int, level: float = LEVEL) -> int:
    """Position from either end, counted from 0, of the narrowest order statistics that cover the median."""
    rank = 0
    while rank + 1 < n - 2 - rank and order_coverage(n, rank + 1) >= level:
        rank += 1
    return rank


def order_coverage(n: int, rank: int) -> float:
    """Return the probability that order statistics ``rank`` from either end (counted from 0) enclose the median."""
    return float(1 - 2 * special.bdtr(rank, n, 0.5))


def percentiles(draws: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the percentile interval of bootstrap draws (draws, …): two arrays (…). Infinite draws are allowed."""
    low = np.quantile(draws, 0.5 - level / 2, axis=0, method="lower")
    high = np.quantile(draws, 0.5 + level / 2, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)
