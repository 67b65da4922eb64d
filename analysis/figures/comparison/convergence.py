"""How losses and the metric move over epochs, gradient evaluations and seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures._metric_axis import line_limits, mark_below, set_metric_axis
from analysis.figures.comparison._base import AXES, View, legend_panel

_QUANTITIES = {"train_loss": "training loss", "validation_loss": "validation loss", "metric": "metric"}


def draw(view: View) -> Drawn | None:
    """Draw a panel for each quantity and axis: medians over seeds with bands; the legend is a panel of its own."""
    table = view.rows("convergence")
    if not len(table):
        return None
    panels = []
    for quantity in _QUANTITIES:
        for axis in view.axes:
            rows = table[(table["quantity"] == quantity) & (table["axis"] == axis)]
            if len(rows) and np.isfinite(rows["median"]).any():
                panels.append(Panel(f"{quantity}-{axis}", _panel(view, rows, quantity, axis)))
    if not panels:
        return None
    cover = 100 * float(table["coverage"].min())
    dear = " or ".join(AXES[axis] for axis in view.axes if axis != "epochs")
    others = f" Compare optimizers on {dear} where their steps cost differently." if dear else ""
    left = "" if "seconds" in view.axes else " Seconds do not compare here, and are left out."
    return Drawn(
        "Convergence",
        "Median over the confirmation runs; the band is an interval for it between two of the runs, pointwise, that "
        f"covers it with at least {cover:.0f} %. Where half of the runs broke a line ends; one that stays beyond the "
        f"panel is named with its last value.{others}{left}",
        [legend_panel({name: view.looks[name] for name in view.optimizers}), *panels],
    )


def _panel(view: View, rows: pd.DataFrame, quantity: str, axis: str) -> Figure:
    figure, axes = _style.canvas(2.6)
    finite = rows[np.isfinite(rows["median"])]
    metric = quantity == "metric"
    direction = view.contest.direction if metric else "minimize"
    lines = {name: own for name in view.optimizers if len(own := finite[finite["optimizer"] == name])}
    medians = [own["median"].to_numpy(np.float64) for own in lines.values()]
    scale = view.scale if metric else "log" if float(np.concatenate(medians).min()) > 0 else "linear"
    bounds = view.bounds if metric else (0.0, np.inf)
    set_metric_axis(axes, "y", line_limits(medians, direction, scale, bounds), scale)
    floor = axes.get_ylim()[0] if scale == "log" else -np.inf  # a gap of nothing is drawn at the edge
    for optimizer, own in lines.items():
        look = view.looks[optimizer]
        axes.plot(own["at"], own["median"].clip(lower=floor), **look.line)
        band = own[np.isfinite(own["low"]) & np.isfinite(own["high"])]
        low, high = (band[end].clip(lower=floor) for end in ("low", "high"))
        axes.fill_between(band["at"], low, high, color=look.colour, alpha=0.2, linewidth=0)
    last = [(name, float(own["median"].iloc[-1]), view.looks[name].colour) for name, own in lines.items()]
    mark_below(axes, last, direction)
    axes.set_ylabel(view.tuned_metric if metric else _QUANTITIES[quantity])
    axes.set_xlabel(AXES[axis])
    axes.set_xlim(left=0)
    return figure
