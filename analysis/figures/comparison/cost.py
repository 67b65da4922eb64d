"""What a step costs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.answer import seconds_compare
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures._looks import Look
from analysis.figures.comparison._base import View, forest

_COUNT = "gradient_evaluations_per_epoch"
_RATIOS = {
    "evaluation_ratio": "seconds of a gradient evaluation,\ntimes those of {}",
    "step_ratio": "seconds of a step,\ntimes those of {}",
}


def draw(view: View) -> Drawn | None:
    """Draw the gradient evaluations of an epoch and, where seconds compare, costs relative to the reference in them."""
    table = view.rows("cost")
    counts = table[table[_COUNT].notna()]
    panels = [Panel("evaluations", _counts(counts, view.looks))] if len(counts) > 1 else []
    known = table["reference"].dropna()
    ratios = {}
    if len(known) and seconds_compare(view.contest):
        ratios = {column: rows for column in _RATIOS if len(rows := table[table[column].notna()]) > 1}
    reference = str(known.iloc[0]) if len(known) else ""
    panels += [
        Panel(
            column.removesuffix("_ratio"),
            _ratios(rows, column, view.looks, _RATIOS[column].format(_style.label(reference))),
        )
        for column, rows in ratios.items()
    ]
    if not panels:
        return None
    timed = (
        f" Seconds beside {reference}: the median over a run's epochs; ratio of geometric means over runs, 95 % "
        "interval by Welch's t on logarithms."
        if ratios
        else " Seconds do not compare here, and are left out."
    )
    counted = (
        " Gradient evaluations are counted, on average over the epochs until a run converged (L-BFGS spends one a step "
        "from then on); batch sizes are the winners' and differ, so that an epoch has more or fewer steps, and a "
        "larger batch makes a step dearer."
    )
    return Drawn(
        "Cost",
        f"What the winners cost in the confirmation runs.{counted if len(counts) else ''}{timed}",
        panels,
    )


def _counts(table: pd.DataFrame, looks: Mapping[str, Look]) -> Figure:
    rows = table.sort_values(_COUNT).to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.3 * len(rows))
    names = [row["optimizer"] for row in rows]
    without = [row | {"none": float("nan")} for row in rows]
    forest(axes, without, _COUNT, ("none", "none"), names=names, looks=[looks[name] for name in names], start=0.0)
    axes.set_xlabel("gradient evaluations of an epoch")
    return figure


def _ratios(table: pd.DataFrame, column: str, looks: Mapping[str, Look], label: str) -> Figure:
    rows = table.sort_values(column).to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.3 * len(rows))
    names = [row["optimizer"] for row in rows]
    ends = (f"{column}_low", f"{column}_high")
    forest(axes, rows, column, ends, names=names, looks=[looks[name] for name in names], start=0.0)
    axes.axvline(1.0, color=_style.INK, linewidth=0.8)
    axes.set_xlabel(label)
    return figure
