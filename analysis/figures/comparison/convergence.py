"""How losses and the metric move over epochs, gradient evaluations and seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import AXES, View, dashes

_QUANTITIES = {"train_loss": "training loss", "validation_loss": "validation loss", "metric": "metric"}


def draw(view: View) -> Drawn | None:
    """Draw a panel for each quantity and axis: medians over seeds with bands."""
    table = view.rows("convergence")
    if not len(table):
        return None
    panels = []
    for quantity in _QUANTITIES:
        for axis in AXES:
            rows = table[(table["quantity"] == quantity) & (table["axis"] == axis)]
            if len(rows) and np.isfinite(rows["median"]).any():
                panels.append(Panel(f"{quantity}-{axis}", _panel(view, rows, quantity, axis)))
    if not panels:
        return None
    cover = 100 * float(table["coverage"].min())
    return Drawn(
        "Convergence",
        "Median over the confirmation runs; the band is an interval for it between two of the runs, pointwise, that "
        f"covers it with at least {cover:.0f} %. Where half of the runs broke a line ends. Compare optimizers on "
        "gradient evaluations or seconds where their steps cost differently.",
        panels,
    )


def _panel(view: View, rows: pd.DataFrame, quantity: str, axis: str) -> Figure:
    figure, axes = _style.canvas(2.9)
    finite = rows[np.isfinite(rows["median"])]
    for optimizer in view.optimizers:
        own = finite[finite["optimizer"] == optimizer]
        if not len(own):
            continue
        shade = _style.colour(optimizer)
        axes.plot(
            own["at"],
            own["median"],
            color=shade,
            linestyle=dashes(optimizer),
            linewidth=1.5,
            label=_style.label(optimizer),
        )
        band = own[np.isfinite(own["low"]) & np.isfinite(own["high"])]
        axes.fill_between(band["at"], band["low"], band["high"], color=shade, alpha=0.2, linewidth=0)
    if quantity != "metric" and (finite[["median", "low"]].min().min() > 0):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_locator(NullLocator())
        if len(axes.get_yticks()) < 4:  # one decade or less
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    name = _style.label(view.contest.metric) if quantity == "metric" else _QUANTITIES[quantity]
    axes.set_ylabel(f"{name} (validation)" if quantity == "metric" and view.contest.data != "train" else name)
    axes.set_xlabel(AXES[axis])
    axes.set_xlim(left=0)
    axes.legend(fontsize=7)
    return figure
