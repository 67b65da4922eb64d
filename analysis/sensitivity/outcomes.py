"""A value for every trial that says something about its configuration, the stopped and diverged ones included.

Methods:
``"rank"`` (default): each two trials are compared at the highest epoch that both reached, diverged ones lose against
all others. The share of comparisons a trial wins is its score. A complete trial keeps its value; a pruned one gets the
value that complete trials have at its score (interpolated, never better than the best nor worse than the worst of
them).

``"highest-common-epoch"``: every trial is taken at the highest epoch that all trials that did not diverge reached, the
complete ones too. Nothing is imputed, but a short epoch tells little of the end.

In both a diverged trial gets the worst value of the others, and values far on the bad side (beyond the third quartile
by more than ten times the interquartile range) are moved to that fence: a loss of 1e30 must not be all the variance.
Trials that are running, failed or lost say nothing of their configuration and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["rank", "highest-common-epoch"]
FENCE = 10.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Values of the trials that are used.

    Attributes:
        trials: the rows used, sorted by number.
        goodness: shape (n,): the metric, its sign turned where it is minimized, so that more is better.
        sign: +1 for maximize, -1 for minimize; metric = sign · goodness.
        moved: how many values were moved to the fence.
        sentence: what was done, for a reader.
    """

    trials: pd.DataFrame
    goodness: Floats
    sign: float
    moved: int
    sentence: str


def outcomes(trials: pd.DataFrame, curves: pd.DataFrame, *, direction: str, method: Method = "rank") -> Outcomes:
    """Give every trial of one study a value.

    Args:
        trials: columns ``number``, ``outcome``, ``value``, ``params``.
        curves: columns ``number``, ``epoch``, ``value``; may be empty.
        direction: ``"maximize"`` or ``"minimize"``.
        method: see the module's text.

    Raises:
        ValueError: unknown direction or method.
    """
    if direction not in ("maximize", "minimize"):
        raise ValueError(f"direction must be 'maximize' or 'minimize', not {direction!r}")
    if method not in ("rank", "highest-common-epoch"):
        raise ValueError(f"method must be 'rank' or 'highest-common-epoch', not {method!r}")
    sign = 1.0 if direction == "maximize" else -1.0
    value = trials["value"].astype(float)
    complete = (trials["outcome"] == "complete") & np.isfinite(value)
    stopped = trials["outcome"].isin(["pruned", "diverged"])
    used = trials[complete | stopped].sort_values("number", kind="stable").reset_index(drop=True)
    kinds = used["outcome"].to_numpy()
    final = np.where(kinds == "complete", sign * used["value"].astype(float).to_numpy(), np.nan)
    history = curves[curves["number"].isin(used["number"]) & np.isfinite(curves["value"].astype(float))]
    if method == "rank":
        goodness, how = _by_rank(used, kinds, final, history, sign)
    else:
        goodness, how = _at_common_epoch(used, kinds, final, history, sign)
    known = np.isfinite(goodness)
    if known.any():
        goodness[(kinds == "diverged") & ~known] = goodness[known].min()
    known = np.isfinite(goodness)
    used, goodness = used[known].reset_index(drop=True), goodness[known]
    moved = 0
    if len(goodness):
        low, high = np.quantile(goodness, [0.25, 0.75])
        fence = low - FENCE * (high - low)
        moved = int((goodness < fence).sum()) if high > low else 0
        goodness = np.maximum(goodness, fence) if moved else goodness
    kept = used["outcome"].to_numpy()
    counts = {kind: int((kept == kind).sum()) for kind in ("complete", "pruned", "diverged")}
    listed = f"{counts['complete']} complete, {counts['pruned']} pruned and {counts['diverged']} diverged"
    parts = [f"{listed} trial is used" if len(used) == 1 else f"{listed} trials are used"]
    if counts["pruned"] or counts["diverged"] or method != "rank":
        parts.append(how)
    if counts["diverged"]:
        parts.append("a diverged trial counts as the worst of the others")
    if len(trials) > len(used):
        left = len(trials) - len(used)
        others = (
            "1 other (failed, lost, running or without a value) is"
            if left == 1
            else (f"{left} others (failed, lost, running or without a value) are")
        )
        parts.append(f"{others} left out")
    if moved:
        parts.append(f"{moved} extremely bad value(s) moved to the fence")
    return Outcomes(used, goodness, sign, moved, "; ".join(parts) + ".")


def _by_rank(
    used: pd.DataFrame, kinds: NDArray[np.object_], final: Floats, history: pd.DataFrame, sign: float
) -> tuple[Floats, str]:
    how = "a pruned trial gets the value of complete trials that win as many comparisons at the highest common epoch"
    complete, pruned = kinds == "complete", kinds == "pruned"
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
    """Share of pairwise comparisons won (a tie is half), each at the highest epoch that both trials reached.

    Args:
        numbers: of the trials, shape (n,).
        kinds: outcomes, shape (n,).
        final: goodness of complete trials, NaN for others, shape (n,).
        history: columns ``number``, ``epoch``, ``value``.
        sign: +1 when the metric is maximized.

    Returns:
        Shape (n,), in [0, 1]. Diverged trials lose against all others and tie with each other; so do pruned trials
        without history, one step above.
    """
    table = sign * history.pivot_table(index="number", columns="epoch", values="value").reindex(numbers).astype(float)
    table = table.sort_index(axis=1).ffill(axis=1).where(table.notna().iloc[:, ::-1].cummax(axis=1).iloc[:, ::-1])
    values = np.column_stack([table.to_numpy(), final])  # the end of the budget is one more epoch
    last = np.where(np.isfinite(values), np.arange(values.shape[1]), -1).max(axis=1)
    last[kinds == "diverged"] = -2
    wins = np.zeros(len(numbers))
    for epoch in np.unique(last):
        here, later = last == epoch, last > epoch
        wins[here] += 0.5 * (here.sum() - 1) if epoch < 0 else 0.0
        if epoch < 0:
            wins[later] += here.sum()
            continue
        at = values[:, epoch].copy()
        at[~np.isfinite(at)] = -np.inf  # a gap before the first report of a later survivor
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
