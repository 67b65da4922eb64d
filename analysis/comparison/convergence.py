"""How losses and the metric fall over epochs, gradient evaluations and seconds, with bands over the seeds.

At each point of an axis the middle of the runs is shown, the median, with an interval for it between two of the runs
(David and Nagaraja 2003, 7.1), pointwise, that assumes nothing but independence. A run that broke counts: from its last
epoch on, and wherever its loss is not finite, it is worse than all others. Where searches were repeated the lines are
those of the searches, each the median of its runs, and the interval is between these; with one search, its runs.
Between the ends of epochs runs are interpolated linearly; nothing is said before the first epoch of every run, or after
the last of any complete one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.comparison.searches import grouped
from analysis.comparison.time_to_target import AXES
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import Floats, order_coverage, order_rank
from analysis.study import Study

COLUMNS = (
    "study", "workload", "optimizer", "axis", "at", "quantity", "median", "low", "high", "finite", "runs", "coverage",
)  # fmt: skip
QUANTITIES = {"train_loss": "train_loss", "validation_loss": "validation_loss", "metric": "value"}
POINTS = 60  # of an axis that is no whole number of epochs


def convergence(contests: Sequence[WorkloadRuns]) -> pd.DataFrame:
    """Return the curves of all confirmed studies, a row a point.

    Returns:
        Columns: ``study``, ``workload``, ``optimizer``, ``axis`` (epochs, gradient_evaluations, seconds), ``at`` (the
        position on it, since the start of the run), ``quantity`` (train_loss, validation_loss, metric), ``median``,
        ``low``, ``high`` (over lines; infinite where half of them, or those at an end, broke; NaN ends with
        one), ``finite`` (how many of the lines are finite there), ``runs`` (lines), ``coverage`` (of the interval: 95 %
        or more from six runs on).
    """
    frames = [frame for contest in contests for study in contest.confirmed() for frame in _study(contest, study)]
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def _study(contest: WorkloadRuns, study: Study) -> list[pd.DataFrame]:
    own = contest.curves[contest.curves["study"] == study.name]
    units = grouped(contest, study)
    table = contest.runs[["number", "outcome"]].to_numpy()
    every = [[(own[own["number"] == table[at, 0]], table[at, 1] == "complete") for at in rows] for rows in units]
    runs = [run for unit in every for run in unit]
    frames = []
    for axis, column in AXES.items():
        at = _grid([run[column].to_numpy(np.float64) for run, complete in runs if complete], whole=axis == "epochs")
        for quantity, name in QUANTITIES.items():
            worst = -np.inf * contest.sign if quantity == "metric" else np.inf
            lines = [_middle(np.array([_line(run, column, name, at, worst) for run, _ in unit])) for unit in every]
            frames.append(
                _band(np.array(lines), at).assign(
                    study=study.name, workload=contest.workload, optimizer=study.optimizer, axis=axis, quantity=quantity
                )
            )
    return frames


def _grid(positions: Sequence[Floats], *, whole: bool) -> Floats:
    """Return where all complete runs can be told: shape (points,)."""
    known = [p for p in positions if len(p) and np.isfinite(p).all()]
    if not known or len(known) < len(positions):
        return np.empty(0)
    first, last = max(p[0] for p in known), min(p[-1] for p in known)
    if last < first:
        return np.empty(0)
    return np.arange(first, last + 1) if whole else np.unique(np.linspace(first, last, POINTS))


def _line(run: pd.DataFrame, column: str, name: str, at: Floats, worst: float) -> Floats:
    """Return one run at the positions ``at``; ``worst`` where it is not finite."""
    positions, values = run[column].to_numpy(np.float64), run[name].to_numpy(np.float64)
    if not len(positions) or not np.isfinite(positions).all():
        return np.full(len(at), worst)
    line = np.interp(at, positions, values, right=np.nan)  # NaN next to a NaN
    return np.where(np.isfinite(line), line, worst)


def _middle(lines: Floats) -> Floats:
    """Return the median of lines (n, points), of which some may be infinite."""
    ordered = np.sort(lines, axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray((ordered[(len(lines) - 1) // 2] + ordered[len(lines) // 2]) / 2)


def _band(lines: Floats, at: Floats) -> pd.DataFrame:
    """Return columns ``at``, ``median``, ``low``, ``high``, ``finite``, ``runs``, ``coverage`` of runs (n, points)."""
    n = len(lines)
    rank = order_rank(n)
    ordered, middle = np.sort(lines, axis=0), _middle(lines)
    low, high = (ordered[rank], ordered[n - 1 - rank]) if n > 1 else (np.full(len(at), np.nan),) * 2
    return pd.DataFrame(
        {
            "at": at,
            "median": middle,
            "low": low,
            "high": high,
            "finite": np.isfinite(lines).sum(axis=0),
            "runs": n,
            "coverage": order_coverage(n, rank) if n > 1 else np.nan,
        }
    )
