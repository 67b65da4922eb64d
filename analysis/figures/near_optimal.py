"""Does the best value move from workload to workload? Near-optimal intervals side by side."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.figures import _axis, _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales


def draw(subjects: Sequence[Subject], table: pd.DataFrame) -> Drawn | None:
    """Draw a panel a parameter of one optimizer, a bar a workload.

    Args:
        subjects: Studies of one optimizer on several workloads.
        table: Their rows of `analysis.sensitivity.near_optimal.near_optimal`.
    """
    by_study = {subject.study.name: subject for subject in subjects}
    numbers = table[table["low"].notna() & table["study"].isin(list(by_study))]
    panels = []
    for name in dict.fromkeys(numbers["parameter"]):
        rows = numbers[numbers["parameter"] == name].to_dict("records")[::-1]
        infos = [by_study[row["study"]].parameter(name) for row in rows]
        if len(rows) < 2 or len({(info.log, info.one_minus, info.kind) for info in infos}) > 1:
            continue
        figure, axes = _style.canvas(1.0 + 0.34 * len(rows))
        whole = _hull(infos)
        _axis.set_axis(axes, "x", whole)
        for place, (row, info) in enumerate(zip(rows, infos, strict=True)):
            own = by_study[row["study"]].colour
            ends = {end: scales.position(whole, row[end]) for end in ("low", "high", "low_low", "high_high", "best")}
            searched = scales.position(whole, info.low), scales.position(whole, info.high)
            axes.plot(searched, [place, place], color=_style.GRID, linewidth=6, solid_capstyle="butt", zorder=1)
            axes.plot([ends["low_low"], ends["high_high"]], [place, place], color=own, linewidth=1.2, zorder=2)
            axes.barh(place, max(ends["high"] - ends["low"], 0.004), left=ends["low"], height=0.3, color=own, zorder=3)
            axes.plot([ends["best"]] * 2, [place - 0.3, place + 0.3], color=_style.INK, linewidth=1.2, zorder=4)
        axes.set_yticks(range(len(rows)), [_style.label(row["workload"]) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(visible=False)
        panels.append(Panel(name, figure))
    if not panels:
        return None
    return Drawn(
        f"Near-optimal intervals of {subjects[0].study.optimizer}",
        "Between the ends of a bar the parameter may lie, all others as in that workload's best configuration (the "
        "upright line), with a predicted loss of at most 5 % (10 % where the surrogate does not resolve 5). The thin "
        "line goes on to the farthest end that 90 % of the refits give; the grey stripe is what was "
        f"searched. Bars that do not overlap mean that the best value moves. {subjects[0].resampled}",
        panels,
    )


def _hull(infos: Sequence[ParameterInfo]) -> ParameterInfo:
    first = infos[0]
    return ParameterInfo(
        first.name,
        first.kind,
        min(info.low for info in infos),
        max(info.high for info in infos),
        log=first.log,
        one_minus=first.one_minus,
    )
