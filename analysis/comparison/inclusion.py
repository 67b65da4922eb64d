"""Optimizers that contain others: where the larger one loses beyond noise, its search was too small.

An optimizer that becomes another in a limit can do all that the other can, so tuned well enough it must not lose to it
(Choi et al. 2019, arXiv 1910.05446). When it does, the comparison has shown something of its search space or of its
number of trials, and nothing against the optimizer: the verdict on the pair is cancelled. Where the search was made
once it is the larger one's configuration that lost, and the same is to be said of its search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.comparison.limits import INCLUSIONS, Inclusion, limit
from analysis.comparison.pairwise import BETTER, between
from analysis.comparison.workload_runs import WorkloadRuns

COLUMNS = (
    "workload", "larger", "smaller", "difference", "low", "high", "verdict", "limit", "unit", "gain", "gain_low",
    "gain_high", "scale",
)  # fmt: skip
TOO_SMALL = "search too small"
KEPT = "larger is better"
CONSISTENT = "no loss shown"
UNTESTED = "not tested"


def inclusion(contests: Sequence[WorkloadRuns], comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return every pair of optimizers of a workload of which one contains the other.

    Args:
        contests: Of a campaign.
        comparisons: See :func:`analysis.comparison.pairwise.comparisons`; the intervals are those, so that the two
            tables cannot disagree.

    Returns:
        Columns: ``workload``, ``larger``, ``smaller``, ``difference`` (of the larger minus the smaller, on the scale of
        the metric), ``low``, ``high``, ``verdict`` (search too small: the larger is worse; larger is better; no loss
        shown; not tested: one of them has no interval, or as they were searched the larger one does not contain the
        other, see :func:`analysis.comparison.limits.limit`), ``limit`` (in which it contains the other), ``unit``,
        ``gain`` with its ends, ``scale`` (as in ``comparisons``).
    """
    rows: list[tuple[object, ...]] = []
    for contest in contests:
        optimizers = {study.optimizer for study in contest.studies}
        rows += [
            (contest.workload, one.larger, one.smaller, *_judge(contest, comparisons, one))
            for one in INCLUSIONS
            if {one.larger, one.smaller} <= optimizers
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _judge(contest: WorkloadRuns, comparisons: pd.DataFrame, one: Inclusion) -> tuple[object, ...]:
    row = between(comparisons, contest.workload, one.larger, one.smaller)
    if row is None:
        return math.nan, math.nan, math.nan, UNTESTED, one.words, "", math.nan, math.nan, math.nan, contest.scale
    numbers = [float(row[name]) for name in ("difference", "difference_low", "difference_high")]
    said = CONSISTENT
    if math.isnan(numbers[1]) or not limit(contest, one.larger, one.smaller):
        said = UNTESTED
    elif row["cancelled"]:
        said = TOO_SMALL
    elif BETTER in (row["verdict"], row["configurations"]):
        said = KEPT
    gains = [float(row[name]) for name in ("gain", "gain_low", "gain_high")]
    return *numbers, said, one.words, row["unit"], *gains, row["scale"]
