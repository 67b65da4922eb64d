"""What it costs to reach the target."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparison.searches import SEARCHES
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures._looks import Look
from analysis.figures.comparison._base import AXES, View, forest
from analysis.text import short


def draw(view: View) -> Drawn | None:
    """Draw a panel an axis: median time to target with its interval, censored ones as arrows at the budget."""
    table = view.rows("time_to_target")
    if not len(table) or table["target"].isna().all():
        return None
    reached = table[(table["runs"] > 0) & table["median"].map(math.isfinite)]
    panels = []
    for axis in view.axes:
        rows = table[(table["axis"] == axis) & (table["runs"] > 0)]
        if (reached["axis"] == axis).any():  # a target that nobody reaches orders nobody
            panels.append(Panel(axis, _panel(rows, axis, view.looks)))
    if not panels:
        return None
    first = table.iloc[0]
    told = view.contest.studies[0].target_origin
    origin = f", {told}" if told else ""
    goal = f"{_style.label(view.contest.studies[0].tuned_metric, 40)} {short(float(first['target']))}"
    left = "" if "seconds" in view.axes else " Seconds do not compare here, and are left out."
    over_searches = first["unit"] == SEARCHES
    middle = "the median over searches of the median of their runs" if over_searches else "the median over runs"
    return Drawn(
        "Time to target",
        f"What the confirmation runs spent when they first reached {goal} "
        f"(the {first['target_source']}'s target{origin}): "
        f"{middle}, with an interval between two of them. An arrow: the interval has no end, or, with a number, the "
        f"value lies beyond the panel. Without a mark fewer than "
        f"half of the runs reached it. Beside it, how many did.{left}",
        panels,
    )


def _panel(table: pd.DataFrame, axis: str, looks: Mapping[str, Look]) -> Figure:
    rows = table.to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.34 * len(rows))
    names = [row["optimizer"] for row in rows]
    shown = [row | {"high": row["high"] if math.isfinite(row["high"]) else math.nan} for row in rows]
    shown = [row | {"low": row["low"] if math.isfinite(row["high"]) else math.nan} for row in shown]
    forest(axes, shown, "median", ("low", "high"), names=names, looks=[looks[name] for name in names], start=0.0)
    for place, row in enumerate(rows[::-1]):
        shade = looks[row["optimizer"]].colour
        start = row["median"]
        if math.isfinite(start) and start <= axes.get_xlim()[1] and not math.isfinite(row["high"]):
            low = row["low"] if math.isfinite(row["low"]) else start
            axes.plot([min(low, start), start], [place, place], color=shade, linewidth=1.2)
            axes.annotate(
                "",
                (start, place),
                xytext=(18, 0),
                textcoords="offset points",
                annotation_clip=False,
                arrowprops={"arrowstyle": "<-", "color": shade},
            )
        axes.annotate(
            f"{row['reached']} of {row['runs']}",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(22, 0),  # beside an arrow that leaves the panel
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            annotation_clip=False,
        )
    axes.set_xlabel(f"{AXES[axis]} to the target")
    return figure
