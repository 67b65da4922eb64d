"""How much it costs each optimizer to reach a workload's target, on three axes: epochs, evaluations, seconds.

The target is set before the contest and by no contestant, as AlgoPerf's are (Dahl et al. 2023, arXiv 2306.07179): the
campaign's own (``[targets]``), else the workload's. A workload without one has no times. Where searches were repeated
the unit is the search: the median of its runs, or their restricted mean; with one search, a run of its winner, and what
is told is of that configuration. A run that never reached the target, or broke, has the time ``inf``: all runs had the
same budget, so the median over runs is the Kaplan-Meier median.

Two ratios tell how optimizers compare. That of medians has a bootstrap interval: the units of both are drawn with
replacement, the target held; below five it would not cover, and there is none. Where both medians of a draw are
infinite anything is possible, so that draw counts as 0 for the lower and ``inf`` for the upper end. That of restricted
means (Royston and Parmar 2013) always has one: a run counts with the time it took, but with no more than the horizon,
the smaller of the two optimizers' budgets on that axis. Where no run of either arrived before the horizon it is not
known. Its interval is that of the delta method, with Welch's degrees of freedom, Holm-corrected over the pairs of all
workloads on an axis; who is slower is judged by it.

Measured on ten runs each, exponential times of means 2 and 1, all cut off at 2: the interval of the ratio of medians
covers 97 %, that of the ratio of restricted means 96 %.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import special

from analysis.comparison.pairwise import holm
from analysis.comparison.searches import RUNS, SEARCHES, grouped, repeated
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import DRAWS, FEW, LEVEL, UNKNOWN, Difference, Floats, median, percentiles, ratio_of_means
from analysis.metric_scale import factor
from analysis.study import Study
from search_spaces.errors import number_of

AXES = {"epochs": "epoch", "gradient_evaluations": "gradient_evaluations", "seconds": "seconds"}
COLUMNS = (
    "study", "workload", "optimizer", "axis", "target", "target_source", "runs", "reached", "share",
    "share_low", "share_high", "unit", "units", "median", "low", "high", "coverage", "budget", "reference", "ratio",
    "ratio_low", "ratio_high", "restricted_ratio", "restricted_low", "restricted_high", "comparable",
)  # fmt: skip
RATIOS = (
    "workload", "axis", "a", "b", "ratio", "low", "high", "restricted_ratio", "restricted_low", "restricted_high",
    "horizon", "level", "comparable",
)  # fmt: skip
REFERENCE = "sgd"


def target(contest: WorkloadRuns) -> tuple[float, str]:
    """Return the value of the metric, on the data that the search chose by, that counts as reached, and whose it is.

    The campaign's own (``[targets]``, by workload), else the workload's; NaN and "none" without.
    """
    study = contest.studies[0]
    goal = study.target
    if goal is None:
        return math.nan, "none"
    targets = study.campaign.get("targets")
    own = isinstance(targets, Mapping) and targets.get(contest.workload) is not None
    return goal, "campaign" if own else "workload"


Spent = dict[str, dict[str, list[Floats]]]
"""By axis and optimizer, of each unit what its runs had spent when they first reached the target; ``inf``: never."""


def counted(contest: WorkloadRuns) -> list[str]:
    """Return the axes on which runs can be told: a person's own loop does not count gradient evaluations."""
    return [axis for axis in AXES if axis != "gradient_evaluations" or contest.counts_evaluations]


def spent(contest: WorkloadRuns, goal: float) -> Spent:
    """Return what runs spent, by axis (those that are counted), optimizer and unit (`searches.grouped`)."""
    reached = contest.curves[contest.sign * contest.curves["value"] >= contest.sign * goal]
    first = reached.drop_duplicates(["study", "number"])  # the curves are in the order of the epochs
    complete = contest.runs[contest.runs["outcome"] == "complete"]
    both = contest.runs[["study", "number"]].merge(
        first.merge(complete[["study", "number"]], on=["study", "number"]), how="left", on=["study", "number"]
    )
    units = {study.optimizer: grouped(contest, study) for study in contest.confirmed()}
    columns = {axis: both[AXES[axis]].fillna(np.inf).to_numpy(np.float64) for axis in counted(contest)}
    return {
        axis: {name: [values[rows] for rows in own] for name, own in units.items()} for axis, values in columns.items()
    }


def times(contest: WorkloadRuns, goal: float) -> dict[str, dict[str, Floats]]:
    """Return by axis and optimizer the time of each unit: the median of its runs (units,)."""
    found = spent(contest, goal)
    return {axis: {name: medians(own) for name, own in by_name.items()} for axis, by_name in found.items()}


def medians(units: Sequence[Floats]) -> Floats:
    """Return the Kaplan-Meier median of each unit (units,)."""
    return np.array([float(lower_medians(values)) for values in units])


def comparable(contest: WorkloadRuns, studies: Sequence[Study]) -> bool:
    """Return whether seconds of these studies' runs compare: each alone, on one kind of device, none crowded."""
    return why_not_comparable(contest, studies) is None


def why_not_comparable(contest: WorkloadRuns, studies: Sequence[Study]) -> str | None:
    """Return in words why seconds of these studies' runs do not compare, or ``None`` where they do."""
    own = contest.runs["study"].isin([study.name for study in studies])
    exclusive, crowded = contest.runs.loc[own, "exclusive"], int(contest.crowded()[own].sum())
    devices = set(contest.runs.loc[own, "device"].dropna())
    if (~exclusive.fillna(True)).any():
        return "runs shared a device"
    if crowded:
        return f"other programs left {number_of(crowded, 'run')} no core of its own"
    if len(devices) > 1:
        return "runs were on different devices"
    return "where runs were is not known" if exclusive.isna().any() or not devices else None


def untimed(contests: Sequence[WorkloadRuns]) -> list[tuple[str, str]]:
    """Return the confirmed workloads whose seconds do not compare, each with why, in words."""
    found = [
        (contest.workload, why_not_comparable(contest, contest.confirmed()))
        for contest in contests
        if contest.confirmed()
    ]
    return [(workload, why) for workload, why in found if why is not None]


def time_to_target(contests: Sequence[WorkloadRuns], rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return times to target of every confirmed study, and their ratios.

    Args:
        contests: Of a campaign.
        rng: Draws the runs for the ratios of medians.

    Returns:
        Two frames. Times, a row a study and axis: ``study``, ``workload``, ``optimizer``, ``axis`` (epochs,
        gradient_evaluations, seconds), ``target``, ``target_source`` (campaign or workload), ``runs``, ``reached``
        (how many runs reached it; the others are censored at their budget), ``share``, ``share_low``, ``share_high``
        (of the runs, with 95 % of Clopper and Pearson; NaN over searches, whose runs do not count one each), ``unit``
        (searches, or runs of one configuration), ``units``, ``median`` (of the units; ``inf``: fewer than half did),
        ``low``, ``high``, ``coverage`` (interval between order statistics, and what it covers), ``budget``
        (the least that a complete run spent in all; NaN without one), ``reference`` (sgd, or the first optimizer where
        it is missing), ``ratio`` (median over that of the reference; NaN where both are infinite), ``restricted_ratio``
        (the same of restricted means), both with ``…_low``, ``…_high`` (see above; 1 and no interval for the reference
        itself), ``comparable`` (False for seconds of runs that shared a device, or whose devices differ or are not
        known).
        Ratios, a row a pair and axis: ``workload``, ``axis``, ``a``, ``b``, ``ratio`` (of the medians, a to b),
        ``low``, ``high``, ``restricted_ratio``, ``restricted_low``, ``restricted_high``, ``horizon`` (of the restricted
        means), ``level`` (of their interval), ``comparable``.
    """
    rows: list[tuple[object, ...]] = []
    ratios: list[tuple[object, ...]] = []
    measured = [
        (contest, goal, source)
        for contest in contests
        if contest.confirmed() and not math.isnan((found := target(contest))[0])
        for goal, source in [found]
    ]
    spending = [spent(contest, goal) for contest, goal, _ in measured]
    levels = {
        axis: _levels([(m[0], own.get(axis, {})) for m, own in zip(measured, spending, strict=True)], axis)
        for axis in AXES
    }
    children = rng.spawn(len(measured))
    for place, ((contest, goal, source), child) in enumerate(zip(measured, children, strict=True)):
        studies = contest.confirmed()
        unit = SEARCHES if repeated(contest) else RUNS
        reference = next((s for s in studies if s.optimizer == REFERENCE), studies[0])
        for axis, by_optimizer in spending[place].items():
            pairs = _pairs(contest, axis, by_optimizer, levels[axis][place], child)
            ratios.extend(pairs)
            for study in studies:
                units = by_optimizer[study.optimizer]
                every = np.concatenate(units)
                reached = int(np.isfinite(every).sum())
                share = _share(reached, len(every)) if unit == RUNS else UNKNOWN
                fair = axis != "seconds" or comparable(contest, [study, reference])
                rows.append(
                    (study.name, contest.workload, study.optimizer, axis, goal, source, len(every), reached,
                     reached / len(every) if len(every) else math.nan, *share,
                     unit, len(units), *median(medians(units)), _budget(contest, study, AXES[axis]),
                     reference.optimizer, *_to_reference(pairs, study.optimizer, reference.optimizer), fair)
                )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)), pd.DataFrame(ratios, columns=list(RATIOS))


def _share(reached: int, runs: int) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson (1934) of the share of runs that reach a target."""
    tail = (1 - LEVEL) / 2
    low = float(special.betaincinv(reached, runs - reached + 1, tail)) if reached else 0.0
    high = float(special.betaincinv(reached + 1, runs - reached, 1 - tail)) if reached < runs else 1.0
    return low, high


def _levels(found: Sequence[tuple[WorkloadRuns, Mapping[str, list[Floats]]]], axis: str) -> list[list[float]]:
    """Levels of the intervals of the restricted ratios on one axis, a list a contest, corrected over all of them."""
    p_values = [[ratio.p for *_, ratio in _restricted(contest, axis, by_optimizer)] for contest, by_optimizer in found]
    levels, _ = holm([p for own in p_values for p in own])
    left = iter(levels)
    return [[next(left) for _ in own] for own in p_values]


def _restricted(
    contest: WorkloadRuns, axis: str, by_optimizer: Mapping[str, list[Floats]]
) -> list[tuple[Study, Study, float, Difference]]:
    """Return every pair with its horizon and the ratio of its restricted means; none on an axis that is not counted."""
    if not by_optimizer:
        return []
    budgets = {study.optimizer: _budget(contest, study, AXES[axis]) for study in contest.studies}
    found = []
    for a, b in itertools.combinations(contest.confirmed(), 2):
        end = float(np.fmin(budgets[a.optimizer], budgets[b.optimizer]))
        one, two = (
            np.array([float(np.minimum(values, end).mean()) for values in by_optimizer[name]])
            for name in (a.optimizer, b.optimizer)
        )
        found.append((a, b, end, ratio_of_restricted_means(one, two, end)))
    return found


def _pairs(
    contest: WorkloadRuns,
    axis: str,
    by_optimizer: Mapping[str, list[Floats]],
    levels: Sequence[float],
    rng: np.random.Generator,
) -> list[tuple[object, ...]]:
    """Return rows of the ratios of all pairs on one axis."""
    middle = {name: medians(units) for name, units in by_optimizer.items()}
    draws = {name: lower_medians(resample(values, rng)) for name, values in middle.items()}
    rows: list[tuple[object, ...]] = []
    for (a, b, end, found), level in zip(_restricted(contest, axis, by_optimizer), levels, strict=True):
        fair = axis != "seconds" or comparable(contest, [a, b])
        means = (factor(found.estimate), *map(factor, found.interval(level)))
        one, two = a.optimizer, b.optimizer
        of_medians = ratio_of_medians(middle[one], middle[two], draws[one], draws[two])
        rows.append((contest.workload, axis, one, two, *of_medians, *means, end, level, fair))
    return rows


def ratio_of_restricted_means(a: Floats, b: Floats, horizon: float) -> Difference:
    """Return logarithm of the ratio of restricted means; unknown where no run of either arrived before the horizon."""
    if not min(a.min(), b.min()) < horizon:
        return Difference(math.nan, math.nan, math.nan)
    return ratio_of_means(np.minimum(a, horizon), np.minimum(b, horizon))


def _to_reference(pairs: Sequence[tuple[object, ...]], optimizer: str, reference: str) -> tuple[float, ...]:
    """Return the ratio and restricted ratio of an optimizer to the reference, each with its interval: six numbers."""
    if optimizer == reference:
        return (1.0, *UNKNOWN, 1.0, *UNKNOWN)
    for _, _, a, b, *numbers in pairs:
        ratio = np.array(numbers[:6], np.float64)
        if (a, b) == (optimizer, reference):
            return tuple(ratio.tolist())
        if (b, a) == (optimizer, reference):
            return tuple(quotient(np.ones(6), ratio)[[0, 2, 1, 3, 5, 4]].tolist())
    raise ValueError(f"no pair of {optimizer} and {reference}")


def lower_medians(draws: Floats) -> Floats:
    """Kaplan-Meier medians of draws (…, n): shape (…)."""
    place = (draws.shape[-1] + 1) // 2 - 1
    return np.asarray(np.partition(draws, place, axis=-1)[..., place])


def resample(values: Floats, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Return runs (n,) drawn with replacement: shape (draws, n)."""
    return values[rng.integers(len(values), size=(draws, len(values)))]


def quotient(a: Floats, b: Floats) -> Floats:
    """Return ``a / b`` of times that may be infinite; NaN where both are, and where both are zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.divide(a, b))


def ratio_of_medians(a: Floats, b: Floats, drawn_a: Floats, drawn_b: Floats) -> tuple[float, float, float]:
    """Median of a (n,) over that of b (m,), and its percentile interval from medians of draws of each (draws,)."""
    estimate = float(quotient(lower_medians(a), lower_medians(b)))
    if min(len(a), len(b)) < FEW:  # of three it would cover 90 %
        return estimate, *UNKNOWN
    drawn = quotient(drawn_a, drawn_b)
    low, _ = percentiles(np.where(np.isnan(drawn), 0.0, drawn))
    _, high = percentiles(np.where(np.isnan(drawn), np.inf, drawn))
    return estimate, float(low), float(high)


def _budget(contest: WorkloadRuns, study: Study, column: str) -> float:
    """Return the least that a complete run of a study spent in all; NaN without one."""
    complete = contest.of(study).query("outcome == 'complete'")["number"]
    own = contest.curves[(contest.curves["study"] == study.name) & contest.curves["number"].isin(complete)]
    return float(own.groupby("number")[column].max().min()) if len(own) else math.nan
