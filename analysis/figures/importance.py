"""Which parameters explain the metric, over the whole space and among good configurations."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject

_MOST = 20
_REGIONS = {"all": "over the whole space", "good": "among good configurations"}


def draw(subject: Subject) -> Drawn | None:
    """Draw a panel a region: first-order (hollow) and total-order (full) shares, with the line that noise reaches."""
    table, quality = subject.findings.importance, subject.findings.tables["quality"]
    lines = {str(line["region"]): line for line in reversed(quality.to_dict("records"))}
    regions = [region for region in _REGIONS if (table["region"] == region).any()]
    if not regions:
        return None
    order = table[table["region"] == "all"].sort_values("total_order")["parameter"].tolist()[-_MOST:]
    panels = []
    for region in regions:
        rows = table[(table["region"] == region) & table["parameter"].isin(order)].set_index("parameter").loc[order]
        panels.append(Panel(region, _panel(subject, rows.reset_index(), lines[region])))
    return Drawn(
        "Importance",
        "Share of the metric's explained variance that is due to each parameter: alone (ring, first-order Sobol index) "
        "and with all interactions it takes part in (dot, total order). A parameter stands out only if the whole "
        "interval of its dot lies beyond the dashed line, which a planted parameter without effect reaches; the others "
        "are faint. Good configurations: all that is worse "
        f"than the best quarter counts as equally bad. {subject.resampled}",
        panels,
    )


def _panel(subject: Subject, rows: pd.DataFrame, quality: Mapping[Hashable, Any]) -> Figure:
    figure, axes = _style.canvas(0.9 + 0.34 * len(rows))
    conclusive = bool(quality["conclusive"])
    out = rows["stands_out"].astype(bool).to_numpy()
    for order, shift, face in (("total_order", -0.14, subject.colour), ("first_order", 0.14, "none")):
        low = (rows[order] - rows[f"{order}_low"]).clip(lower=0).to_numpy()
        high = (rows[f"{order}_high"] - rows[order]).clip(lower=0).to_numpy()
        places = np.arange(len(rows)) - shift
        for shown, alpha in ((out, 1.0), (~out, _style.FAINT)):
            if shown.any():
                axes.errorbar(
                    rows[order].to_numpy()[shown],
                    places[shown],
                    xerr=[low[shown], high[shown]],
                    fmt="o",
                    markersize=4.5,
                    markerfacecolor=face,
                    elinewidth=1.2,
                    color=subject.colour,
                    alpha=alpha if conclusive else _style.FAINT,
                )
    axes.axvline(float(quality["noise_total_order"]), color=_style.INK, linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [_style.label(name) for name in rows["parameter"]])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    r2 = f"out-of-bag R² {quality['r2']:.2f}"
    axes.set_xlabel(f"share of the explained variance\n({r2})" if conclusive else f"no conclusion: {r2}")
    axes.set_title(_REGIONS[str(quality["region"])])
    marks = (
        Line2D([], [], color=subject.colour, marker="o", linestyle="", markerfacecolor=face, markersize=4.5, label=text)
        for face, text in ((subject.colour, "with interactions"), ("none", "alone"))
    )
    noise = Line2D([], [], color=_style.INK, linestyle="--", linewidth=0.8, label="without any effect")
    figure.legend(handles=[*marks, noise], loc="outside lower center", ncols=3, fontsize=7, columnspacing=1.2)
    return figure
