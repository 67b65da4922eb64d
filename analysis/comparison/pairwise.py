"""Every pair of optimizers on a workload: how far their means are apart, who is likelier to win, and what may be said.

The verdict on a pair is read off its interval: "better" or "worse" where it leaves out zero, else "no difference
shown". The intervals are corrected by Holm's step-down (1979) over the m pairs of all workloads: the pair that is
clearest is judged at level 1 - 0.05 / m, the next at 1 - 0.05 / (m - 1), and so on; from the first whose interval
holds zero, all others get the level of that one. So the probability that any verdict of a campaign names a difference
that is not there is at most 5 %. Measured on equal normal distributions: 4.7 % of campaigns of two optimizers on a
workload with ten seeds, 3.6 % with three, 3.8 % of campaigns of four optimizers with ten, and 3 % of campaigns of two
on eight workloads. Of two optimizers a standard deviation apart on one workload, ten seeds tell 55 %.

Where runs broke, means say little: a broken run stands in them with a value that others trained to. There a difference
is told only if the probability of improvement, in which it is worse than any other, leaves out one half as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import (
    LEVEL,
    difference,
    probability_interval,
    probability_of_improvement,
)

COLUMNS = (
    "workload", "a", "b", "difference", "difference_low", "difference_high", "probability_of_improvement", "verdict",
    "probability_low", "probability_high", "p", "p_holm", "level", "data", "metric", "direction", "runs_a", "runs_b",
)  # fmt: skip
BETTER, WORSE, NOT_SHOWN = "better", "worse", "no difference shown"


def comparisons(contests: Sequence[WorkloadRuns]) -> pd.DataFrame:
    """Return every pair of optimizers that both have confirmation runs, a row each, in the order of the campaign.

    Returns:
        Columns: ``workload``, ``a``, ``b`` (optimizers), ``difference`` (mean of a minus mean of b, in units of the
        metric), ``difference_low``, ``difference_high`` (Welch's t interval over runs, Holm-corrected; NaN below two
        runs on a side), ``probability_of_improvement`` (that a run of a is better than one of b, Mann-Whitney, ties
        half; a run that broke is worse than any other), ``verdict`` (of a against b; follows from the interval and the
        direction), ``probability_low``, ``probability_high`` (Newcombe's interval, at the same level), ``p`` (Welch's,
        as it is), ``p_holm``, ``level`` (of the intervals), ``data`` (test, validation or train), ``metric``,
        ``direction``, ``runs_a``, ``runs_b``.
    """
    pairs = [(contest, *pair) for contest in contests for pair in itertools.combinations(contest.confirmed(), 2)]
    differences = [difference(contest.values(a), contest.values(b)) for contest, a, b in pairs]
    levels, adjusted = holm([found.p for found in differences])
    rows: list[tuple[object, ...]] = []
    for (contest, a, b), found, level, p_holm in zip(pairs, differences, levels, adjusted, strict=True):
        low, high = found.interval(level)
        one, two = contest.goodness(a), contest.goodness(b)
        theta = probability_of_improvement(one, two)
        chances = probability_interval(theta, len(one), len(two), level)
        said = verdict(low, high, contest.direction)
        broken = bool(np.isneginf(one).any() or np.isneginf(two).any())
        if broken and said != NOT_SHOWN and not (chances[0] > 0.5 if said == BETTER else chances[1] < 0.5):
            said = NOT_SHOWN
        rows.append(
            (
                contest.workload,
                a.optimizer,
                b.optimizer,
                found.estimate,
                low,
                high,
                theta,
                said,
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
    seen["runs_a"], seen["runs_b"] = row["runs_b"], row["runs_a"]
    seen["difference"] = -row["difference"]
    seen["difference_low"], seen["difference_high"] = -row["difference_high"], -row["difference_low"]
    seen["probability_of_improvement"] = 1 - row["probability_of_improvement"]
    seen["probability_low"], seen["probability_high"] = 1 - row["probability_high"], 1 - row["probability_low"]
    seen["verdict"] = {BETTER: WORSE, WORSE: BETTER}.get(row["verdict"], NOT_SHOWN)
    return seen
