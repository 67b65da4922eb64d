"""Mean ranks and the critical difference."""

from __future__ import annotations

import pandas as pd

from analysis.comparison import Comparison
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import forest, looks_in
from search_spaces.errors import number_of


def tells_apart(table: pd.DataFrame) -> bool:
    """Return whether mean ranks can be so far apart that the critical difference tells who is behind.

    Args:
        table: Of `analysis.comparison.aggregate.ranks`, a row an optimizer.
    """
    return bool(len(table)) and bool(table["possible"].iloc[0])


def draw(comparison: Comparison) -> Drawn | None:
    """Draw mean ranks, and how far one must be behind the best to be told apart."""
    table = comparison.tables["ranks"]
    if not len(table):
        return None
    rows = table.to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.34 * len(rows))
    names, looks = [row["optimizer"] for row in rows], looks_in(comparison)
    forest(axes, rows, "mean_rank", ("low", "high"), names=names, looks=[looks[name] for name in names])
    apart = tells_apart(table)
    best, critical = float(rows[0]["mean_rank"]), float(rows[0]["critical_difference"])
    if apart:
        axes.axvspan(best, best + critical, color=_style.GRID, alpha=0.5, linewidth=0, zorder=0)
    axes.set_xlim(0.5, len(rows) + 0.5)
    axes.set_xlabel("mean rank over workloads (1 is best)")
    stripe = (
        "An optimizer inside the grey stripe is not told apart from the best by Nemenyi's critical difference "
        "(Demšar 2006)."
        if apart
        else f"On {number_of(int(rows[0]['workloads']), 'workload')} mean ranks tell nobody apart, however far apart "
        "they are (Nemenyi's critical difference, Demšar 2006, is beyond the largest there can be)."
    )
    warning = f" {rows[0]['warning']}" if rows[0]["warning"] else ""
    return Drawn(
        "Ranks",
        "Mean rank over workloads by the mean of the confirmation runs; intervals (95 %, stratified bootstrap) tell "
        f"the noise of what was repeated. Equal ranks are ties. {stripe}{warning}",
        [Panel("", figure)],
    )
