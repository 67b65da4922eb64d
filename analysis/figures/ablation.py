"""The path from the default to the best configuration."""

from __future__ import annotations

import numpy as np

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.figures._metric_axis import limits, set_metric_axis
from analysis.metric_scale import floor_of
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales


def draw(subject: Subject) -> Drawn | None:
    """Draw the predicted metric after each change, from the default (top) to the best configuration (bottom)."""
    table = subject.findings.ablation
    if len(table) < 2:
        return None
    figure, axes = _style.canvas(0.9 + 0.3 * len(table))
    rows = table.to_dict("records")[::-1]
    floor, ceiling = subject.study.bounds  # beyond which no prediction is drawn
    scale = subject.scale
    told = np.array([[row[f"predicted{end}"] for end in ("", "_low", "_high")] for row in rows], dtype=float)
    if scale == "log":
        floor = max(floor, floor_of(told[:, 0]))
    values, ends = told[:, 0].clip(floor, ceiling), told[:, 1:].clip(floor, ceiling)
    set_metric_axis(axes, "x", limits(values, ends, scale, subject.study.bounds), scale)
    low, high = np.maximum(values - ends[:, 0], 0.0), np.maximum(ends[:, 1] - values, 0.0)
    axes.plot(values, range(len(rows)), color=subject.colour, linewidth=1, alpha=0.6)
    axes.errorbar(
        values, range(len(rows)), xerr=[low, high], fmt="o", markersize=4.5, elinewidth=1.2, color=subject.colour
    )
    names = [
        "default"
        if row["step"] == 0
        else f"{_style.label(row['parameter'], 24)} "
        + " → ".join(_value(subject.parameter(row["parameter"]), row[end]) for end in ("before", "after"))
        for row in rows
    ]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(f"predicted {subject.metric}", loc="right")  # long names leave the axes little of the width
    return Drawn(
        "From the default to the best configuration",
        "The default's parameters are changed to those of the best configuration one at a time, always the one that is "
        "predicted to gain most (Fawcett and Hoos 2016): which change bought what. With interactions, this order is "
        f"one account among several. {subject.resampled}",
        [Panel("", figure)],
    )


def _value(parameter: ParameterInfo, value: object) -> str:
    text = scales.written(parameter, value)
    return text if isinstance(value, int | float) else _style.label(text, 8)  # a number cut off is another number
