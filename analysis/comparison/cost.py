"""What an epoch, a gradient evaluation and a step of each optimizer cost, relative to SGD, from the confirmation runs.

An optimizer's winner has a batch size of its own, so its epochs have a number of steps of their own: costs of epochs,
of evaluations and of steps are three different questions. The number of examples is not in the database, but a step of
SGD is one gradient evaluation, and its last batch may be smaller: that leaves as many candidates as its batch has
examples. Of these the middle one is taken among those at which most optimizers spend a whole number of evaluations a
step. Without SGD in the campaign steps cannot be counted, and nothing is relative to anything.

What a winner's batch size bought is told against the default's: at equal epochs half the batch makes twice the steps.
What that takes is told from the search, whose complete trials had many batch sizes: the slope of the logarithm of their
seconds an epoch over that of their batch size (Siegel's repeated medians, which slow trials do not move).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison.time_to_target import REFERENCE, comparable
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import UNKNOWN, Floats, difference, mean
from analysis.metric_scale import factor
from analysis.study import Study
from analysis.winners import winner

_WHOLE = 1e-6
_FEWEST = 5  # complete trials that tell how seconds depend on the batch size
_ALIKE = 1.05  # batch sizes of which the larger is at most so much of the smaller, of which nothing is said
COLUMNS = (
    "study", "workload", "optimizer", "runs", "batch_size", "seconds_per_epoch", "seconds_per_epoch_low",
    "seconds_per_epoch_high", "gradient_evaluations_per_epoch", "seconds_per_gradient_evaluation", "steps_per_epoch",
    "gradient_evaluations_per_step", "seconds_per_step", "reference", "epoch_ratio", "epoch_ratio_low",
    "epoch_ratio_high", "evaluation_ratio", "evaluation_ratio_low", "evaluation_ratio_high", "step_ratio",
    "step_ratio_low", "step_ratio_high", "comparable", "default_batch_size", "batch_steps_ratio", "batch_seconds_ratio",
)  # fmt: skip


def cost(contests: Sequence[WorkloadRuns]) -> pd.DataFrame:
    """Return costs of every confirmed study.

    A run's seconds of an epoch are the median over its epochs, so that the first one, which warms up, does not count;
    its gradient evaluations are the mean. Epochs after a run has converged count for neither, see `per_epoch`.

    Returns:
        Columns: ``study``, ``workload``, ``optimizer``, ``runs`` (that trained an epoch), ``batch_size`` (of the
        winner; NaN where not known), ``seconds_per_epoch`` with ``…_low``, ``…_high`` (mean over runs, t interval),
        ``gradient_evaluations_per_epoch`` (mean over runs), ``seconds_per_gradient_evaluation``, ``steps_per_epoch``
        (inferred, see above), ``gradient_evaluations_per_step``, ``seconds_per_step``, ``reference``, and the ratios
        to the reference with ``…_low``, ``…_high`` (Welch's t interval of the difference of mean logarithms over runs;
        so they are ratios of geometric means): ``epoch_ratio``, ``evaluation_ratio``, ``step_ratio`` (in seconds);
        ``comparable`` (False where runs shared a device, or devices differ or are not known);
        ``default_batch_size``, and what an epoch has of steps and seconds with the winner's batch size relative to it:
        ``batch_steps_ratio``, ``batch_seconds_ratio`` (of the study's complete trials, see above; NaN where fewer than
        ``_FEWEST`` tell).
    """
    rows = [row for contest in contests for row in _rows(contest.first_searches())]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(contest: WorkloadRuns) -> list[tuple[object, ...]]:
    costs = per_epoch(contest)
    batches = {study.name: _batch_size(study, contest) for study in contest.studies}
    reference = next((study for study in contest.confirmed() if study.optimizer == REFERENCE), None)
    steps_of = dict.fromkeys(batches, math.nan)
    if reference is not None:
        steps_of = _steps({name: _mean(own) for name, (_, own) in costs.items()}, batches, reference.name)
    rows: list[tuple[object, ...]] = []
    for study in contest.confirmed():
        own, count = costs[study.name]
        steps = steps_of[study.name]
        per_evaluation, per_step = own / count, own / steps
        ratios: list[float] = [math.nan] * 9
        if reference is not None:
            other, other_count = costs[reference.name]
            other_steps = steps_of[reference.name]
            pairs = ((own, other), (per_evaluation, other / other_count), (per_step, other / other_steps))
            ratios = [number for one, two in pairs for number in ratio(one, two, same=study is reference)]
        rows.append(
            (
                study.name, contest.workload, study.optimizer, len(own), batches[study.name], *mean(own), _mean(count),
                _mean(per_evaluation), steps, _mean(count) / steps, _mean(per_step),
                None if reference is None else reference.optimizer, *ratios,
                reference is not None and comparable(contest, [study, reference]),
                *_batch_ratios(contest, study, batches[study.name]),
            )
        )  # fmt: skip
    return rows


def _steps(evaluations: Mapping[str, float], batches: Mapping[str, float], reference: str) -> dict[str, float]:
    """Return steps of an epoch by study, from gradient evaluations of an epoch and batch sizes; NaN where not known."""
    own, batch = evaluations[reference], batches[reference]
    if not (math.isfinite(own) and math.isfinite(batch)):
        return dict.fromkeys(batches, math.nan)
    examples = np.arange(round((own - 1) * batch) + 1, round(own * batch) + 1)
    steps = {name: np.ceil(examples / size) for name, size in batches.items()}  # NaN where the batch is not known
    per_step = np.array([evaluations[name] / steps[name] for name in batches])
    whole = (np.abs(per_step - np.round(per_step)) < _WHOLE).sum(axis=0)
    best = np.flatnonzero(whole == whole.max())
    chosen = best[len(best) // 2]
    return {name: float(found[chosen]) for name, found in steps.items()}


def per_epoch(contest: WorkloadRuns) -> dict[str, tuple[Floats, Floats]]:
    """Return by study: seconds and evaluations of an epoch, two arrays (runs,), over the epochs in which a run works.

    Seconds are the median over these epochs, evaluations their mean. L-BFGS that has converged spends one evaluation a
    step and does nothing more: a run works until the last epoch that takes more evaluations than its least does.
    Runs that trained no epoch, or of which one of the two is not known, are in neither; evaluations that no run counts
    are NaN. The last epoch of a run that is
    not complete may be a part of one, and does not count.
    """
    found = {}
    whole = set(contest.runs.loc[contest.runs["outcome"] == "complete", ["study", "number"]].itertuples(index=False))
    known = ["seconds", *(["gradient_evaluations"] if contest.counts_evaluations else [])]
    for study in contest.studies:
        own = contest.curves[contest.curves["study"] == study.name]
        complete = own["number"].isin([number for name, number in whole if name == study.name])
        own = own[complete | own["number"].eq(own["number"].shift(-1))]
        columns = own[["epoch", "seconds", "gradient_evaluations"]]
        follows = own["number"].eq(own["number"].shift())
        steps = columns.diff().where(follows, columns)
        working = _working(steps.div(steps["epoch"], axis=0), own["number"]).groupby("number")
        each = working[["seconds", "gradient_evaluations"]].agg({"seconds": "median", "gradient_evaluations": "mean"})
        each = each[(each[known] > 0).all(axis=1)]
        found[study.name] = (each["seconds"].to_numpy(np.float64), each["gradient_evaluations"].to_numpy(np.float64))
    return found


def _working(epochs: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """Return the epochs until a run has converged.

    Args:
        epochs: Columns ``seconds``, ``gradient_evaluations`` of each epoch; the order is that of the epochs.
        numbers: Of the runs, a row each.

    Returns:
        The rows of ``epochs`` that are kept, with the column ``number``.
    """
    frame = epochs.assign(number=numbers)
    least = frame.groupby("number")["gradient_evaluations"].transform("min")
    more = frame["gradient_evaluations"] > least * (1 + _WHOLE)
    follows = more[::-1].groupby(frame["number"][::-1]).cummax()[::-1]  # such an epoch is here, or comes later
    kept: pd.DataFrame = frame[follows | ~more.groupby(frame["number"]).transform("any")]
    return kept


def ratio(a: Floats, b: Floats, *, same: bool = False) -> tuple[float, float, float]:
    """Return the geometric mean of a (n,) over that of b (m,), with a t interval on the logarithms."""
    if same:
        return 1.0, 1.0, 1.0
    if not (len(a) and len(b) and np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan, *UNKNOWN
    found = difference(np.log(a), np.log(b), 0.0)
    low, high = found.interval()
    return factor(found.estimate), factor(low), factor(high)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan


def _batch_size(study: Study, contest: WorkloadRuns) -> float:
    best = winner(study, contest.trials)
    size = None if best is None else best["params"].get("batch_size")
    if size is None:  # fixed: not among the searched ones
        size = study.fixed.get("batch_size")
    return float(size) if isinstance(size, int | float | np.number) else math.nan


def _batch_ratios(contest: WorkloadRuns, study: Study, size: float) -> tuple[float, float, float]:
    """Return the default batch size, and steps and seconds of an epoch with ``size`` relative to it; NaN: not known."""
    searched = study.parameters.get("batch_size")
    default = study.fixed.get("batch_size") if searched is None else searched.default
    if not isinstance(default, int | float) or not math.isfinite(size):
        return math.nan, math.nan, math.nan
    trials = contest.trials
    complete = trials[(trials["study"] == study.name) & (trials["outcome"] == "complete") & (trials["seconds"] > 0)]
    sizes = np.array([float(params.get("batch_size", math.nan)) for params in complete["params"]])
    known = np.isfinite(sizes)
    seconds = 1.0 if size == default else math.nan
    if size != default and known.sum() >= _FEWEST and len(set(sizes[known])) > 1:
        slope = stats.siegelslopes(np.log(complete["seconds"].to_numpy(np.float64)[known]), np.log(sizes[known]))[0]
        seconds = float((size / default) ** slope)
    return float(default), default / size, seconds


def batch_sentences(table: pd.DataFrame) -> list[str]:
    """Return what winners' batch sizes bought, a sentence for each that is not the default.

    Args:
        table: See `cost`.
    """
    told = []
    for row in table.to_dict("records"):
        steps, seconds = row["batch_steps_ratio"], row["batch_seconds_ratio"]
        if math.isfinite(steps) and max(steps, 1 / steps) > _ALIKE:
            took = f", in {seconds:.2g} times the seconds" if math.isfinite(seconds) else ""
            told.append(
                f"The winner of {row['optimizer']} on {row['workload']} has batches of {row['batch_size']:g}, not of "
                f"{row['default_batch_size']:g} as by default: {steps:.2g} times the steps an epoch{took}."
            )
    return told
