"""What a tuning budget buys."""

from __future__ import annotations

import numpy as np

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, dashes


def draw(view: View) -> Drawn | None:
    """Draw the best value after k trials, a line an optimizer, with bands where there are any."""
    table = view.comparison.tables["budget_curve"]
    names = {study.name: study.optimizer for study in view.contest.studies}
    table = table[table["study"].isin(list(names)) & np.isfinite(table["expected_best"].astype(float))]
    if not len(table):
        return None
    figure, axes = _style.canvas(3.1)
    for name, optimizer in names.items():
        own = table[table["study"] == name].sort_values("k")
        shade = _style.colour(optimizer)
        axes.plot(
            own["k"],
            own["expected_best"],
            color=shade,
            linestyle=dashes(optimizer),
            linewidth=1.5,
            label=_style.label(optimizer),
        )
        band = own[np.isfinite(own["low"].astype(float)) & np.isfinite(own["high"].astype(float))]
        if len(band):
            axes.fill_between(band["k"], band["low"], band["high"], color=shade, alpha=0.2, linewidth=0)
    values = table["expected_best"].to_numpy(dtype=float)
    worse, best = (
        np.quantile(values, [0.1, 1.0]) if view.contest.direction == "maximize" else np.quantile(values, [0.9, 0.0])
    )
    margin = 0.06 * (best - worse or 1.0)
    axes.set_ylim(*sorted((worse - margin, best + margin)))
    axes.set_xlim(left=1)
    axes.set_xlabel("trials")
    axes.set_ylabel(f"best {_style.label(view.contest.metric)} ({view.better})")
    axes.legend(fontsize=7)
    methods = ", ".join(dict.fromkeys(table["method"]))
    split = "training" if view.contest.data == "train" else "validation"
    return Drawn(
        "Performance against tuning budget",
        f"The best value on {split} data that k trials find; method: {methods}. By the formula for independent trials "
        "the band is a bootstrap over trials, and ends at half of them: beyond, nothing tells what is better than all "
        "that was seen. Over replicates the band is Student's t interval; the line of one study has none, "
        "and another search would have had another.",
        [Panel("", figure)],
    )
