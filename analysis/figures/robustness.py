"""How far each parameter may move before the metric drops."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.robustness import RIDGE
from analysis.sensitivity.sentences import widths

_HEIGHTS = {10.0: 0.62, 5.0: 0.42, 1.0: 0.22}
_MOST = 20


def draw(subject: Subject) -> Drawn | None:
    """Draw a bar a parameter on its searched range; the losses that the surrogate resolves, nested."""
    table = subject.findings.robustness
    table = table[table["resolved"].astype(bool)]
    if not len(table):
        return None
    told, rows = widths(table)
    names = rows["parameter"].tolist()[:_MOST][::-1]
    figure, axes = _style.canvas(0.9 + 0.36 * len(names))
    losses = sorted(set(table["loss_percent"]), reverse=True)
    shades = sns.light_palette(subject.colour, n_colors=len(losses) + 2)[2:]
    for place, name in enumerate(names):
        own = table[table["parameter"] == name].set_index("loss_percent")
        parameter = subject.parameter("rho" if name == RIDGE else name)
        for loss, shade in zip(losses, shades, strict=True):
            low, width = _bar(own.loc[loss], parameter.kind == "categorical", parameter)
            if width is not None:
                axes.barh(place, width, left=low, height=_HEIGHTS[loss], color=shade, linewidth=0)
        if parameter.kind != "categorical":
            at = scales.position(parameter, own["best"].iloc[0])
            axes.plot([at, at], [place - 0.36, place + 0.36], color=_style.INK, linewidth=1.2)
        axes.annotate(
            _in_words(own.loc[told], parameter),
            (1.0, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(names)), [_style.label(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["low end", "searched range", "high end"])
    axes.grid(visible=False)
    listed = ", ".join(f"{loss:g}" for loss in sorted(losses))
    return Drawn(
        "Robustness",
        f"How far each parameter may move from the best configuration (the upright line), all others held, before the "
        f"predicted metric has dropped by {listed} % (dark to light), on the scale on which it was searched. The "
        f"numbers on the right are the ends at {told:g} %. Losses below the surrogate's error near the best are not "
        "shown. A bar ends where the mean prediction or the most cautious twentieth of the refits end it; percent are "
        "of the way that the sentences name.",
        [Panel("", figure)],
    )


def _bar(row: pd.Series[Any], categorical: bool, parameter: ParameterInfo) -> tuple[float, float | None]:
    if categorical:
        return 0.0, float(row["share_of_range"])
    low, high = (scales.position(parameter, row[name]) for name in ("low", "high"))
    return low, max(high - low, 0.004)


def _in_words(row: pd.Series[Any], parameter: ParameterInfo) -> str:
    if row["unit"] == "share of choices":
        return f"{100 * float(row['share_of_range']):.0f} % of choices"
    return " – ".join(scales.written(parameter, row[end]) for end in ("low", "high"))
