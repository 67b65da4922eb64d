"""How good the best configuration is after k trials: what a tuning budget buys.

Three ways, never one passed off as another; the column ``method`` tells.

``expected best of k of N``: for campaigns sampled at random without pruning, whose trials are independent draws. Of N
values the j-th best is the best of k drawn without replacement with probability C(N - j, k - 1) / C(N, k) (Dodge et al.
2019, arXiv 1909.03004, in the form without replacement). Its band is a bootstrap over trials: they are drawn with
replacement and the formula is applied to each draw. No draw exceeds the best that was seen, so that the draws fall
short above: the band reaches as far up as it does down, whichever percentile is farther. Measured with 10, 30 and 60
trials and k up to N / 2 it covers the true expectation in 90 to 98 % of cases where values are normal, uniform or like
accuracies, and in 82 to 95 % where they have a long tail on the good side (exponential). Beyond N / 2 what is better
than all that was seen cannot be told: there the band has no end on that side, and covers in 95 % or more.

``mean of R replicates``: for every other campaign that was repeated: the mean over replicate studies of the best of the
first k trials, with Student's t interval over the replicates.

``one study``: of neither kind. The best of its first k trials, as they came, without an interval.

A complete trial has its value; one that diverged or failed has the worst value of any complete trial of the workload. A
pruned trial used its turn up and is never the best (no study of the first method has one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import DRAWS, Floats, mean, percentiles
from analysis.schema import COUNTED
from analysis.study import Study

COLUMNS = ("study", "k", "expected_best", "low", "high", "method")
EXPECTED, ALONE = "expected best of k of N", "one study"
MOST_POINTS = 400  # of a curve; a longer one is thinned out evenly in log k, ends kept
_AT_ONCE = 2_000_000  # numbers of a bootstrap held in memory


def best_of_weights(num_trials: int, ks: Sequence[int]) -> Floats:
    """Return the probability that the j-th best of N is the best of k drawn without replacement: shape (len(ks), N).

    >>> best_of_weights(3, [1, 2, 3]).round(3).tolist()
    [[0.333, 0.333, 0.333], [0.667, 0.333, 0.0], [1.0, 0.0, 0.0]]

    Raises:
        ValueError: A k is not from 1 to N.
    """
    if any(not 1 <= k <= num_trials for k in ks):
        raise ValueError(f"k is from 1 to the number of trials, {num_trials}, not {list(ks)}")
    n, k, j = num_trials, np.asarray(ks, np.int64)[:, None], np.arange(1, num_trials + 1)[None, :]
    rest = np.maximum(n - j - k + 1, 0)  # of N - j trials that are worse, how many stay undrawn
    logs = _log_choose(k - 1, rest) - _log_choose(k, n - k)
    return np.asarray(np.where(n - j >= k - 1, np.exp(logs), 0.0))


def _log_choose(taken: NDArray[np.int64], left: NDArray[np.int64]) -> Floats:
    """Return the logarithm of the number of ways to take ``taken`` of ``taken + left``."""
    return np.asarray(gammaln(taken + left + 1.0) - gammaln(taken + 1.0) - gammaln(left + 1.0))


def expected_best(
    values: Floats, ks: Sequence[int], rng: np.random.Generator, *, direction: str = "maximize", draws: int = DRAWS
) -> tuple[Floats, Floats, Floats]:
    """Return expected best of k of independent trials: estimate, low, high, each of shape (len(ks),).

    The end on the good side is infinite for k above N / 2.

    Args:
        values: Of the trials (N,), in any order.
        ks: From 1 to N.
        rng: Draws the trials for the band.
        direction: ``"maximize"`` or ``"minimize"``.
        draws: Of the bootstrap.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    ordered = -np.sort(-sign * values)
    weights = best_of_weights(len(values), ks)
    chunk = max(1, _AT_ONCE // len(values))
    drawn = np.concatenate(
        [
            # positions in the order of merit: sorting integers is faster, and gives the same
            ordered[np.sort(rng.integers(len(values), size=(min(chunk, draws - start), len(values))), axis=1)]
            @ weights.T
            for start in range(0, draws, chunk)
        ]
    )
    estimate = weights @ ordered
    low, high = percentiles(drawn)
    half = np.maximum(estimate - low, high - estimate)
    low, high = estimate - half, np.where(2 * np.asarray(ks) <= len(values), estimate + half, np.inf)
    if len(values) < 2:
        low = high = np.full(len(ks), np.nan)
    return (estimate, low, high) if sign > 0 else (-estimate, -high, -low)


def incumbents(values: Floats, *, direction: str) -> Floats:
    """Best of the first k values for every k (n,); NaN until the first that is a number."""
    take = np.fmax if direction == "maximize" else np.fmin
    return np.asarray(take.accumulate(values)) if len(values) else values


def is_independent(study: Study) -> bool:
    """Return whether the trials of a study are independent draws that all had the whole budget."""
    return study.campaign.get("sampler") == "random" and study.campaign.get("pruner") == "none"


def budget_curves(
    contests: Sequence[WorkloadRuns],
    rng: np.random.Generator,
    replicates: Mapping[str, Sequence[pd.DataFrame]] | None = None,
) -> pd.DataFrame:
    """Return the curve of every study.

    Args:
        contests: Of a campaign.
        rng: Draws the trials for the bands.
        replicates: By study, the trials of it and of its replicates: one frame (columns ``number``, ``outcome``,
            ``value``) a replicate. By default those of the contests.

    Returns:
        Columns: ``study``, ``k`` (trials), ``expected_best`` (of the metric, on validation data), ``low``, ``high``
        (NaN where there is no interval), ``method``.
    """
    frames = []
    for contest, child in zip(contests, rng.spawn(len(contests)), strict=True):
        for study in contest.studies:
            own = contest.trials[contest.trials["study"] == study.name]
            repeated = (replicates or {}).get(study.name) or _trials(contest, study)
            if is_independent(study):
                frames.append(_independent(contest, study, own, child))
            elif len(repeated) > 1:
                frames.append(_replicated(contest, study, repeated))
            else:
                frames.append(_alone(contest, study, own))
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def _trials(contest: WorkloadRuns, study: Study) -> list[pd.DataFrame]:
    """Return the trials of each search of an optimizer that has some."""
    every = [contest.trials[contest.trials["study"] == search.name] for search in contest.searches_of(study)]
    return [trials for trials in every if len(trials)]


def _values(contest: WorkloadRuns, trials: pd.DataFrame) -> Floats:
    """Return values of the trials that ended (n,), in the order of their numbers; NaN for pruned ones."""
    ended = trials[trials["outcome"].isin(COUNTED)].sort_values("number")
    complete = contest.trials.loc[contest.trials["outcome"] == "complete", "value"]
    worst = float(complete.min() if contest.direction == "maximize" else complete.max())
    values = ended["value"].where(ended["outcome"] == "complete")
    return values.mask(ended["outcome"].isin(["diverged", "failed"]), worst).to_numpy(np.float64)


def _independent(contest: WorkloadRuns, study: Study, trials: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    values = _values(contest, trials)
    if not len(values) or np.isnan(values).any():  # nothing complete in the whole workload
        return pd.DataFrame(columns=list(COLUMNS))
    ks = _points(len(values))
    return _frame(study, ks, *expected_best(values, ks, rng, direction=contest.direction), EXPECTED)


def _replicated(contest: WorkloadRuns, study: Study, replicates: Sequence[pd.DataFrame]) -> pd.DataFrame:
    paths = [incumbents(_values(contest, trials), direction=contest.direction) for trials in replicates]
    ks = _points(min(len(path) for path in paths))
    columns = np.array([[path[k - 1] for path in paths] for k in ks])
    found = np.array([mean(column) for column in columns]).reshape(-1, 3)  # NaN as long as one has nothing
    best, low, high = found.T
    return _frame(study, ks, best, low, high, f"mean of {len(paths)} replicates")


def _alone(contest: WorkloadRuns, study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    path = incumbents(_values(contest, trials), direction=contest.direction)
    ks = _points(len(path))
    nothing = np.full(len(ks), np.nan)
    return _frame(study, ks, path[np.array(ks, np.int64) - 1], nothing, nothing, ALONE)


def _points(num_trials: int) -> list[int]:
    if num_trials <= MOST_POINTS:
        return list(range(1, num_trials + 1))
    return sorted({int(k) for k in np.geomspace(1, num_trials, MOST_POINTS).round()})


def _frame(study: Study, ks: Sequence[int], best: Floats, low: Floats, high: Floats, method: str) -> pd.DataFrame:
    table = {"study": study.name, "k": list(ks), "expected_best": best, "low": low, "high": high, "method": method}
    return pd.DataFrame(table, columns=list(COLUMNS))
