"""What a figure of a comparison is given, and how optimizers look in it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.comparison import Comparison
from analysis.comparison.answer import seconds_compare
from analysis.comparison.time_to_target import counted
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.figures import _style
from analysis.figures._base import Panel
from analysis.figures._looks import Look, campaign_looks
from analysis.figures._metric_axis import limits, mark_beyond, scale_for, set_metric_axis
from analysis.metric_scale import Scale

AXES: Mapping[str, str] = {
    "epochs": "epochs",
    "gradient_evaluations": "gradient evaluations",
    "seconds": "seconds of training",
}
LEGEND = "legend"
PLAIN = Look(_style.INK, "o", "-")


@dataclass(frozen=True, slots=True)
class View:
    """One workload of a comparison."""

    contest: WorkloadRuns
    comparison: Comparison

    def rows(self, table: str) -> pd.DataFrame:
        """Return the workload's rows of a table."""
        found = self.comparison.tables[table]
        return found[found["workload"] == self.contest.workload]

    @property
    def optimizers(self) -> list[str]:
        """In the campaign's order."""
        return [study.optimizer for study in self.contest.studies]

    @property
    def looks(self) -> Mapping[str, Look]:
        """How each optimizer looks."""
        return looks_in(self.comparison)

    @property
    def better(self) -> str:
        """Which way the metric is better."""
        return self.contest.studies[0].better

    @property
    def scale(self) -> Scale:
        """On which the metric is drawn."""
        trials = self.contest.trials
        return scale_for(self.contest.studies[0], trials.loc[trials["outcome"] == "complete", "value"])

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which values the metric lies."""
        return self.contest.studies[0].bounds([*self.contest.runs["validation"], *self.contest.trials["value"]])

    @property
    def axes(self) -> list[str]:
        """The axes on which runs are compared: those that are counted, seconds only where they compare."""
        return [axis for axis in counted(self.contest) if axis != "seconds" or seconds_compare(self.contest)]

    @property
    def tuned_metric(self) -> str:
        """The metric that tuning and curves have, as an axis names it."""
        return f"{_style.label(self.contest.studies[0].tuned_metric, 30)} ({self.better})"

    @property
    def metric(self) -> str:
        """What is compared, as an axis names it."""
        return f"{_style.label(self.contest.label, 30)} ({self.better})"


def looks_in(comparison: Comparison) -> Mapping[str, Look]:
    """Return the look of each optimizer of a comparison."""
    return campaign_looks([study for contest in comparison.contests for study in contest.studies])


def forest(
    axes: Axes,
    rows: Sequence[Mapping[Hashable, Any]],
    value: str,
    ends: tuple[str, str],
    *,
    names: Sequence[str],
    looks: Sequence[Look] | None = None,
    scale: Scale = "linear",
    bounds: tuple[float, float] = (-math.inf, math.inf),
    also: Sequence[float] = (),
    start: float | None = None,
) -> None:
    """Estimates with intervals, one below the other, the first on top; a missing interval leaves the mark alone.

    What would squeeze all others is drawn at the end of the axis, as an arrow with its value; an interval that goes on
    beyond the end has an arrow too.

    Args:
        axes: An empty panel.
        rows: Records; those whose ``value`` is not finite keep their place and get no mark.
        value: The column of the estimates.
        ends: The columns of the intervals' ends.
        names: What to write beside each.
        looks: The look of each; without them all look alike.
        scale: Of the horizontal axis.
        bounds: Between which the values lie; intervals end there.
        also: Further values that the axis is to show.
        start: Where the axis begins, wherever its values do.
    """
    numbers = np.array([[float(row[column]) for column in (value, *ends)] for row in rows]).reshape(-1, 3)
    ends_of_axis = limits([*numbers[:, 0], *also], numbers[:, 1:], scale, bounds, start)
    set_metric_axis(axes, "x", ends_of_axis, scale)
    for place, (at, low, high) in enumerate(numbers):
        if not math.isfinite(at):
            continue
        look = PLAIN if looks is None else looks[place]
        shade = look.colour
        if mark_beyond(axes, at, len(rows) - 1 - place, shade):
            continue
        known = pd.notna(low) and pd.notna(high)
        low, high = (float(np.clip(end, *bounds)) for end in (low, high))
        _ends(axes, (low, high), len(rows) - 1 - place, shade)
        low, high = (float(np.clip(end, *axes.get_xlim())) for end in (low, high))
        axes.errorbar(
            [at],
            [len(rows) - 1 - place],
            xerr=[[max(0.0, at - low)], [max(0.0, high - at)]] if known else None,
            linestyle="",
            **look.mark(5.5),
            elinewidth=1.2,
            color=shade,
            zorder=3,
        )
    axes.set_yticks(range(len(rows)), [_style.label(name) for name in names][::-1])
    axes.set_ylim(-0.6, len(rows) - 0.4)


def _ends(axes: Axes, ends: tuple[float, float], place: float, colour: str) -> None:
    """Draw a small arrow where an interval goes on beyond the panel."""
    low, high = axes.get_xlim()
    for beyond, at, mark in ((ends[0] < low, low, "<"), (ends[1] > high, high, ">")):
        if beyond:
            axes.plot([at], [place], mark, color=colour, markersize=4, clip_on=False, zorder=3)


def legend(figure: Figure, names: Sequence[str]) -> None:
    """Put the legend of a figure below it, where it covers nothing.

    Args:
        figure: Of one panel.
        names: Of its lines, which tell how many have room beside each other.
    """
    figure.legend(loc="outside lower center", ncols=columns(names), fontsize=7, columnspacing=1.2, handlelength=3.0)


def columns(names: Sequence[str]) -> int:
    """Return how many names have room beside each other in a legend.

    >>> columns(["sofim", "sgd", "adam", "adamw"]), columns(["x" * 24] * 3), columns([])
    (4, 2, 1)
    """
    return max(1, min(len(names), 70 // (max(map(len, names), default=0) + 9)))


def legend_panel(looks: Mapping[str, Look]) -> Panel:
    """Return the legend of several panels of lines, as a panel of its own.

    Args:
        looks: Of the optimizers, in the campaign's order.
    """
    names = [_style.label(name) for name in looks]
    rows = math.ceil(len(names) / columns(names))
    figure = Figure(figsize=(_style.WIDTH, 0.1 + 0.17 * rows), layout="constrained")
    handles = [Line2D([], [], **look.line, label=name) for look, name in zip(looks.values(), names, strict=True)]
    figure.legend(handles=handles, loc="center", ncols=columns(names), fontsize=8, columnspacing=1.2, handlelength=3.0)
    return Panel(LEGEND, figure)
