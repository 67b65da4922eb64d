"""Aggregate scores over all workloads."""

from __future__ import annotations

from analysis.comparison import Comparison
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import forest


def draw(comparison: Comparison) -> Drawn | None:
    """Draw interquartile means of normalized scores, best first."""
    table = comparison.tables["aggregate"]
    if not len(table):
        return None
    rows = table.to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.34 * len(rows))
    names = [row["optimizer"] for row in rows]
    forest(axes, rows, "iqm", ("low", "high"), names=names, optimizers=names)
    axes.set_xlabel("interquartile mean of normalized scores\n(higher is better)")
    return Drawn(
        "Scores",
        "Middle half of all runs on all workloads, averaged (interquartile mean, Agarwal et al. 2021). A score of 1 is "
        "the mean run of a workload's best optimizer, 0 what training starts from. 95 % intervals: runs were drawn "
        "with replacement within each workload (stratified bootstrap).",
        [Panel("", figure)],
    )
