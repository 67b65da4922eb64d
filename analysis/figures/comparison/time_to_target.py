"""What it costs to reach the target."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.pairwise import SEARCHES
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import AXES, View, forest
from analysis.text import short


def draw(view: View) -> Drawn | None:
    """Draw a panel an axis: median time to target with its interval, censored ones as arrows at the budget."""
    table = view.rows("time_to_target")
    if not len(table) or table["target"].isna().all():
        return None
    panels = []
    for axis in AXES:
        rows = table[(table["axis"] == axis) & (table["runs"] > 0)]
        if len(rows) and (axis != "seconds" or rows["comparable"].astype(bool).all()):
            panels.append(Panel(axis, _panel(rows, axis)))
    if not panels:
        return None
    first = table.iloc[0]
    left = "" if len(panels) == len(AXES) else " Seconds are not compared: runs shared a device, or devices differ."
    split = "training" if view.contest.data == "train" else "validation"
    over_searches = first["unit"] == SEARCHES
    middle = "the median over searches of the median of their runs" if over_searches else "the median over runs"
    return Drawn(
        "Time to target",
        f"What the confirmation runs spent when they first reached {_style.label(view.contest.metric)} "
        f"{short(float(first['target']))} on {split} data (the {first['target_source']}'s target): {middle}, with an "
        f"interval between two of them. An arrow: fewer than half reached it within their budget, or the interval has "
        f"no end. Beside it, how many runs did.{left}",
        panels,
    )


def _panel(table: pd.DataFrame, axis: str) -> Figure:
    rows = table.to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.34 * len(rows))
    names = [row["optimizer"] for row in rows]
    shown = [row | {"high": row["high"] if math.isfinite(row["high"]) else math.nan} for row in rows]
    shown = [row | {"low": row["low"] if math.isfinite(row["high"]) else math.nan} for row in shown]
    forest(axes, shown, "median", ("low", "high"), names=names, optimizers=names)
    for place, row in enumerate(rows[::-1]):
        shade = _style.colour(row["optimizer"])
        start = row["median"] if math.isfinite(row["median"]) else row["budget"]
        if math.isfinite(start) and not math.isfinite(row["high"]):
            low = row["low"] if math.isfinite(row["low"]) else start
            axes.plot([min(low, start), start], [place, place], color=shade, linewidth=1.2)
            axes.annotate(
                "", (start * 1.25, place), xytext=(start, place), arrowprops={"arrowstyle": "->", "color": shade}
            )
            axes.plot([start * 1.3], [place], alpha=0)  # leaves room for the arrow
        axes.annotate(
            f"{row['reached']} of {row['runs']}",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            annotation_clip=False,
        )
    axes.set_xlabel(f"{AXES[axis]} to the target")
    axes.set_xlim(left=0)
    return figure
