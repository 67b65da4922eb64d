"""What a step costs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, forest

_PANELS = {
    "step_ratio": "seconds of a step,\ntimes those of {}",
    "evaluation_ratio": "gradient evaluations of an epoch,\ntimes those of {}",
}


def draw(view: View) -> Drawn | None:
    """Draw costs relative to the reference, in seconds and in gradient evaluations."""
    table = view.rows("cost")
    if not len(table) or not table["reference"].notna().any():
        return None
    reference = str(table["reference"].dropna().iloc[0])
    panels = [
        Panel(column.removesuffix("_ratio"), _panel(rows, column, text.format(_style.label(reference))))
        for column, text in _PANELS.items()
        if len(rows := table[table[column].notna()]) > 1
    ]
    if not panels:
        return None
    doubt = (
        "" if table["comparable"].astype(bool).all() else " Runs shared a device or devices differ: take it as rough."
    )
    return Drawn(
        "Cost",
        f"What a step and an epoch cost beside {reference}, measured in the confirmation runs (the median over a run's "
        "epochs; ratio of geometric means over runs, 95 % interval by Welch's t on logarithms). Batch sizes are the "
        f"winners' and differ, and a larger batch makes a step dearer.{doubt}",
        panels,
    )


def _panel(table: pd.DataFrame, column: str, label: str) -> Figure:
    rows = table.sort_values(column).to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.3 * len(rows))
    names = [row["optimizer"] for row in rows]
    forest(axes, rows, column, (f"{column}_low", f"{column}_high"), names=names, optimizers=names)
    axes.axvline(1.0, color=_style.INK, linewidth=0.8)
    axes.set_xlabel(label)
    axes.set_xlim(left=0)
    return figure
