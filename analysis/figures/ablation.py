"""The path from the default to the best configuration."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales


def draw(subject: Subject) -> Drawn | None:
    """Draw the predicted metric after each change, from the default (top) to the best configuration (bottom)."""
    table = subject.findings.ablation
    if len(table) < 2:
        return None
    figure, axes = _style.canvas(0.9 + 0.3 * len(table))
    rows = table.to_dict("records")[::-1]
    values = [row["predicted"] for row in rows]
    low = [max(0.0, row["predicted"] - row["predicted_low"]) for row in rows]
    high = [max(0.0, row["predicted_high"] - row["predicted"]) for row in rows]
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
