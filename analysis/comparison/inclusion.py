"""Optimizers that contain others: where the larger one loses beyond noise, its search was too small.

An optimizer that becomes another in a limit can do all that the other can, so tuned well enough it must not lose to it
(Choi et al. 2019, arXiv 1910.05446). When it does, the comparison has shown something of its search space or of its
number of trials, and nothing against the optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.comparison.pairwise import BETTER, WORSE, between
from analysis.comparison.workload_runs import WorkloadRuns

# larger, smaller, in which limit the one becomes the other, and what of the larger must be searched for that
INCLUSIONS = (
    ("sofim", "sgd", "as ρ grows with η/ρ held, SOFIM becomes SGD with momentum", ("lr", "rho")),
    ("adamw", "adam", "without weight decay both are Adam", ("weight_decay",)),
)
COLUMNS = ("workload", "larger", "smaller", "difference", "low", "high", "verdict", "limit")
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
        Columns: ``workload``, ``larger``, ``smaller``, ``difference`` (mean of the larger minus mean of the smaller, in
        units of the metric), ``low``, ``high``, ``verdict`` (search too small: the larger is worse; larger is better;
        no loss shown; not tested: one of them has no interval, or the larger one's space is fixed away from the limit),
        ``limit`` (in which it contains the other).
    """
    rows = []
    for contest in contests:
        optimizers = {study.optimizer for study in contest.studies}
        for larger, smaller, limit, needed in INCLUSIONS:
            if {larger, smaller} <= optimizers:
                numbers, said = _judge(contest, comparisons, larger, smaller)
                fixed = next(study for study in contest.studies if study.optimizer == larger).fixed
                said = UNTESTED if set(needed) & set(fixed) else said
                rows.append((contest.workload, larger, smaller, *numbers, said, limit))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _judge(
    contest: WorkloadRuns, comparisons: pd.DataFrame, larger: str, smaller: str
) -> tuple[tuple[float, float, float], str]:
    row = between(comparisons, contest.workload, larger, smaller)
    if row is None:
        return (math.nan, math.nan, math.nan), UNTESTED
    numbers = float(row["difference"]), float(row["difference_low"]), float(row["difference_high"])
    if math.isnan(numbers[1]):
        return numbers, UNTESTED
    return numbers, {WORSE: TOO_SMALL, BETTER: KEPT}.get(str(row["verdict"]), CONSISTENT)
