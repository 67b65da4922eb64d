"""Every pair of optimizers on a workload: how far apart they are, and what may be said of them.

The verdict is about optimizers. Where all of a workload were searched three times or more it is that of Welch's t on
the means of the searches (`analysis.comparison.searches`), on the scale of the metric: on a logarithmic one the
difference is that of logarithms, and is told as a ratio. Where the search was made once, with independent trials and
the runners-up confirmed, what another search would have found is told from its own trials (`searches.redrawn`).
Otherwise the search says nothing of the optimizers, "no difference shown", and the column ``configurations`` says what
may be said of the two configurations that were found: Welch's t over their runs.

A verdict is read off its interval: "better" or "worse" where it leaves out zero, else "no difference shown". The
intervals are corrected by Holm's step-down (1979) over the m pairs of all workloads: the pair that is clearest is
judged at level 1 - 0.05 / m, the next at 1 - 0.05 / (m - 1), and so on; from the first whose interval holds zero, all
others get the level of that one. So the probability that any verdict of a campaign names a difference that is not there
is at most 5 %, over searches, seeds and all. Measured by `benchmarks/verdict.py` with the scatter of searches and seeds
of the built-in workloads (1,000 campaigns each of 2, 3 and 7 equal optimizers on one or two workloads): 1.4 to 3.4 %
with three searches of three seeds, 2.9 to 5.3 % with five; 2.0 to 4.8 % where optimizers scatter unequally. Of two
optimizers a difference of 0.008 in accuracy is found in 25, 61 and 96 % with 3, 5 and 10 searches, of 0.016 in 76, 100
and 100 %; of one pair among seven optimizers in 2, 10 and 56 %. From one random search with its best five confirmed on
two seeds each: 1.0 % wrong, 18 and 75 % found.

Where runs broke, means say little: a broken run stands in them with a value that others trained to. There a difference
is told only if the probability of improvement, in which it is worse than any other, leaves out one half as well,
over the runs.

An optimizer that contains another must not lose to it. Where it does, the comparison has shown that its search was too
small: the verdict is "no difference shown", and ``cancelled`` says why (`analysis.comparison.limits`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.comparison import searches
from analysis.comparison.limits import limit
from analysis.comparison.searches import RUNS, SEARCHES, TRIALS
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import (
    LEVEL,
    Difference,
    difference,
    mean_probability_interval,
    probability_interval,
    probability_of_improvement,
    resolution,
)
from analysis.metric_scale import factor

COLUMNS = (
    "workload", "a", "b", "difference", "difference_low", "difference_high", "probability_of_improvement", "verdict",
    "configurations", "cancelled", "unit", "searches_a", "searches_b", "gain", "gain_low", "gain_high", "scale",
    "probability_low", "probability_high", "p", "p_holm", "level", "data", "metric", "direction", "runs_a", "runs_b",
)  # fmt: skip
BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"


def comparisons(contests: Sequence[WorkloadRuns]) -> pd.DataFrame:
    """Return every pair of optimizers that both have confirmation runs, a row each, in the order of the campaign.

    Returns:
        Columns: ``workload``, ``a``, ``b`` (optimizers), ``difference`` (of a minus b, on the ``scale`` of the metric:
        in its units, or of natural logarithms), ``difference_low``, ``difference_high`` (Holm-corrected; NaN below two
        values on a side), ``probability_of_improvement`` (that a run of a is better than one of b, Mann-Whitney, ties
        half; a run that broke is worse than any other), ``verdict`` (on the optimizers, of a against b),
        ``configurations`` (the same on the two configurations; empty where the verdict is over searches or trials),
        ``cancelled`` (why a difference that was found is none of the optimizers: in which limit the one that loses
        contains the other; else empty), ``unit`` (of what the difference is taken: searches; trials and seeds; runs of
        two configurations), ``searches_a``, ``searches_b`` (that are confirmed), ``gain`` with its ends (how much
        better a is: in units of the metric, above 0 where a is better; on a logarithmic scale how many times, above 1),
        ``scale``, ``probability_low``, ``probability_high`` (score interval at the same level: over searches where
        the unit is the search, since runs of one winner are alike, else over runs), ``p``
        (as it is), ``p_holm``, ``level`` (of the intervals), ``data`` (test, validation or train), ``metric``,
        ``direction``, ``runs_a``, ``runs_b``.
    """
    pairs = [(contest, *pair) for contest in contests for pair in itertools.combinations(contest.confirmed(), 2)]
    judged = [found for contest in contests for found in _differences(contest)]
    good = [{study.name: contest.goodness(study) for study in contest.confirmed()} for contest in contests]
    goodness = [values for values in good for _ in range(len(values) * (len(values) - 1) // 2)]
    levels, adjusted = holm([found.p for _, found, _ in judged])
    rows: list[tuple[object, ...]] = []
    for (contest, a, b), (unit, found, sizes), runs, level, p_holm in zip(
        pairs, judged, goodness, levels, adjusted, strict=True
    ):
        low, high = found.interval(level)
        one, two = runs[a.name], runs[b.name]
        theta = probability_of_improvement(one, two)
        over_runs = probability_interval(theta, len(one), len(two), level)
        said = verdict(low, high, contest.direction)
        broken = bool(np.isneginf(one).any() or np.isneginf(two).any())
        if broken and said != NOT_SHOWN and not (over_runs[0] > 0.5 if said == BETTER else over_runs[1] < 0.5):
            said = NOT_SHOWN
        chances = probability_interval(theta, *sizes, level) if unit == SEARCHES else over_runs
        loser, winner = (a, b) if said == WORSE else (b, a)
        cancelled = limit(contest, loser.optimizer, winner.optimizer) if said != NOT_SHOWN else ""
        numbers = (found.estimate, *_possible(contest, (low, high)))
        rows.append(
            (
                contest.workload,
                a.optimizer,
                b.optimizer,
                *numbers,
                theta,
                NOT_SHOWN if cancelled or unit == RUNS else said,
                said if unit == RUNS else "",
                cancelled,
                unit,
                *sizes,
                *_gain(numbers, contest),
                contest.scale,
                *chances,
                found.p,
                p_holm,
                level,
                contest.data,
                contest.metric,
                contest.direction,
                len(one),
                len(two),
            )
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _differences(contest: WorkloadRuns) -> list[tuple[str, Difference, tuple[int, int]]]:
    """Return of every pair of a workload over what the difference is taken, it, and how many searches there are."""
    confirmed = contest.confirmed()
    unit = searches.unit(contest)
    means = [searches.means(contest, study) for study in confirmed]
    pairs = list(itertools.combinations(range(len(confirmed)), 2))
    if unit == TRIALS:
        drawn = [again for study in confirmed if (again := searches.redrawn(contest, study)) is not None]
        told = [_redrawn(drawn[i], drawn[j]) for i, j in pairs]
    else:
        values = [searches.units(contest, study) for study in confirmed]
        step = resolution(np.concatenate(values or [np.empty(0)]))
        told = [difference(values[i], values[j], step) for i, j in pairs]
    sizes = [(len(means[i]), len(means[j])) for i, j in pairs]
    return [(unit, found, size) for found, size in zip(told, sizes, strict=True)]


def _possible(contest: WorkloadRuns, interval: tuple[float, float]) -> tuple[float, float]:
    """Return an interval of a difference without what the metric's bounds rule out."""
    study = contest.confirmed()[0]
    column = "test" if contest.data == "test" else "validation"
    lowest, highest = study.bounds(contest.runs[column].dropna())
    if contest.scale == "log" or not math.isfinite(highest - lowest):
        return interval
    low, high = interval
    return max(low, lowest - highest), min(high, highest - lowest)


def _redrawn(a: searches.Redrawn, b: searches.Redrawn) -> Difference:
    parts = np.array([a.error, b.error]) ** 2
    if not parts.sum() > 0:
        return Difference(a.estimate - b.estimate, 0.0, math.inf)
    shares = parts / parts.sum()
    freedom = 1 / (shares**2 / np.array([a.configurations - 1, b.configurations - 1])).sum()
    return Difference(a.estimate - b.estimate, float(np.sqrt(parts.sum())), float(freedom))


def _gain(numbers: tuple[float, float, float], contest: WorkloadRuns) -> tuple[float, float, float]:
    """Return how much better the first is, with its interval: a difference, or how many times on a logarithmic scale.

    The ends are in order; a ratio whose logarithm is beyond floats is infinite.
    """
    signed = [contest.sign * number for number in numbers]
    middle, low, high = signed if contest.sign > 0 else (signed[0], signed[2], signed[1])
    if contest.scale == "linear":
        return middle, low, high
    return factor(middle), factor(low), factor(high)


def holm(p_values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Levels of the intervals, and adjusted p-values, of Holm's step-down over all that are not NaN.

    >>> levels, adjusted = holm([0.04, 0.01])
    >>> [round(level, 6) for level in levels], adjusted
    ([0.95, 0.975], [0.04, 0.02])
    >>> levels, adjusted = holm([0.04, 0.03])  # 0.03 is not below 0.025, so neither is told apart
    >>> [round(level, 6) for level in levels], adjusted
    ([0.975, 0.975], [0.06, 0.06])
    """
    alpha = 1 - LEVEL
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    levels, adjusted = [LEVEL] * len(p_values), [math.nan] * len(p_values)
    remaining, stopped, largest = len(order), False, 0.0
    share = float(max(1, remaining))
    for place, (p, i) in enumerate(order):
        if not stopped:
            share = float(remaining - place)
            stopped = p > alpha / share
        largest = max(largest, min(1.0, p * (remaining - place)))
        levels[i], adjusted[i] = 1 - alpha / share, largest
    return levels, adjusted


def verdict(low: float, high: float, direction: str) -> str:
    """Return what an interval of a difference says.

    >>> verdict(0.1, 0.3, "maximize"), verdict(0.1, 0.3, "minimize"), verdict(-0.1, 0.3, "minimize")
    ('better', 'worse', 'no difference shown')
    """
    if low > 0 or high < 0:
        return BETTER if (low > 0) == (direction == "maximize") else WORSE
    return NOT_SHOWN


def between(table: pd.DataFrame, workload: str, a: str, b: str) -> pd.Series | None:
    """Return the row of `comparisons` on a pair, seen from ``a``; ``None`` where there is none."""
    own = table[table["workload"] == workload]
    straight = own[(own["a"] == a) & (own["b"] == b)]
    if len(straight):
        return straight.iloc[0]
    turned = own[(own["a"] == b) & (own["b"] == a)]
    return _turned(turned.iloc[0]) if len(turned) else None


def _turned(row: pd.Series) -> pd.Series:
    seen = row.copy()
    seen["a"], seen["b"] = row["b"], row["a"]
    for sides in ("runs", "searches"):
        seen[f"{sides}_a"], seen[f"{sides}_b"] = row[f"{sides}_b"], row[f"{sides}_a"]
    seen["difference"] = -row["difference"]
    seen["difference_low"], seen["difference_high"] = -row["difference_high"], -row["difference_low"]
    seen["probability_of_improvement"] = 1 - row["probability_of_improvement"]
    seen["probability_low"], seen["probability_high"] = 1 - row["probability_high"], 1 - row["probability_low"]
    ends = (row["gain"], row["gain_high"], row["gain_low"])
    with np.errstate(divide="ignore"):
        turned = [np.divide(1.0, end) if row["scale"] == "log" else -end for end in ends]
    seen["gain"], seen["gain_low"], seen["gain_high"] = turned
    for column in ("verdict", "configurations"):
        seen[column] = {BETTER: WORSE, WORSE: BETTER}.get(row[column], row[column])
    return seen


def chance(contests: Sequence[WorkloadRuns], a: str, b: str, level: float = LEVEL) -> tuple[float, float, float]:
    """Return how probably a search, or a run, of one optimizer is better than one of another, on the mean of workloads.

    Args:
        contests: Of which both have part.
        a: An optimizer, whose probability it is.
        b: The other one.
        level: Of the interval.

    Returns:
        The mean probability, and the ends of its interval.
    """
    thetas, sizes = [], []
    for contest in contests:
        one, two = (searches.values_or_hopeless(contest, name) for name in (a, b))
        thetas.append(probability_of_improvement(one, two))
        sizes.append((len(one), len(two)))
    middle = float(np.mean(thetas))
    return middle, *mean_probability_interval(middle, sizes, level)
