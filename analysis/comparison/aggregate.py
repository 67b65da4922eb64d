"""Optimizers across workloads: aggregate scores, performance profiles and ranks.

A workload takes part if every optimizer has confirmation runs on it, or has none because none of its trials was ever
complete; such an optimizer has the worst score, no time to target and the last rank there. On the other workloads not
everybody was measured: they are left out of everything here, and named.

What counts one is a search where all optimizers of the workload were searched three times or more, by its mean, else a
run of the one winner: then scores tell of the configurations that were found (`analysis.comparison.searches.units`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special, stats

from analysis.comparison.limits import limit
from analysis.comparison.pairwise import chance
from analysis.comparison.searches import RUNS, SEARCHES, repeated, units
from analysis.comparison.time_to_target import AXES, comparable, lower_medians, quotient, resample, target, times
from analysis.comparison.workload_runs import WorkloadRuns, start
from analysis.intervals import (
    LEVEL,
    UNKNOWN,
    Floats,
    percentiles,
)
from analysis.study import Study
from analysis.text import listing
from search_spaces.errors import number_of

AGGREGATE = ("optimizer", "iqm", "low", "high", "workloads", "runs", "unit", "level")
IMPROVEMENT = ("a", "b", "probability_of_improvement", "probability_low", "probability_high", "workloads")
PROFILE = ("axis", "optimizer", "tau", "share")
SCORE = ("axis", "optimizer", "score", "low", "high", "workloads", "comparable", "level")
RANKS = (
    "optimizer", "mean_rank", "low", "high", "workloads", "critical_difference", "friedman_p", "best", "behind_best",
    "warning", "possible",
)  # fmt: skip
R_MAX = 4.0
FEW_WORKLOADS = 10  # Demšar (2006) trusts the test above these, with more than 5 classifiers
_TOLERANCE = 1e-12


def takes_part(contests: Sequence[WorkloadRuns]) -> tuple[list[WorkloadRuns], list[str]]:
    """Return the contests that everybody was measured on, and the names of the workloads that were not."""
    optimizers = _optimizers(contests)
    inside: list[WorkloadRuns] = []
    outside: list[WorkloadRuns] = []
    for contest in contests:
        have = {s.optimizer for s in contest.studies if len(contest.goodness(s)) or contest.hopeless(s)}
        fair = have == set(optimizers) and len(contest.confirmed()) > 0
        (inside if fair else outside).append(contest)
    return inside, [contest.workload for contest in outside]


def _optimizers(contests: Sequence[WorkloadRuns]) -> list[str]:
    return list(dict.fromkeys(study.optimizer for contest in contests for study in contest.studies))


def normalized(contest: WorkloadRuns) -> dict[str, Floats]:
    """Return scores of the units (n,) by optimizer, at least 0; about 1 for the best optimizer, whose mean one has 1.

    On the scale of the metric. 0 is the middle of all complete runs after their first epoch, on the data that the
    search chose by: what training starts from. Where there are no curves, or the best is no better than that, it is the
    worst unit. An optimizer that was hopeless has one of score 0. All scores are 1 where all are equal.
    """
    by_optimizer = {s.optimizer: contest.sign * units(contest, s) for s in contest.studies}
    have = [values for values in by_optimizer.values() if len(values)]
    if not have:
        return {name: np.zeros(1) for name in by_optimizer}
    top = max(float(values.mean()) for values in have)
    zero = start(contest)
    if zero >= top:
        zero = min(float(values.min()) for values in have)
    reach = top - zero
    return {
        name: np.zeros(1) if not len(values) else np.maximum((values - zero) / reach, 0.0) if reach > 0 else values**0
        for name, values in by_optimizer.items()
    }


def interquartile_mean(values: Floats, weights: Floats | None = None) -> Floats:
    """Return the mean of the middle half of the last axis, by weight: (…, n) and (n,) to (…).

    A quarter of the weight is cut at either end, and of a value that the cut goes through a part.

    >>> float(interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0])))
    1.5
    >>> float(interquartile_mean(np.array([0.0, 1.0, 1.0]), np.array([2.0, 1.0, 1.0])))
    0.5
    """
    n = values.shape[-1]
    share = np.full(n, 1.0 / n) if weights is None else weights / weights.sum()
    order = np.argsort(values, axis=-1)
    ordered, sizes = np.take_along_axis(values, order, axis=-1), share[order]
    ends = np.cumsum(sizes, axis=-1)
    inside = np.clip(np.minimum(ends, 0.75) - np.maximum(ends - sizes, 0.25), 0.0, None)
    return np.asarray((ordered * inside).sum(axis=-1) / inside.sum(axis=-1))


def aggregate(contests: Sequence[WorkloadRuns], rng: np.random.Generator) -> pd.DataFrame:
    """Return interquartile mean of normalized scores over runs and workloads (Agarwal et al. 2021, arXiv 2108.13264).

    Every workload weighs the same, however many runs it has: an optimizer that was hopeless on one has a score of 0
    there that weighs as much as ten runs elsewhere.

    Args:
        contests: Of a campaign; all of them, those that do not take part are left out.
        rng: Draws runs.

    Returns:
        Best first. Columns: ``optimizer``, ``iqm``, ``low``, ``high`` (stratified bootstrap: units are drawn with
        replacement within each workload, and the interval is widened as Student's t is, see `widened`; NaN with a
        single unit in each), ``workloads``, ``runs`` (units), ``unit`` (searches, or runs of configurations found
        once), ``level`` (of the intervals: 95 % for all optimizers together, by Bonferroni).
    """
    inside, _ = takes_part(contests)
    scores = [normalized(contest) for contest in inside]
    level = 1 - (1 - LEVEL) / max(1, len(_optimizers(inside)))
    unit = SEARCHES if inside and all(repeated(contest) for contest in inside) else RUNS
    rows: list[tuple[object, ...]] = []
    for optimizer, child in _with_generators(inside, rng):
        own = [score[optimizer] for score in scores]
        everything = np.concatenate(own)
        weights = np.concatenate([np.full(len(values), 1.0 / len(values)) for values in own])
        middle = float(interquartile_mean(everything, weights))
        low, high = UNKNOWN
        if any(len(values) > 1 for values in own):
            drawn = np.concatenate([resample(values, child) for values in own], axis=1)
            low, high = widened(middle, interquartile_mean(drawn, weights), [len(values) for values in own], level)
        rows.append((optimizer, middle, low, high, len(own), len(everything), unit, level))
    frame = pd.DataFrame(rows, columns=list(AGGREGATE))
    return frame.sort_values("iqm", ascending=False, kind="stable", ignore_index=True)


def widened(middle: float, draws: Floats, sizes: Sequence[int], level: float) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws, as much wider as Student's t is than a bootstrap of a mean.

    A bootstrap of n values takes their variance for (n - 1) / n of what it is, and no account of its not being known
    (Hesterberg 2015, The American Statistician 69, 371-386): the ends are farther from the estimate by √(n / (n - 1))
    and by the quantile of Student's t over that of the normal distribution. n is the size of the smallest sample of two
    or more, its degrees of freedom those of all samples together.
    """
    low, high = percentiles(draws, level)
    several = [size for size in sizes if size > 1]
    least, freedom = min(several), sum(size - 1 for size in several)
    share = 0.5 + level / 2
    wide = math.sqrt(least / (least - 1)) * float(special.stdtrit(freedom, share) / special.ndtri(share))
    return middle - wide * (middle - float(low)), middle + wide * (float(high) - middle)


def improvement(contests: Sequence[WorkloadRuns]) -> pd.DataFrame:
    """Return for every pair the probability that a run of one is better than one of the other, over workloads.

    Agarwal et al. (2021, arXiv 2108.13264) take a bootstrap, which has no width where every run of one side beats every
    run of the other; see :func:`analysis.intervals.mean_probability_interval`.

    Returns:
        Columns: ``a``, ``b`` (optimizers), ``probability_of_improvement`` (of a; a tie counts half, a run that broke
        loses to any other), ``probability_low``, ``probability_high`` (95 %, for these workloads; NaN where a workload
        has a single run), ``workloads``.
    """
    inside, _ = takes_part(contests)
    pairs = itertools.combinations(_optimizers(inside), 2)
    return pd.DataFrame([(a, b, *chance(inside, a, b), len(inside)) for a, b in pairs], columns=list(IMPROVEMENT))


def _with_generators(
    contests: Sequence[WorkloadRuns], rng: np.random.Generator
) -> list[tuple[str, np.random.Generator]]:
    optimizers = _optimizers(contests)
    return list(zip(optimizers, rng.spawn(len(optimizers)), strict=True))


def profiles(contests: Sequence[WorkloadRuns], rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return performance profiles (Dolan and Moré 2002) of median times to target, and AlgoPerf's score.

    With r = (median time of the optimizer) / (that of the fastest on the workload), the profile at τ is the share of
    workloads with r ≤ τ, and the score is its mean over 1 ≤ τ ≤ 4 (Dahl et al. 2023, arXiv 2306.07179). On a workload
    where nobody's median run reached the target, every r is infinite; one without a target takes no part.

    Returns:
        Two frames. The profile's steps: ``axis`` (epochs, gradient_evaluations, seconds), ``optimizer``, ``tau`` (1,
        where it rises, and 4), ``share``. The scores, best first on each axis: ``axis``, ``optimizer``, ``score`` (0 to
        1), ``low``, ``high`` (stratified bootstrap of units within workloads, targets held, widened as that of
        `aggregate`; NaN with single units), ``workloads``, ``comparable`` (False for seconds of runs that shared a
        device or whose devices differ), ``level`` (of the intervals).
    """
    inside, _ = takes_part(contests)
    steps: list[tuple[object, ...]] = []
    scores: list[tuple[object, ...]] = []
    optimizers = _optimizers(inside)
    inside = [contest for contest in inside if not math.isnan(target(contest)[0])]
    found = [times(contest, target(contest)[0]) for contest in inside]
    for axis, child in zip(AXES, rng.spawn(len(AXES)), strict=True):
        own = [[by[axis].get(name, np.array([np.inf])) for name in optimizers] for by in found if axis in by]
        if not own:
            continue
        ratios = np.array([_ratios(np.array([lower_medians(times_) for times_ in runs])) for runs in own])
        drawn = np.array(
            [_ratios(np.array([lower_medians(resample(times_, child)) for times_ in runs])) for runs in own]
        )  # (workloads, optimizers, draws)
        score = profile_score(ratios)
        sizes = [len(times_) for runs in own for times_ in runs]
        level = 1 - (1 - LEVEL) / len(optimizers)
        ends = _nothing(optimizers)
        if any(size > 1 for size in sizes):
            each = [widened(*one, sizes, level) for one in zip(score.tolist(), profile_score(drawn), strict=True)]
            ends = np.clip(np.array(each).T, 0.0, 1.0)
        low, high = ends
        fair = axis != "seconds" or all(_alone(contest) for contest in inside)
        scores.extend(
            (axis, optimizers[i], float(score[i]), float(low[i]), float(high[i]), len(own), fair, level)
            for i in np.argsort(-score, kind="stable")
        )
        for i, name in enumerate(optimizers):
            rises = {1.0, R_MAX, *(float(r) for r in ratios[:, i] if r < R_MAX)}
            steps.extend((axis, name, tau, _share(ratios[:, i], tau)) for tau in sorted(rises))
    return pd.DataFrame(steps, columns=list(PROFILE)), pd.DataFrame(scores, columns=list(SCORE))


def _nothing(optimizers: Sequence[str]) -> tuple[Floats, Floats]:
    return np.full(len(optimizers), np.nan), np.full(len(optimizers), np.nan)


def _alone(contest: WorkloadRuns) -> bool:
    return comparable(contest, contest.confirmed())


def _ratios(medians: Floats) -> Floats:
    """Return times (optimizers, …) over the smallest of them; all infinite where nobody arrived."""
    ratios = quotient(medians, np.broadcast_to(medians.min(axis=0), medians.shape))
    return np.where(np.isnan(ratios), np.where(np.isinf(medians), np.inf, 1.0), ratios)


def _share(ratios: Floats, tau: float) -> float:
    return float((ratios <= tau * (1 + _TOLERANCE)).mean())


def profile_score(ratios: Floats) -> Floats:
    """Return the mean of the profile of ratios (workloads, …) over τ from 1 to 4: shape (…).

    The profile rises by 1 / n at each ratio, so its integral is the mean of what is left of the interval there.

    >>> float(profile_score(np.array([1.0, 2.5, 7.0])))
    0.5
    """
    return np.asarray(((R_MAX - np.clip(ratios, 1.0, R_MAX)) / (R_MAX - 1)).mean(axis=0))


def ranks(contests: Sequence[WorkloadRuns], rng: np.random.Generator) -> pd.DataFrame:
    """Return the mean ranks with Friedman's test and Nemenyi's critical difference (Demšar 2006, JMLR 7, 1-30).

    On each workload optimizers are ranked by their mean (1 is best, ties share the mean of their ranks).

    Returns:
        Best first. Columns: ``optimizer``, ``mean_rank``, ``low``, ``high`` (95 %, stratified bootstrap of runs within
        workloads: it tells the noise of the seeds, not of the choice of workloads), ``workloads``,
        ``critical_difference`` (of two mean ranks, at 5 %, for this choice of workloads), ``friedman_p`` (see
        `friedman`), ``best`` (all who have the best mean rank), ``behind_best`` (whether the rank is worse than the
        best by more than the critical difference, Friedman's test finds any difference, and it contains no best one:
        such a one was searched too little, which says nothing against it), ``warning`` (empty, or why not to trust this
        much), ``possible`` (whether ranks can be farther apart than the critical difference).
    """
    inside, _ = takes_part(contests)
    optimizers = _optimizers(inside)
    if not inside or len(optimizers) < 2:
        return pd.DataFrame(columns=list(RANKS))
    goodness = [[_filled(contest, name) for name in optimizers] for contest in inside]
    means = np.array([[values.mean() for values in row] for row in goodness])
    table = _rank(means)
    drawn = np.array(
        [
            _rank(np.array([resample(values, child).mean(axis=1) for values in row]).T)
            for row, child in zip(goodness, rng.spawn(len(goodness)), strict=True)
        ]
    )  # (workloads, draws, optimizers)
    repeated = any(len(values) > 1 for row in goodness for values in row)
    low, high = percentiles(drawn.mean(axis=0)) if repeated else _nothing(optimizers)
    average = table.mean(axis=0)
    distance = critical_difference(len(optimizers), len(inside))
    p = friedman(table)
    warning = _warning(len(inside), len(optimizers))
    best = int(average.argmin())
    first = [name for name, rank in zip(optimizers, average, strict=True) if rank <= average[best] + _TOLERANCE]
    rows = [
        (
            name, float(average[i]), float(low[i]), float(high[i]), len(inside), distance, p, listing(first),
            bool(p <= 1 - LEVEL and average[i] - average[best] > distance) and not _contains_one(inside, name, first),
            warning, len(optimizers) - 1 > distance,
        )
        for i, name in enumerate(optimizers)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(RANKS))
    return frame.sort_values("mean_rank", kind="stable", ignore_index=True)


def leaders(ranks: pd.DataFrame) -> list[str]:
    """Return who has the best mean rank, of a table of `ranks` with a row at least."""
    first: list[str] = ranks.loc[ranks["mean_rank"] <= ranks["mean_rank"].min() + _TOLERANCE, "optimizer"].tolist()
    return first


def behind_best(ranks: pd.DataFrame) -> list[str]:
    """Return whom the best of a table of `ranks` leaves behind beyond noise."""
    behind: list[str] = ranks.loc[ranks["behind_best"].astype(bool), "optimizer"].tolist()
    return behind


def _contains_one(contests: Sequence[WorkloadRuns], larger: str, others: Sequence[str]) -> bool:
    """Return whether an optimizer contains one of the others on every workload."""
    return any(all(limit(contest, larger, other) for contest in contests) for other in others)


def _filled(contest: WorkloadRuns, optimizer: str) -> Floats:
    """Return values of one optimizer's runs, greater is better; of a hopeless one, worse than all."""
    study = next(study for study in contest.studies if study.optimizer == optimizer)
    values = contest.sign * units(contest, study)
    return values if len(values) else np.array([-np.inf])


def _rank(goodness: Floats) -> Floats:
    """Return ranks along the last axis, 1 for the greatest; values that differ by rounding are equal."""
    size = np.abs(np.where(np.isfinite(goodness), goodness, 0.0)).max(axis=-1, keepdims=True)
    unit = np.where(size > 0, size, 1.0)
    return np.asarray(stats.rankdata(-np.round(goodness / unit, 12), axis=-1))


def friedman(table: Floats) -> float:
    """Return P-value that all optimizers rank alike, of ranks (workloads, optimizers); NaN for a single workload.

    Friedman's statistic, corrected for ties, in the form of Iman and Davenport (1980), which follows an F distribution.
    Where all workloads agree on all ranks, which leaves that form without a value, it is the exact probability of such
    agreement: the number of arrangements of these ranks (k! without ties) to the power 1 - N.
    """
    n, k = table.shape
    if n < 2 or k < 2:
        return math.nan
    _, p = _friedman_statistic(table)
    return p


def _friedman_statistic(table: Floats) -> tuple[float, float]:
    n, k = table.shape
    spread = float(((table - (k + 1) / 2) ** 2).sum())  # n k (k² - 1) / 12 without ties
    if spread == 0:
        return 0.0, 1.0
    between = n * float(((table.mean(axis=0) - (k + 1) / 2) ** 2).sum())
    chi_square = n * (k - 1) * between / spread
    rest = n * (k - 1) - chi_square
    if rest <= _TOLERANCE * n * k:
        _, tied = np.unique(table[0], return_counts=True)
        arrangements = math.lgamma(k + 1) - sum(math.lgamma(size + 1) for size in tied)
        return chi_square, math.exp((1 - n) * arrangements)
    ratio = (n - 1) * chi_square / rest
    return chi_square, float(stats.f.sf(ratio, k - 1, (k - 1) * (n - 1)))


def critical_difference(num_optimizers: int, num_workloads: int, level: float = LEVEL) -> float:
    """Return Nemenyi's critical difference of two mean ranks: q √(k (k + 1) / 6 N), q of the studentized range over √2.

    >>> round(critical_difference(4, 14), 3)  # the example of Demšar (2006), 3.2.4: 1.25
    1.254
    """
    k = num_optimizers
    q = float(stats.studentized_range.ppf(level, k, np.inf)) / math.sqrt(2)
    return q * math.sqrt(k * (k + 1) / (6 * num_workloads))


def _warning(num_workloads: int, num_optimizers: int) -> str:
    if num_workloads == 1:
        return "one workload: ranks across workloads say nothing beyond it"
    if num_workloads <= FEW_WORKLOADS or num_optimizers <= 5:
        seen = f"{number_of(num_workloads, 'workload')} and {number_of(num_optimizers, 'optimizer')}"
        return (
            f"{seen}: the test is approximate and weak below about {FEW_WORKLOADS + 1} workloads and 6 optimizers, and "
            "what it does not find may well be there"
        )
    return ""


def studies_missing(contests: Sequence[WorkloadRuns]) -> list[tuple[str, str]]:
    """Return the workload and optimizer of every study that has neither confirmation runs nor a reason to have none."""
    optimizers = _optimizers(contests)
    missing = []
    for contest in contests:
        by_optimizer: dict[str, Study] = {study.optimizer: study for study in contest.studies}
        for name in optimizers:
            study = by_optimizer.get(name)
            if study is None or not (len(contest.goodness(study)) or contest.hopeless(study)):
                missing.append((contest.workload, name))
    return missing
