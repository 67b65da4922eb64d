"""The path from the default to the best configuration."""

from __future__ import annotations

import numpy as np

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.figures._metric_axis import limits, set_metric_axis
from analysis.sensitivity import scales


def draw(subject: Subject) -> Drawn | None:
    """Draw the measured metric after each change, from the default (top) to the best configuration (bottom)."""
    table = subject.findings.ablation
    table = table[table["measured"].notna()]
    if len(table) < 2:
        return None
    figure, axes = _style.canvas(0.9 + 0.3 * len(table))
    rows = table.to_dict("records")[::-1]
    told = np.array([[row[f"measured{end}"] for end in ("", "_low", "_high")] for row in rows], dtype=float)
    values, ends = told[:, 0], np.where(np.isnan(told[:, 1:]), told[:, :1], told[:, 1:])
    set_metric_axis(axes, "x", limits(values, ends, subject.scale, subject.study.bounds(values)), subject.scale)
    low, high = np.maximum(values - ends[:, 0], 0.0), np.maximum(ends[:, 1] - values, 0.0)
    axes.plot(values, range(len(rows)), color=subject.colour, linewidth=1, alpha=0.6)
    axes.errorbar(
        values, range(len(rows)), xerr=[low, high], fmt="o", markersize=4.5, elinewidth=1.2, color=subject.colour
    )
    names = [
        "default"
        if row["step"] == 0
        else f"{_style.label(row['parameter'], 24)} "
        + " → ".join(_value(subject, row["parameter"], row[end]) for end in ("before", "after"))
        for row in rows
    ]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    used = subject.findings.used
    if used is not None and used.scale == "log":
        axes.set_xscale("log")
    axes.set_xlabel(f"measured {subject.metric}", loc="right")  # long names leave the axes little of the width
    return Drawn(
        "From the default to the best configuration",
        "The default's parameters are changed to those of the best configuration one at a time, always the one that is "
        "predicted to gain most (Fawcett and Hoos 2016): which change bought what. Each was trained on the same fresh "
        "seeds; intervals are of 95 % (Student's t). With interactions, this order is one account among several.",
        [Panel("", figure)],
    )


def _value(subject: Subject, name: str, value: object) -> str:
    text = scales.written(subject.parameter(name), value) if name in subject.study.parameters else str(value)
    return text if isinstance(value, int | float) else _style.label(text, 8)  # a number cut off is another number
