"""What a figure of a comparison is given, and how optimizers look in it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.comparison import Comparison
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.figures import _style

AXES: Mapping[str, str] = {
    "epochs": "epochs",
    "gradient_evaluations": "gradient evaluations",
    "seconds": "seconds of training",
}
# Not by colour alone: the same marks and lines for an optimizer everywhere.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)))


@dataclass(frozen=True, slots=True)
class View:
    """One workload of a comparison."""

    contest: WorkloadRuns
    comparison: Comparison

    def rows(self, table: str) -> pd.DataFrame:
        """Return the workload's rows of a table."""
        found = self.comparison.tables[table]
        return found[found["workload"] == self.contest.workload]

    @property
    def optimizers(self) -> list[str]:
        """In the campaign's order."""
        return [study.optimizer for study in self.contest.studies]

    @property
    def better(self) -> str:
        """Which way the metric is better."""
        return self.contest.studies[0].better

    @property
    def metric(self) -> str:
        """What is compared, as an axis names it."""
        return f"{_style.label(self.contest.label, 30)} ({self.better})"


def marker(optimizer: str) -> str:
    """Return the optimizer's mark."""
    return _MARKERS[_place(optimizer) % len(_MARKERS)]


def dashes(optimizer: str) -> object:
    """Return the optimizer's line."""
    return _DASHES[_place(optimizer) % len(_DASHES)]


def _place(optimizer: str) -> int:
    known = list(_style.COLOURS)
    return known.index(optimizer) if optimizer in known else len(known)


def forest(
    axes: Axes,
    rows: Sequence[Mapping[Hashable, Any]],
    value: str,
    ends: tuple[str, str],
    *,
    names: Sequence[str],
    optimizers: Sequence[str] | None = None,
) -> None:
    """Estimates with intervals, one below the other, the first on top; a missing interval leaves the mark alone.

    Args:
        axes: An empty panel.
        rows: Records; those whose ``value`` is not finite keep their place and get no mark.
        value: The column of the estimates.
        ends: The columns of the intervals' ends.
        names: What to write beside each.
        optimizers: Whose colours and marks to use; without them all look alike.
    """
    for place, row in enumerate(rows):
        at, low, high = (float(row[column]) for column in (value, *ends))
        if not pd.notna(at) or abs(at) == float("inf"):
            continue
        optimizer = optimizers[place] if optimizers is not None else ""
        known = pd.notna(low) and pd.notna(high)
        axes.errorbar(
            [at],
            [len(rows) - 1 - place],
            xerr=[[max(0.0, at - low)], [max(0.0, high - at)]] if known else None,
            fmt=marker(optimizer) if optimizers is not None else "o",
            markersize=5,
            elinewidth=1.2,
            color=_style.colour(optimizer) if optimizers is not None else _style.INK,
            zorder=3,
        )
    axes.set_yticks(range(len(rows)), [_style.label(name) for name in names][::-1])
    axes.set_ylim(-0.6, len(rows) - 0.4)
