"""What is compared of an optimizer: the means of its searches, and how the variance divides into searches and seeds.

A search that is made again finds another configuration. So the winner of one search tells of that configuration, and an
optimizer is known by the winners of several searches (Bouthillier et al. 2021, arXiv 2103.03098). The unit is the
search: the mean over the seeds on which its winner was confirmed, on the scale of the metric. A search none of whose
trials was complete counts as the worst run of the workload. All optimizers of a workload have one unit (`unit`): what
an optimizer reaches, who is first, and who is told better are of the same numbers.

Of a search that drew its trials independently and stopped none, what another search would have found can be told from
its own trials: see `redrawn`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import Difference, Floats, resolution, typical
from analysis.metric_scale import on_scale
from analysis.schema import COUNTED
from analysis.study import Study
from analysis.text import number
from analysis.winners import places
from search_spaces.errors import number_of

ENOUGH = 3
"""Searches from which optimizers are compared, and not the configurations that one search found."""
SEARCHES, TRIALS, RUNS = "searches", "trials and seeds", "runs of two configurations"
"""Units: of what the differences of a workload are taken."""
COLUMNS = (
    "workload", "optimizer", "searches", "runs", "sd_searches", "sd_seeds", "variance_searches", "variance_seeds",
    "share_searches", "scale", "data",
)  # fmt: skip
ALL = "all optimizers"
_INDEPENDENT = ("random", "qmc")
_FEWEST = 3  # configurations of a search, each with two runs, from which another search can be told


def runs_of(contest: WorkloadRuns, search: Study) -> pd.DataFrame:
    """Return the rows of ``contest.runs`` of one search."""
    name = next((name for name, every in contest.searches.items() if search in every), search.name)
    found: pd.DataFrame = contest.runs[(contest.runs["study"] == name) & (contest.runs["search"] == search.replicate)]
    return found


def means(contest: WorkloadRuns, study: Study, data: str | None = None) -> Floats:
    """Return the means of an optimizer's searches (searches,), on the scale of comparison, the first search first."""
    by_search = contest.by_search(study, data)
    found: list[float] = []
    for search in contest.searches_of(study):
        which = search.replicate if study.name in contest.searches else 1
        if which in by_search:
            found.append(float(by_search[which].mean()))
        elif by_search and contest.fruitless(search):
            found.append(_worst(contest, data))
    return np.array(found)


def configuration(contest: WorkloadRuns, study: Study, data: str | None = None) -> Floats:
    """Return the runs (n,) of the winner of an optimizer's first search, on the scale of comparison, one a seed."""
    by_search = contest.by_search(study, data)
    return by_search[min(by_search)] if by_search else np.empty(0)


def repeated(contest: WorkloadRuns) -> bool:
    """Return whether all optimizers of a workload were searched often enough to be compared over their searches."""
    confirmed = contest.confirmed()
    return bool(confirmed) and all(len(means(contest, study)) >= ENOUGH for study in confirmed)


def unit(contest: WorkloadRuns) -> str:
    """Return of what differences on a workload are taken: the most that all its optimizers can be compared over."""
    if repeated(contest):
        return SEARCHES
    confirmed = contest.confirmed()
    drawn_again = bool(confirmed) and all(redrawn(contest, study) is not None for study in confirmed)
    return TRIALS if drawn_again else RUNS


def units(contest: WorkloadRuns, study: Study) -> Floats:
    """Return the values (n,) that count one each, on the scale of comparison: means of searches, or runs of one."""
    return means(contest, study) if repeated(contest) else configuration(contest, study)


def values_or_hopeless(contest: WorkloadRuns, optimizer: str) -> Floats:
    """Return the compared values of an optimizer (n,), greater being better; one without any always loses."""
    study = next(study for study in contest.studies if study.optimizer == optimizer)
    values = contest.sign * units(contest, study) if repeated(contest) else contest.first_searches().goodness(study)
    return values if len(values) else np.array([-np.inf, -np.inf])  # none of its trials was complete: it always loses


def grouped(contest: WorkloadRuns, study: Study) -> list[NDArray[np.int64]]:
    """Return the rows of `runs` (positions) of each unit of an optimizer: those of a search, or a run of the first.

    Runs on one seed are one unit.
    """
    column = "search" if repeated(contest) else "seed"
    own = contest.runs.reset_index(drop=True)
    own = own[own["study"] == study.name]
    if column == "seed" and "search" in own:
        own = own[own["search"] == own["search"].min()]
    keys = [("row", at) if pd.isna(key) else key for at, key in zip(own.index, own[column], strict=True)]
    found: dict[object, list[int]] = {}
    for at, key in zip(own.index, keys, strict=True):
        found.setdefault(key, []).append(int(at))
    return [np.array(rows, np.int64) for rows in found.values()]


@dataclass(frozen=True, slots=True)
class Level:
    """What an optimizer reaches on a workload, in units of the metric, with an interval, and what that is over.

    ``statistic`` is mean or geometric mean (on a logarithmic scale); ``over`` says what was repeated.
    """

    value: float
    low: float
    high: float
    statistic: str
    searches: int
    over: str


def level(contest: WorkloadRuns, study: Study, data: str | None = None) -> Level:
    """Return what an optimizer reaches: the mean whose differences the verdicts are about, see `unit`.

    So who is first by it is told worse than nobody. Student's t interval, within what the metric can be; none where a
    run lies so far out that it would not cover, and there ``over`` has the median (see `analysis.intervals.typical`).
    """
    count = len(means(contest, study, data))
    over_searches = repeated(contest)
    values = means(contest, study, data) if over_searches else configuration(contest, study, data)
    over = _over(study, list(contest.by_search(study, data).values()), count if over_searches else 0)
    column = "test" if (data or contest.data) == "test" else "validation"
    again = redrawn(contest, study) if data in (None, contest.data) and unit(contest) == TRIALS else None
    if again is None:
        *numbers, statistic = typical(values)
        if len(values) == 1:
            over = f"{over}; too few runs for an interval"
        elif len(values) and resolution(values) == 0:
            over = f"{over}; all gave the same, which tells nothing of how much others differ"
        elif statistic == "median" or math.isnan(numbers[1]):
            numbers = [float(values.mean()) if len(values) else math.nan, math.nan, math.nan]
            median = number(float(_in_units(contest, np.median(values)))) if len(values) else "not known"
            over = f"{over}; too far apart for an interval, their median is {median}"
    else:
        numbers = [again.estimate, *Difference(again.estimate, again.error, again.configurations - 1).interval()]
        over = f"what another search finds, told from {again.configurations} configurations of this one"
    value, *ends = (float(end) for end in _in_units(contest, np.array(numbers)))
    lowest, highest = study.bounds(contest.runs[column].dropna())
    statistic = "geometric mean" if contest.scale == "log" else "mean"
    return Level(value, max(ends[0], lowest), min(ends[1], highest), statistic, count, over)


def _in_units(contest: WorkloadRuns, values: ArrayLike) -> Floats:
    """Return values on the scale of comparison in units of the metric."""
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):  # an end beyond floats is infinite
        return np.exp(numbers) if contest.scale == "log" else numbers


def _over(study: Study, runs: Sequence[Floats], searches: int) -> str:
    """Return over what a value is, in words; ``searches``: how many count, 0 where it is a configuration's."""
    if not runs:
        return ""
    sizes = sorted({len(one) for one in (runs if searches else runs[:1])})
    seeds = number_of(sizes[0], "seed") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} seeds"
    if searches:
        splits = "a split of the data each" if study.resplit else "one split of the data"
        fruitless = f", {searches - len(runs)} more without a complete trial" if searches > len(runs) else ""
        return f"{number_of(len(runs), 'search', 'searches')} of {seeds}, {splits}{fruitless}"
    return f"{seeds} of one configuration, one split of the data"


def _worst(contest: WorkloadRuns, data: str | None) -> float:
    column = "test" if (data or contest.data) == "test" else "validation"
    values = on_scale(contest.runs[column].to_numpy(np.float64), contest.scale, contest.floor)
    values = values[np.isfinite(values)]
    return contest.sign * float((contest.sign * values).min()) if len(values) else float("nan")


@dataclass(frozen=True, slots=True)
class Redrawn:
    """What another search would have found: mean and error of its winner, and how many configurations that rests on."""

    estimate: float
    error: float
    configurations: int


def redrawn(contest: WorkloadRuns, study: Study) -> Redrawn | None:
    """Return what the search of an optimizer would have found with other trials and seeds; ``None`` if it cannot tell.

    The bootstrap in closed form: of N trials drawn with replacement from the N of the search, the j-th best is the best
    with probability ((N - j + 1) / N)^N - ((N - j) / N)^N; its runs on fresh seeds (``confirm --top``) have a mean and
    a variance. That gives the variance of the search's outcome: that between the configurations, less what the seeds
    have added to their spread, and that of the weighted mean over the seeds. What lies below the confirmed
    configurations counts as the last of them, which for five of many trials is drawn in 1 of 150 searches.

    It is valid for searches whose trials are independent draws that all had the whole budget: random or quasi-random
    sampling without a pruner. A sampler that learns would not have drawn the trials that it drew.
    """
    campaign = study.campaign
    if campaign.get("sampler") not in _INDEPENDENT or campaign.get("pruner") != "none" or not len(contest.below):
        return None
    below = contest.below[(contest.below["study"] == study.name) & (contest.below["search"] == study.replicate)]
    winners = contest.by_search(study).get(study.replicate)
    if winners is None or not len(below):
        return None
    column = "test" if contest.data == "test" else "validation"
    values = [winners]
    for place in range(2, int(below["place"].max()) + 1):
        runs = below.loc[below["place"] == place, column].to_numpy(np.float64)
        runs = runs[~np.isnan(runs)]
        if len(runs) < 2:
            break
        values.append(on_scale(runs, contest.scale, contest.floor))
    own = contest.trials[contest.trials["study"] == study.name]
    number, known = int(own["outcome"].isin(COUNTED).sum()), len(values)
    if known < _FEWEST or min(map(len, values)) < 2 or number < len(places(study, contest.trials)):
        return None
    left = (np.arange(number, number - known - 1, -1) / number) ** number
    weights = left[:-1] - left[1:]
    weights[-1] += left[-1]
    each = np.array([one.mean() for one in values])
    within = sum(float(one.var(ddof=1)) * (len(one) - 1) for one in values) / sum(len(one) - 1 for one in values)
    within = max(within, (resolution(np.concatenate(values)) / 2) ** 2)  # runs that tie, as in `intervals.difference`
    centre = float(weights @ each)
    sizes = np.array([len(one) for one in values])
    seeds = within / sizes  # of the means of the configurations; it is in their spread already, as a part
    spread = float(weights @ (each - centre) ** 2 - (weights * (1 - weights)) @ seeds)
    return Redrawn(centre, math.sqrt(max(0.0, spread) + float(weights**2 @ seeds)), known)


def components(groups: Sequence[Sequence[Floats]]) -> tuple[float, float]:
    """Return the variance between searches and within them, by the estimator of the analysis of variance.

    Unequal numbers of seeds are allowed (Searle, Casella and McCulloch 1992, 3.6). Of several optimizers the sums of
    squares are pooled, so that how far optimizers are apart is in neither. A variance between that comes out negative
    is 0; NaN where there are fewer than two searches, or one run in each.

    Args:
        groups: Of each optimizer, of each search, the values of its runs (n,).
    """
    between = within = spread = 0.0
    left = rest = 0
    for searches in groups:
        sizes = np.array([len(values) for values in searches])
        every = np.concatenate(searches)
        middles = np.array([values.mean() for values in searches])
        between += float(sizes @ (middles - every.mean()) ** 2)
        within += sum(float(((values - values.mean()) ** 2).sum()) for values in searches)
        left += len(searches) - 1
        rest += len(every) - len(searches)
        spread += float(sizes.sum() - (sizes**2).sum() / sizes.sum())
    if not left or not rest:
        return float("nan"), within / rest if rest else float("nan")
    seeds = within / rest
    return max(0.0, (between - left * seeds) / spread), seeds


def variance(contests: Sequence[WorkloadRuns]) -> pd.DataFrame:
    """Return how the variance of confirmed values divides into searches and seeds.

    Returns:
        One row an optimizer of a workload, and one of all of them together. Columns: ``workload``, ``optimizer``,
        ``searches``, ``runs`` (that count), ``sd_searches`` (standard deviation of what searches would give on
        endlessly many seeds) and ``sd_seeds`` (of one run of one winner), ``variance_searches``, ``variance_seeds``,
        ``share_searches`` (of the variance of a run of a search: 0 to 1), ``scale`` (log: of natural logarithms, so
        that the standard deviations are about relative), ``data``. NaN where it cannot be told: with one search, or one
        seed in each.
    """
    rows: list[tuple[object, ...]] = []
    for contest in contests:
        confirmed = contest.confirmed()
        groups = [list(contest.by_search(study).values()) for study in confirmed]
        told = [(study.optimizer, [group]) for study, group in zip(confirmed, groups, strict=True) if group]
        told += [(ALL, [group for group in groups if group])] if len(told) > 1 else []
        for name, own in told:
            searches, seeds = components(own)
            total = searches + seeds
            share = searches / total if total > 0 else float("nan")
            every = [values for group in own for values in group]
            rows.append(
                (contest.workload, name, len(every), sum(map(len, every)), np.sqrt(searches), np.sqrt(seeds), searches,
                 seeds, share, contest.scale, contest.data)
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))
