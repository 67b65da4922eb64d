"""A value for every trial that says something about its configuration, the stopped and diverged ones included.

Methods:
``"median-gain"`` (default): a complete trial keeps its value. A pruned one gets its value when it was stopped, plus the
median of what the complete trials gained from that epoch on; never more than the best complete trial has. A run that
was stopped at chance stays there but for that gain: it is not lifted to the worst run that was let to the end.

``"highest-common-epoch"``: every trial is taken at the highest epoch that all trials that did not diverge reached, the
complete ones too. Nothing is imputed, but a short epoch tells little of the end.

Values are compared on the metric's scale (`analysis.metric_scale`), their logarithms where that is one.

Trials that did not work are the worst there is in both: they count as the worst of the others, and as no better than
the start of training. That are those that diverged or are infeasible, those whose value is infinite on the bad side,
those that have a penalty for one, and those that are of another order of magnitude, a loss of 1e30, which must not be
all the variance: more than a hundred times as far below the best as training moved (as all better values span, where
there are no curves). A penalty is a value so far away that several trials share. Everything less is left as it is: a
collapse to chance is a collapse. An infinite value on the good side counts as the best of the others. Trials that are
running, failed or lost say nothing of their configuration and are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metric_scale import Scale, floor_of, on_scale
from analysis.sensitivity._remarks import FAR, remarks, sentence

Floats = NDArray[np.float64]
Method = Literal["median-gain", "highest-common-epoch"]
METHODS: tuple[Method, ...] = ("median-gain", "highest-common-epoch")
LOSSES = (1.0, 5.0, 10.0)  # percent of the loss unit that a report tells of
MINIMUM_COMPLETE = 5
_MOSTLY = 0.75  # of the values: where more are far away, the good ones are the exception
_LAST_DIGITS = 64  # times the distance to the next number
FAILED = ("diverged", "infeasible", "infinite", "penalty")
_KINDS = ("complete", "pruned", *FAILED)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Values of the trials that are used.

    Attributes:
        trials: The rows used, sorted by number.
        goodness: Shape (n,): the metric on its scale, its sign turned where it is minimized, so that more is better.
        sign: +1 for maximize, -1 for minimize.
        moved: How many values are so bad that they count as the worst of the others.
        sentence: What was done, for a reader.
        failed: Shape (n,): which trials did not work, and only count as bad.
        causes: Why those did not: some of ``FAILED``, in that order.
        ordinary: Shape (n,): which values are neither theirs, nor moved, nor infinite.
        remarks: What is unusual about the values, in sentences.
        scale: On which the metric is compared.
        start: Goodness that training starts from: the median after the first epoch; -inf where there are no curves.
        imputed: Shape (n,): how much of each value was not measured but gained, on the scale of goodness; or ``None``.
    """

    trials: pd.DataFrame
    goodness: Floats
    sign: float
    moved: int
    sentence: str
    failed: NDArray[np.bool_]
    causes: tuple[str, ...]
    ordinary: NDArray[np.bool_]
    remarks: tuple[str, ...]
    scale: Scale = "linear"
    start: float = -math.inf
    imputed: Floats | None = None

    @property
    def best(self) -> int | None:
        """The row of the best complete trial, as Optuna means it, by the values compared; ``None`` without one."""
        complete = np.flatnonzero((self.trials["outcome"] == "complete").to_numpy() & ~self.failed)
        if not len(complete):
            return None
        raw = self.sign * self.trials["value"].to_numpy(np.float64)
        return int(complete[np.where(raw == np.inf, np.inf, self.goodness)[complete].argmax()])

    @property
    def loss_unit(self) -> tuple[float, str]:
        """What 100 % of loss is, in goodness, and its name, see `loss_unit`."""
        return loss_unit(self.goodness[self.ordinary], self.start)

    def metric(self, goodness: Floats) -> Floats:
        """Return values in units of the metric from goodness, any shape."""
        return in_metric(goodness, self.sign, self.scale)


def in_metric(goodness: Floats, sign: float, scale: Scale) -> Floats:
    """Return values in units of the metric.

    Args:
        goodness: Any shape.
        sign: +1 when the metric is maximized, -1 when minimized.
        scale: Of the metric.
    """
    values = sign * np.asarray(goodness, dtype=np.float64)
    if scale == "linear":
        return values
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(values))


def outcomes(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    direction: str,
    method: Method = "median-gain",
    scale: Scale = "linear",
) -> Outcomes:
    """Give every trial of one study a value.

    Args:
        trials: Columns ``number``, ``outcome``, ``value``, ``params``.
        curves: Columns ``number``, ``epoch``, ``value``; may be empty.
        direction: ``"maximize"`` or ``"minimize"``.
        method: See the module's text.
        scale: On which the metric is compared.

    Raises:
        ValueError: Unknown direction or method.
    """
    if direction not in ("maximize", "minimize"):
        raise ValueError(f"direction must be 'maximize' or 'minimize', not {direction!r}")
    if method not in METHODS:
        raise ValueError(f"method must be {' or '.join(map(repr, METHODS))}, not {method!r}")
    sign = 1.0 if direction == "maximize" else -1.0
    value = trials["value"].astype(float)
    complete = (trials["outcome"] == "complete") & ~np.isnan(value)
    stopped = trials["outcome"].isin(["pruned", "diverged", "infeasible"])
    used = trials[complete | stopped].sort_values("number", kind="stable").reset_index(drop=True)
    history = curves[curves["number"].isin(used["number"]) & ~np.isnan(curves["value"].astype(float))]
    told = used["value"].to_numpy(np.float64)
    floor = floor_of(np.concatenate([told, history["value"].to_numpy(np.float64)]))
    told = sign * on_scale(told, scale, floor)
    history = history.assign(value=sign * on_scale(history["value"].to_numpy(np.float64), scale, floor))
    outcome = used["outcome"].to_numpy()
    final = np.where(outcome == "complete", told, np.nan)
    kinds = np.where(final == -np.inf, "infinite", outcome.astype(object))
    start = _start(history, used["number"][~np.isin(outcome, ["diverged", "infeasible"])])
    penalties = _penalties(final[np.isfinite(final)], start)
    kinds[np.isfinite(final) & (final <= max(penalties, default=-math.inf))] = "penalty"
    failed = np.isin(kinds, FAILED)
    perfect = final == np.inf
    final[failed] = np.nan
    lost = np.where(failed, "diverged", kinds)
    imputed = np.zeros(len(used))
    if method == "median-gain":
        before = np.where(kinds == "pruned", told, np.nan)
        goodness, imputed, how = _by_gain(used, lost, final, before, history, start)
    else:
        goodness, how = _at_common_epoch(used, lost, final, history)
    # a curve may be infinite too where trials are compared
    best, worst = perfect | (goodness == np.inf), failed | (goodness == -np.inf)
    measured = np.isfinite(goodness) & ~best & ~worst
    moved = measured & (goodness < _limit(goodness[measured], start)) if measured.any() else measured
    ordinary = measured & ~moved
    if ordinary.any():
        goodness[best] = goodness[ordinary].max()
        goodness[worst | moved | (np.isnan(goodness) & (kinds == "pruned"))] = _of_failed(goodness[ordinary], start)
    counts = {kind: int((kinds == kind).sum()) for kind in _KINDS}
    known = np.isfinite(goodness)
    left = len(trials) - int(known.sum())
    pruned = counts["pruned"] > 0
    spread = in_metric(goodness[ordinary], sign, scale)
    return Outcomes(
        used[known].reset_index(drop=True),
        goodness[known],
        sign,
        int(moved.sum()),
        sentence(Counter(kinds[known]), int(moved.sum()), left, how if pruned or method != METHODS[0] else ""),
        failed[known],
        tuple(kind for kind in FAILED if counts[kind]),
        ordinary[known],
        tuple(
            remarks(
                counts, int(perfect.sum()), sign * spread, sign, in_metric(np.array(penalties), sign, scale).tolist()
            )
        ),
        scale,
        start,
        np.where(ordinary, imputed, 0.0)[known],
    )


def _start(history: pd.DataFrame, numbers: pd.Series) -> float:
    """Return goodness after the first epoch, the median of trials ``numbers``; -inf where none has a curve.

    A first epoch that is of another order of magnitude is no start but an end.
    """
    first = history[history["number"].isin(numbers)].sort_values("epoch", kind="stable").groupby("number")["value"]
    values = first.first().to_numpy(np.float64)
    values = values[np.isfinite(values)]
    kept = values[values >= _limit(values, -math.inf)] if len(values) else values
    return float(np.median(kept)) if len(kept) else -math.inf


def _limit(goodness: Floats, start: float) -> float:
    """Return the goodness below which values are of another order of magnitude; -inf where none are.

    Args:
        goodness: Finite, shape (n,), not empty.
        start: Of training; -inf where it is not known.
    """
    ordered = np.sort(goodness)[::-1]
    with np.errstate(over="ignore"):  # then it is far
        if math.isfinite(start) and start < ordered[0]:
            return float(ordered[0] - FAR * (ordered[0] - start))
        spans, gaps = ordered[0] - ordered[:-1], ordered[:-1] - ordered[1:]
    far = 1 + np.flatnonzero((spans > 0) & (gaps / FAR > spans))
    far = far[far >= max(MINIMUM_COMPLETE, math.ceil(_MOSTLY * len(ordered)))]
    return float(ordered[far[0] - 1]) if len(far) else -math.inf


def _of_failed(ordinary: Floats, start: float) -> float:
    """Return what a trial counts that did not work."""
    level = float(ordinary.max()) - loss_unit(ordinary, start)[0]
    return min(float(ordinary.min()), level) if math.isfinite(level) else float(ordinary.min())


def _penalties(goodness: Floats, start: float) -> list[float]:
    """Return the values that several trials share and that are of another order of magnitude, worst first.

    Args:
        goodness: Finite, shape (n,).
        start: Of training; -inf where it is not known.
    """
    ordered = np.sort(goodness)
    values, counts = np.unique(ordered, return_counts=True)
    listed = []
    for value in values[counts > 1]:
        better = ordered[np.searchsorted(ordered, value, "right") :]
        if len(better) < MINIMUM_COMPLETE:
            break
        best = float(better[-1])
        with np.errstate(over="ignore"):
            reach = best - start if math.isfinite(start) and start < best else best - float(better[0])
            far = reach > 0 and (better[0] - value) / FAR > reach
        if not far:
            break
        listed.append(float(value))
    return listed


def loss_unit(goodness: Floats, start: float = -math.inf) -> tuple[float, str]:
    """Return what 100 % of loss is, and its name: the way from the start of training to the best.

    It does not change when the metric's sign, its zero or its unit does: an accuracy, an error rate and percent of
    either have the same. Where there are no curves, or training led nowhere, the distance between the best and the
    median value takes its place, or that to the worst, where half of all are the best.

    Args:
        goodness: Of ordinary trials: penalties would decide the median where they are the most.
        start: Goodness after the first epoch; -inf where it is not known.
    """
    with np.errstate(over="ignore"):
        best, middle, worst = float(goodness.max()), float(np.median(goodness)), float(goodness.min())
    if math.isfinite(start) and start < best:
        return best - start, "of the way from the start of training to the best"
    if middle < best:
        return best - middle, "of the distance between the best and the median value"
    return best - worst, "of the distance between the best and the worst value"


def span(goodness: Floats) -> float:
    """Distance from the best to the worst value; infinite where no number holds it."""
    return float(goodness.max()) - float(goodness.min())


def constant(goodness: Floats) -> bool:
    """Return whether values are all the same, but for what adding in another order makes of the last digits."""
    return bool(span(goodness) <= _LAST_DIGITS * np.spacing(np.abs(goodness).max()))


def _by_gain(
    used: pd.DataFrame,
    kinds: NDArray[np.object_],
    final: Floats,
    stopped: Floats,
    history: pd.DataFrame,
    start: float,
) -> tuple[Floats, Floats, str]:
    """Return goodness of complete and pruned trials (n,), how much of it is a gain that was not run, and in words.

    Args:
        used: Column ``number``, n rows.
        kinds: Outcomes, shape (n,).
        final: Goodness of complete trials, NaN for others, shape (n,).
        stopped: Goodness that pruned trials were stopped with, as far as that is stored, shape (n,).
        history: Columns ``number``, ``epoch``, ``value`` (goodness).
        start: Of training; -inf where it is not known.
    """
    how = (
        "a pruned trial gets its value when it was stopped and the median gain of the complete trials from then on, at "
        "most the best"
    )
    complete, pruned = (kinds == "complete") & np.isfinite(final), kinds == "pruned"
    goodness, added = final.copy(), np.zeros(len(final))
    if not pruned.any():
        return goodness, added, how
    table = history.pivot_table(index="number", columns="epoch", values="value").reindex(used["number"])
    values = table.sort_index(axis=1).ffill(axis=1).to_numpy(np.float64)
    last = history.groupby("number")["epoch"].max().reindex(used["number"]).to_numpy(np.float64)
    columns = np.sort(history["epoch"].unique())
    if complete.any():
        complete &= final >= _limit(final[complete], start)
    for row in np.flatnonzero(pruned):
        if np.isnan(last[row]):
            goodness[row] = stopped[row]
            continue
        column = int(np.searchsorted(columns, last[row]))
        gains = (final - values[:, column])[complete]
        gains = gains[np.isfinite(gains)]
        added[row] = max(0.0, float(np.median(gains))) if len(gains) else 0.0
        goodness[row] = values[row, column] + added[row]
    if complete.any():
        goodness[pruned] = np.minimum(goodness[pruned], final[complete].max())
    return goodness, added, how


def _at_common_epoch(
    used: pd.DataFrame, kinds: NDArray[np.object_], final: Floats, history: pd.DataFrame
) -> tuple[Floats, str]:
    alive = used["number"][kinds != "diverged"]
    last = history[history["number"].isin(alive)].groupby("number")["epoch"].max()
    if not (kinds == "pruned").any() and len(last) < len(alive):
        return final.copy(), "trials are compared by their final values, since not all have a curve"
    if not len(last):
        return final.copy(), "trials are compared by their final values, since there are no curves"
    epoch = last.min()
    reached = history[history["epoch"] <= epoch].sort_values("epoch").groupby("number")["value"].last()
    goodness = reached.reindex(used["number"]).to_numpy(dtype=float).copy()
    goodness[kinds == "diverged"] = np.nan
    return goodness, f"all trials are compared at epoch {int(epoch)}, the highest that all of them reached"
