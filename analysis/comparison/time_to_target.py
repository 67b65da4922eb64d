"""How much it costs each optimizer to reach a workload's target, on three axes: epochs, evaluations, seconds.

The target is set the way AlgoPerf sets its own (Dahl et al. 2023, arXiv 2306.07179): the best tuned optimizer is rerun,
and the median of what its runs reach on validation data is the target; a campaign may fix another. A run that never
reached it, or broke, has the time ``inf``: all runs had the same budget, so the median over runs is the Kaplan-Meier
median. A ratio of two medians has a bootstrap interval: the runs of both optimizers are drawn with replacement, the
target held. Where both medians of a draw are infinite anything is possible, so that draw counts as 0 for the lower and
``inf`` for the upper end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.comparison.contest import Contest
from analysis.comparison.intervals import DRAWS, UNKNOWN, Floats, median, percentiles
from analysis.load import Study

AXES = {"epochs": "epoch", "gradient_evaluations": "gradient_evaluations", "seconds": "seconds"}
COLUMNS = (
    "study", "workload", "optimizer", "axis", "target", "target_source", "runs", "reached", "median", "low", "high",
    "coverage", "budget", "reference", "ratio", "ratio_low", "ratio_high", "comparable",
)  # fmt: skip
RATIOS = ("workload", "axis", "a", "b", "ratio", "low", "high", "comparable")
REFERENCE = "sgd"


def target(contest: Contest) -> tuple[float, str]:
    """The value of the metric, on validation data, that counts as reached, and where it comes from.

    The campaign's own (``[targets]``, by workload), else the best of the medians of the optimizers' confirmation runs;
    NaN without runs.
    """
    own = contest.studies[0].campaign.get("targets") or {}
    if contest.workload in own:
        return float(own[contest.workload]), "campaign"
    medians = [
        (contest.sign * float(np.median(values)), study.optimizer)
        for study in contest.confirmed()
        if len(values := contest.values(study, "validation"))
    ]
    if not medians:
        return math.nan, "none"
    best, optimizer = max(medians, key=lambda pair: pair[0])
    return contest.sign * best, f"median of {optimizer}"


def times(contest: Contest, goal: float) -> dict[str, dict[str, Floats]]:
    """By axis and optimizer: what each confirmation run had spent when it first reached ``goal``; ``inf``: never."""
    reached = contest.curves[contest.sign * contest.curves["value"] >= contest.sign * goal]
    first = reached.drop_duplicates(["study", "number"])  # the curves are in the order of the epochs
    complete = contest.runs[contest.runs["outcome"] == "complete"]
    both = contest.runs[["study", "number"]].merge(
        first.merge(complete[["study", "number"]], on=["study", "number"]), how="left", on=["study", "number"]
    )
    return {
        axis: {
            study.optimizer: both.loc[both["study"] == study.name, column].fillna(np.inf).to_numpy(np.float64)
            for study in contest.confirmed()
        }
        for axis, column in AXES.items()
    }


def comparable(contest: Contest, studies: Sequence[Study]) -> bool:
    """Whether seconds of these studies' runs compare: all alone on a device, and all devices of one kind."""
    runs = contest.runs[contest.runs["study"].isin([study.name for study in studies])]
    return bool(runs["exclusive"].fillna(False).all()) and len(set(runs["device"].dropna())) == 1


def time_to_target(contests: Sequence[Contest], rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Times to target of every confirmed study, and their ratios.

    Args:
        contests: of a campaign.
        rng: draws the runs for the ratios.

    Returns:
        Two frames. Times, a row a study and axis: ``study``, ``workload``, ``optimizer``, ``axis`` (epochs,
        gradient_evaluations, seconds), ``target``, ``target_source`` (campaign, or whose median it is), ``runs``,
        ``reached`` (how many runs reached it; the others are censored at their budget), ``median`` (``inf``: fewer than
        half did), ``low``, ``high``, ``coverage`` (interval between order statistics, and what it covers), ``budget``
        (the most that a complete run spent), ``reference`` (sgd, or the first optimizer where it is missing),
        ``ratio``, ``ratio_low``, ``ratio_high`` (median over that of the reference; NaN where both are infinite),
        ``comparable`` (False for seconds of runs that shared a device, or whose devices differ or are not known).
        Ratios, a row a pair and axis: ``workload``, ``axis``, ``a``, ``b``, ``ratio`` (of a to b), ``low``, ``high``,
        ``comparable``.
    """
    rows: list[tuple[object, ...]] = []
    ratios: list[tuple[object, ...]] = []
    for contest, child in zip(contests, rng.spawn(len(contests)), strict=True):
        studies = contest.confirmed()
        if not studies:
            continue
        goal, source = target(contest)
        reference = next((s for s in studies if s.optimizer == REFERENCE), studies[0])
        for axis, by_optimizer in times(contest, goal).items():
            medians = {name: _median_draws(values, child) for name, values in by_optimizer.items()}
            for study in studies:
                values = by_optimizer[study.optimizer]
                found = median(values)
                fair = axis != "seconds" or comparable(contest, [study, reference])
                ratio = (1.0, 1.0, 1.0) if study is reference else _ratio(by_optimizer, medians, study, reference)
                finite = int(np.isfinite(values).sum())
                rows.append(
                    (study.name, contest.workload, study.optimizer, axis, goal, source, len(values), finite, *found,
                     _budget(contest, study, AXES[axis]), reference.optimizer, *ratio, fair)
                )  # fmt: skip
            for a, b in itertools.combinations(studies, 2):
                fair = axis != "seconds" or comparable(contest, [a, b])
                ratio = _ratio(by_optimizer, medians, a, b)
                ratios.append((contest.workload, axis, a.optimizer, b.optimizer, *ratio, fair))
    return pd.DataFrame(rows, columns=list(COLUMNS)), pd.DataFrame(ratios, columns=list(RATIOS))


def lower_medians(draws: Floats) -> Floats:
    """Kaplan-Meier medians of draws (…, n): shape (…)."""
    place = (draws.shape[-1] + 1) // 2 - 1
    return np.asarray(np.partition(draws, place, axis=-1)[..., place])


def resample(values: Floats, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Runs (n,) drawn with replacement: shape (draws, n)."""
    return values[rng.integers(len(values), size=(draws, len(values)))]


def quotient(a: Floats, b: Floats) -> Floats:
    """``a / b`` of times that may be infinite; NaN where both are, and where both are zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.divide(a, b))


def _median_draws(values: Floats, rng: np.random.Generator) -> Floats:
    return lower_medians(resample(values, rng))


def _ratio(by_optimizer: dict[str, Floats], draws: dict[str, Floats], a: Study, b: Study) -> tuple[float, float, float]:
    one, two = by_optimizer[a.optimizer], by_optimizer[b.optimizer]
    estimate = float(quotient(lower_medians(one), lower_medians(two)))
    if min(len(one), len(two)) < 2:
        return estimate, *UNKNOWN
    drawn = quotient(draws[a.optimizer], draws[b.optimizer])
    low, _ = percentiles(np.where(np.isnan(drawn), 0.0, drawn))
    _, high = percentiles(np.where(np.isnan(drawn), np.inf, drawn))
    return estimate, float(low), float(high)


def _budget(contest: Contest, study: Study, column: str) -> float:
    own = contest.curves[contest.curves["study"] == study.name]
    return float(own[column].max()) if len(own) else math.nan
