"""A value for every trial that says something about its configuration, the stopped and diverged ones included.

Methods:
``"rank"`` (default): each two trials are compared at the highest epoch that both reached, diverged ones lose against
all others. The share of comparisons a trial wins is its score. A complete trial keeps its value; a pruned one gets the
value that complete trials have at its score (interpolated, never better than the best nor worse than the worst of
them).

``"highest-common-epoch"``: every trial is taken at the highest epoch that all trials that did not diverge reached, the
complete ones too. Nothing is imputed, but a short epoch tells little of the end.

Trials that did not work count in both as the worst of the others, and as at least a fifth of the loss unit worse than
the best, so that no stretch that is called near the best is full of them: those that diverged or are infeasible, those
whose value is infinite on the bad side, and those that have a penalty for one. A penalty is a value that several trials
share, and that lies beyond the fence of all better ones; how many trials have it does not matter. The fence is beyond
the third quartile by ten times the interquartile range. Single values beyond it, of less than a quarter of the trials,
are moved to it: a loss of 1e30 must not be all the variance. An infinite value on the good side counts as the best of
the others. Trials that are running, failed or lost say nothing of their configuration and are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["rank", "highest-common-epoch"]
FENCE = 10.0
LOSSES = (1.0, 5.0, 10.0)  # percent of the loss unit that a report tells of
MINIMUM_COMPLETE = 5
_LAST_DIGITS = 64  # times the distance to the next number
_CLUSTER = 3  # values that lie close together not by chance
_FAR = 100.0  # times what the better values span: values so much farther away are of another kind
FAILED = ("diverged", "infeasible", "infinite", "penalty")
_KINDS = ("complete", "pruned", *FAILED)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Values of the trials that are used.

    Attributes:
        trials: The rows used, sorted by number.
        goodness: Shape (n,): the metric, its sign turned where it is minimized, so that more is better.
        sign: +1 for maximize, -1 for minimize; metric = sign · goodness.
        moved: How many values were moved to the fence.
        sentence: What was done, for a reader.
        failed: Shape (n,): which trials did not work, and only count as bad.
        causes: Why those did not: some of ``FAILED``, in that order.
        ordinary: Shape (n,): which values are neither theirs, nor moved, nor infinite.
        remarks: What is unusual about the values, in sentences.
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

    @property
    def best(self) -> int | None:
        """The row of the best complete trial, as Optuna means it, by the values compared; ``None`` without one."""
        complete = np.flatnonzero((self.trials["outcome"] == "complete").to_numpy() & ~self.failed)
        if not len(complete):
            return None
        raw = self.sign * self.trials["value"].to_numpy(np.float64)
        return int(complete[np.where(raw == np.inf, np.inf, self.goodness)[complete].argmax()])


def outcomes(trials: pd.DataFrame, curves: pd.DataFrame, *, direction: str, method: Method = "rank") -> Outcomes:
    """Give every trial of one study a value.

    Args:
        trials: Columns ``number``, ``outcome``, ``value``, ``params``.
        curves: Columns ``number``, ``epoch``, ``value``; may be empty.
        direction: ``"maximize"`` or ``"minimize"``.
        method: See the module's text.

    Raises:
        ValueError: Unknown direction or method.
    """
    if direction not in ("maximize", "minimize"):
        raise ValueError(f"direction must be 'maximize' or 'minimize', not {direction!r}")
    if method not in ("rank", "highest-common-epoch"):
        raise ValueError(f"method must be 'rank' or 'highest-common-epoch', not {method!r}")
    sign = 1.0 if direction == "maximize" else -1.0
    value = trials["value"].astype(float)
    complete = (trials["outcome"] == "complete") & ~np.isnan(value)
    stopped = trials["outcome"].isin(["pruned", "diverged", "infeasible"])
    used = trials[complete | stopped].sort_values("number", kind="stable").reset_index(drop=True)
    outcome = used["outcome"].to_numpy()
    final = np.where(outcome == "complete", sign * used["value"].astype(float).to_numpy(), np.nan)
    kinds = np.where(final == -np.inf, "infinite", outcome.astype(object))
    penalties = _penalties(final[np.isfinite(final)])
    kinds[np.isfinite(final) & (final <= max(penalties, default=-math.inf))] = "penalty"
    failed = np.isin(kinds, FAILED)
    perfect = final == np.inf
    final[failed] = np.nan
    history = curves[curves["number"].isin(used["number"]) & ~np.isnan(curves["value"].astype(float))]
    lost = np.where(failed, "diverged", kinds)
    if method == "rank":
        goodness, how = _by_rank(used, lost, final, history, sign)
    else:
        goodness, how = _at_common_epoch(used, lost, final, history, sign)
    moved, goodness = _moved(goodness)
    # a curve may be infinite too where trials are compared
    best, worst = perfect | (goodness == np.inf), failed | (goodness == -np.inf)
    measured = np.isfinite(goodness) & ~best & ~worst
    ordinary = measured & ~moved
    if ordinary.any():
        goodness[best] = goodness[measured].max()
        goodness[worst] = _of_failed(goodness[measured], goodness[ordinary])
    counts = {kind: int((kinds == kind).sum()) for kind in _KINDS}
    known = np.isfinite(goodness)
    left = len(trials) - int(known.sum())
    pruned = counts["pruned"] > 0
    return Outcomes(
        used[known].reset_index(drop=True),
        goodness[known],
        sign,
        int(moved.sum()),
        _sentence(Counter(kinds[known]), int(moved.sum()), left, how if pruned or method != "rank" else ""),
        failed[known],
        tuple(kind for kind in FAILED if counts[kind]),
        ordinary[known],
        tuple(_remarks(counts, int(perfect.sum()), goodness[ordinary], sign, penalties)),
    )


def _of_failed(measured: Floats, ordinary: Floats) -> float:
    """Return what a trial counts that did not work."""
    worst = float(measured.min())
    level = float(ordinary.max()) - 2 * max(LOSSES) / 100 * loss_unit(ordinary)[0]
    return min(worst, level) if math.isfinite(level) else worst


def _sentence(counts: Mapping[str, int], moved: int, left: int, how: str) -> str:
    """Return what was done, for a reader."""
    complete = counts["complete"] + counts["infinite"] + counts["penalty"]
    infeasible = f", {counts['infeasible']} infeasible" if counts["infeasible"] else ""
    listed = f"{complete} complete, {counts['pruned']} pruned{infeasible} and {counts['diverged']} diverged"
    parts = [f"{listed} trial is used" if sum(counts.values()) == 1 else f"{listed} trials are used"]
    if how:
        parts.append(how)
    if counts["diverged"]:
        parts.append("a diverged trial counts as the worst of the others")
    if left:
        others = (
            "1 other (failed, lost, running or without a value) is"
            if left == 1
            else (f"{left} others (failed, lost, running or without a value) are")
        )
        parts.append(f"{others} left out")
    if moved:
        parts.append(f"{moved} extremely bad value(s) moved to the fence")
    return "; ".join(parts) + "."


def _remarks(
    counts: Mapping[str, int], perfect: int, values: Floats, sign: float, penalties: Sequence[float]
) -> Iterator[str]:
    """Return what is unusual about the values; ``values`` are the ordinary ones."""
    valued = ", and counted as the worst of the others" if len(values) else ""
    if number := counts["infeasible"]:
        yield (
            f"{number} {_trials(number)} infeasible (a constraint is above 0 or NaN; without constraints a trial is "
            f"feasible, as in Optuna): never the best{valued}."
        )
    if number := counts["infinite"]:
        yield f"{number} complete {_trials(number)} infinitely bad ({-sign * math.inf:g}){valued}."
    if perfect:
        yield (
            f"{perfect} complete {_trials(perfect)} infinitely good ({sign * math.inf:g}), and the best to Optuna and "
            "here; no scale holds such a value, so that for the sensitivity it is that of the best of the others."
        )
    if number := counts["penalty"]:
        shared = " or ".join(f"{sign * penalty:.3g}" for penalty in reversed(penalties))
        yield (
            f"{number} complete trials are far worse than all others, and several have the same value ({shared}), as a "
            "penalty or a model that learns nothing gives. They count as the worst of the others."
        )
    ordered = np.sort(values)[::-1]
    with np.errstate(over="ignore"):  # then it is far
        spans, gaps = ordered[:1] - ordered[:-1], ordered[:-1] - ordered[1:]
    far = 1 + np.flatnonzero((spans > 0) & (gaps / _FAR > spans))
    if len(far := far[far >= _CLUSTER]):
        good = int(far[0])
        yield (
            f"The values are of two kinds far apart: {good} between {sign * ordered[0]:.3g} and "
            f"{sign * ordered[good - 1]:.3g}, {len(ordered) - good} at {sign * ordered[good]:.3g} and worse. What is "
            "said here is of which kind a configuration is; differences among the good ones cannot be told beside that."
        )


def _trials(number: int) -> str:
    return "trial is" if number == 1 else "trials are"


def _penalties(goodness: Floats) -> list[float]:
    """Return the values that several trials share and that lie beyond the fence of all better ones, worst first.

    Args:
        goodness: Finite, shape (n,).
    """
    ordered = np.sort(goodness)
    values, counts = np.unique(ordered, return_counts=True)
    found = []
    for value in values[counts > 1]:
        better = ordered[np.searchsorted(ordered, value, "right") :]
        if len(better) < MINIMUM_COMPLETE or not value < _fence(better):
            break
        found.append(float(value))
    return found


def _moved(goodness: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Return which values lie beyond the fence, and all values with those moved to it; what is not finite stays."""
    finite = goodness[np.isfinite(goodness)]
    fence = _fence(finite) if len(finite) else -math.inf
    beyond = np.isfinite(goodness) & (goodness < fence)
    return beyond, np.where(beyond, fence, goodness)


def _fence(goodness: Floats) -> float:
    """Return the goodness below which values are extremely bad.

    It is -inf where the half between the quartiles has no width, or one that no number holds.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (float(end) for end in np.quantile(goodness, [0.25, 0.75]))
    limit = low - FENCE * (high - low)
    return limit if high > low and math.isfinite(limit) else -math.inf


def loss_unit(goodness: Floats) -> tuple[float, str]:
    """Return what 100 % of loss is, and its name: the size of the best value, where that means something.

    It does not where values have both signs, nor for a loss whose best is nearly 0: 5 % of that is less than anything a
    surrogate resolves. Where the best is closer to 0 than to the median, the distance between the best and the median
    takes its place (or that to the worst, where half of all are the best).

    Args:
        goodness: Of ordinary trials: penalties would decide the median where they are the most.
    """
    with np.errstate(over="ignore"):
        best, middle, worst = float(goodness.max()), float(np.median(goodness)), float(goodness.min())
    if (worst >= 0 or best <= 0) and abs(best) > best - middle:
        return abs(best), "of the best value"
    if middle < best:
        return best - middle, "of the distance between the best and the median value"
    return best - worst, "of the distance between the best and the worst value"


def span(goodness: Floats) -> float:
    """Distance from the best to the worst value; infinite where no number holds it."""
    return float(goodness.max()) - float(goodness.min())


def constant(goodness: Floats) -> bool:
    """Return whether values are all the same, but for what adding in another order makes of the last digits."""
    return bool(span(goodness) <= _LAST_DIGITS * np.spacing(np.abs(goodness).max()))


def _by_rank(
    used: pd.DataFrame, kinds: NDArray[np.object_], final: Floats, history: pd.DataFrame, sign: float
) -> tuple[Floats, str]:
    how = "a pruned trial gets the value of complete trials that win as many comparisons at the highest common epoch"
    complete, pruned = (kinds == "complete") & np.isfinite(final), kinds == "pruned"
    if not pruned.any() or not complete.any():
        return final.copy(), how
    score = scores(used["number"].to_numpy(), kinds, final, history, sign)
    # Ties in score share a value, and scores of complete trials need not follow their final values exactly.
    order = np.sort(score[complete]), np.sort(final[complete])
    goodness = final.copy()
    goodness[pruned] = np.interp(score[pruned], *order)
    return goodness, how


def scores(
    numbers: NDArray[np.int64], kinds: NDArray[np.object_], final: Floats, history: pd.DataFrame, sign: float
) -> Floats:
    """Return the share of pairwise comparisons won (a tie is half), each at the highest epoch that both trials reached.

    Args:
        numbers: Of the trials, shape (n,).
        kinds: Outcomes, shape (n,).
        final: Goodness of complete trials, NaN for others, shape (n,).
        history: Columns ``number``, ``epoch``, ``value`` (no NaN, perhaps infinite).
        sign: +1 when the metric is maximized.

    Returns:
        Shape (n,), in [0, 1]. Diverged trials lose against all others and tie with each other; so do pruned trials
        without history, one step above.
    """
    table = sign * history.pivot_table(index="number", columns="epoch", values="value").reindex(numbers).astype(float)
    table = table.sort_index(axis=1).ffill(axis=1).where(table.notna().iloc[:, ::-1].cummax(axis=1).iloc[:, ::-1])
    values = np.column_stack([table.to_numpy(), final])  # the end of the budget is one more epoch
    last = np.where(~np.isnan(values), np.arange(values.shape[1]), -1).max(axis=1)
    last[kinds == "diverged"] = -2
    wins = np.zeros(len(numbers))
    for epoch in np.unique(last):
        here, later = last == epoch, last > epoch
        wins[here] += 0.5 * (here.sum() - 1) if epoch < 0 else 0.0
        if epoch < 0:
            wins[later] += here.sum()
            continue
        at = values[:, epoch].copy()
        at[np.isnan(at)] = -np.inf  # a gap before the first report of a later survivor
        for group, others in ((here, here), (here, later), (later, here)):
            ordered = np.sort(at[others])
            below = np.searchsorted(ordered, at[group], "left")
            upto = np.searchsorted(ordered, at[group], "right")
            wins[group] += 0.5 * (below + upto) - (0.5 if group is others else 0.0)
    return wins / max(len(numbers) - 1, 1)


def _at_common_epoch(
    used: pd.DataFrame, kinds: NDArray[np.object_], final: Floats, history: pd.DataFrame, sign: float
) -> tuple[Floats, str]:
    alive = used["number"][kinds != "diverged"]
    last = history[history["number"].isin(alive)].groupby("number")["epoch"].max()
    if not (kinds == "pruned").any() and len(last) < len(alive):
        return final.copy(), "trials are compared by their final values, since not all have a curve"
    if not len(last):
        return final.copy(), "trials are compared by their final values, since there are no curves"
    epoch = last.min()
    reached = history[history["epoch"] <= epoch].sort_values("epoch").groupby("number")["value"].last()
    goodness = sign * reached.reindex(used["number"]).to_numpy(dtype=float)
    goodness[kinds == "diverged"] = np.nan
    return goodness, f"all trials are compared at epoch {int(epoch)}, the highest that all of them reached"
