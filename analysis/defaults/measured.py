"""What runs of one configuration on fresh seeds gave, and whether another one was measured to be better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.defaults.surrogates import SurrogateStudy
from analysis.intervals import Floats, difference, mean

Estimate = tuple[float, float, float]
"""A number with its interval: estimate, low, high; NaN where not known."""

NOWHERE: Estimate = (math.nan, math.nan, math.nan)
_COMMON = 3  # runs on the same seeds from which a difference is told
_FAR = 5.0  # median deviations from the median one beyond which a run is of another kind


@dataclass(frozen=True, slots=True)
class Measured:
    """Runs of one configuration on fresh seeds of one workload, on validation data.

    Attributes:
        runs: How many ended.
        diverged: How many of these diverged or were stopped.
        failed: How many broke.
        collapsed: How many came through with less than half of what the median one gained since the start of training,
            and farther from it than five median deviations: where training gains little, seeds alone make halves.
        mean: Of the metric over those that came through, with the 95 % interval of Student's t within what the metric
            can be; of a metric on a logarithmic scale the geometric mean. No interval where a run broke or collapsed,
            or all are equal to the metric's last digit: none of that form covers there.
        median: Of the same.
        worst: Of the same.
        goodness: By seed, of the same: on the scale of the metric, greater is better.
    """

    runs: int = 0
    diverged: int = 0
    failed: int = 0
    collapsed: int = 0
    mean: Estimate = NOWHERE
    median: float = math.nan
    worst: float = math.nan
    goodness: Mapping[int, float] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """How many runs broke or collapsed."""
        return self.diverged + self.failed + self.collapsed

    @property
    def broken_share(self) -> float:
        """Share of the runs that broke or collapsed; 0 without runs."""
        return self.lost / self.runs if self.runs else 0.0

    @property
    def losses(self) -> str:
        """How many runs broke in which way; empty where none did.

        >>> Measured(runs=10, diverged=2, collapsed=1).losses
        '2 of 10 runs diverged, 1 collapsed'
        """
        counts = {"diverged": self.diverged, "failed": self.failed, "collapsed": self.collapsed}
        told = [f"{count} {how}" for how, count in counts.items() if count]
        if not told:
            return ""
        first, _, how = told[0].partition(" ")
        return ", ".join([f"{first} of {self.runs} runs {how}", *told[1:]])


def measured(surrogate: SurrogateStudy, runs: pd.DataFrame, start: float) -> Measured:
    """Return what runs of one configuration gave.

    Args:
        surrogate: Of the study on whose workload they were run.
        runs: That ended, one a seed: columns ``outcome``, ``value`` and perhaps ``seed``.
        start: Goodness that training starts from, infinite where not known.
    """
    outcome = runs["outcome"].to_numpy()
    through = outcome == "complete"
    values = runs["value"].to_numpy(np.float64)[through]
    goodness = surrogate.goodness(values)
    known = not np.isnan(goodness).any() and len(goodness) > 0
    collapsed = 0
    if known and math.isfinite(start):
        middle = float(np.median(goodness))
        usual = float(np.median(np.abs(goodness - middle)))
        collapsed = int((goodness < min((start + middle) / 2, middle - _FAR * usual)).sum()) if start < middle else 0
    failed = int((outcome == "failed").sum())
    centre, low, high = mean(goodness)
    whole = through.all() and not collapsed and high > low
    ends = sorted(float(end) for end in surrogate.metric(np.array([low, high]))) if whole else [math.nan] * 2
    lowest, highest = surrogate.bounds
    seeds = runs["seed"].to_numpy()[through] if "seed" in runs else np.arange(len(values))
    return Measured(
        runs=len(runs),
        diverged=int((~through).sum()) - failed,
        failed=failed,
        collapsed=collapsed,
        mean=(float(surrogate.metric(centre)), max(ends[0], lowest), min(ends[1], highest)) if known else NOWHERE,
        median=float(surrogate.metric(np.median(goodness))) if known else math.nan,
        worst=float(surrogate.metric(goodness.min())) if known else math.nan,
        goodness={int(seed): float(one) for seed, one in zip(seeds, goodness, strict=True) if not pd.isna(seed)},
    )


def why_worse(one: Measured, other: Measured) -> str:
    """Return why a configuration gives way to another, in words; empty where it does not.

    It broke, or collapsed, in a greater share of its runs, or its mean is worse beyond the noise: the 95 % interval
    of the difference lies below 0, of the differences on the seeds that both had where those are three or more.
    """
    if not one.runs:
        return ""
    if one.broken_share > other.broken_share:
        of_other = f"{other.lost} of {other.runs}" if other.runs else "none: it was never run on fresh seeds"
        return f"{one.losses} (of the winner: {of_other})"
    common = sorted(set(one.goodness) & set(other.goodness))
    if len(common) >= _COMMON:
        differences = np.array([one.goodness[seed] - other.goodness[seed] for seed in common])
        _, _, high = mean(differences)
        high = _resolved(differences, high)
        seeds = f"on the same {len(common)} seeds"
    else:
        ours, theirs = (np.array(list(each.goodness.values())) for each in (one, other))
        if min(len(ours), len(theirs)) < _COMMON:
            return ""
        high = difference(ours, theirs).interval()[1]
        seeds = f"over {len(ours)} seeds against {len(theirs)}"
    return f"worse than the winner beyond the noise {seeds}" if high < 0 else ""


def _resolved(differences: Floats, high: float) -> float:
    """Return the upper end, where differences that are all the same are none of a metric's resolution."""
    return 0.0 if len(differences) < 5 and np.ptp(differences) == 0 else high
