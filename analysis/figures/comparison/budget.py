"""What a tuning budget buys."""

from __future__ import annotations

import numpy as np

from analysis.comparison.budget import ALONE
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures._metric_axis import line_limits, mark_below, set_metric_axis
from analysis.figures.comparison._base import View, legend


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
        look = view.looks[optimizer]
        axes.plot(
            own["k"],
            own["expected_best"],
            **look.line,
            drawstyle="steps-post" if (own["method"] == ALONE).all() else "default",
            label=_style.label(optimizer),
        )
        band = own[np.isfinite(own["low"].astype(float)) & np.isfinite(own["high"].astype(float))]
        if len(band):
            axes.fill_between(band["k"], band["low"], band["high"], color=look.colour, alpha=0.2, linewidth=0)
    direction, scale = view.contest.direction, view.scale
    paths = [table.loc[table["study"] == name, "expected_best"].to_numpy(np.float64) for name in names]
    set_metric_axis(axes, "y", line_limits(paths, direction, scale, view.bounds), scale)
    last = [
        (names[own], float(path[-1]), view.looks[names[own]].colour)
        for own, path in zip(names, paths, strict=True)
        if len(path)
    ]
    mark_below(axes, last, direction)
    axes.set_xlim(left=1)
    axes.set_xlabel("trials")
    axes.set_ylabel(f"best {view.tuned_metric}")
    legend(figure, [_style.label(optimizer) for optimizer in names.values()])
    methods = ", ".join(dict.fromkeys(table["method"]))
    return Drawn(
        "Performance against tuning budget",
        f"The best {view.contest.studies[0].tuned_metric} that k trials find; method: {methods}. By the formula for "
        "independent trials the band is a bootstrap over trials, and ends at half of them: beyond, nothing tells what "
        "is better than all that was seen. Over replicates the band is Student's t interval; the line of one study has "
        "none, "
        "and another search would have had another.",
        [Panel("", figure)],
    )
