"""The metric over each parameter: what was measured, and what the surrogate makes of it."""

from __future__ import annotations

import math

import numpy as np

from analysis.figures import _axis, _style
from analysis.figures._base import Drawn, Panel, Subject, marks_in_words, places, points
from analysis.figures._metric_axis import set_metric_axis
from analysis.metric_scale import Scale, floor_of, on_scale
from analysis.sensitivity import scales
from analysis.sensitivity.eligibility import WIDEST
from analysis.sensitivity.surrogate import Floats

_MOST = 12
_FLOOR = 0.05  # share of the trials that may lie below what is shown


def draw(subject: Subject) -> Drawn | None:
    """Draw a panel a parameter, the most important first; without a surrogate the trials alone."""
    used = subject.findings.used
    if used is None or not len(used.goodness):
        return None
    band = subject.findings.partial_dependence
    order = list(subject.study.parameters)
    if len(importance := subject.findings.importance):
        ranked = importance[importance["region"] == "all"].sort_values("total_order", ascending=False)["parameter"]
        order = [*ranked, *(name for name in order if name not in set(ranked))]
    shown = [name for name in order if _varies(subject, name)][:_MOST]
    if not shown:
        return None
    values = used.metric(used.goodness)
    bounds = subject.study.bounds(values)
    low, high = _limits(values, subject.study.direction, used.scale, bounds)
    if not high - low < WIDEST:  # which no axis can show
        return None
    ends = max(bounds[0], low) if used.scale == "log" else bounds[0], bounds[1]  # a prediction beyond them is none
    panels = []
    for name in shown:
        figure, axes = _style.canvas(2.9)
        _axis.set_axis(axes, "x", subject.parameter(name))
        rows = band[band["parameter"] == name]
        if len(rows):
            alpha = 1.0 if subject.findings.conclusive else _style.FAINT
            x = rows["position"].to_numpy(dtype=float)
            drawn = {column: rows[column].astype(float).clip(*ends) for column in ("predicted", "low", "high")}
            axes.fill_between(x, drawn["low"], drawn["high"], color=subject.colour, alpha=0.3 * alpha, linewidth=0)
            axes.plot(x, drawn["predicted"], color=subject.colour, alpha=alpha, linewidth=1.8)
        points(subject, axes, name, np.clip(values, low, high))
        set_metric_axis(axes, "y", (low, high), used.scale)
        axes.set_ylabel(subject.metric)
        for kind, at in places(subject, name).items():
            mark = {"default": "^", "best": "*"}[kind]
            size = {"default": 5, "best": 8}[kind]
            place = axes.get_xaxis_transform()
            colour = subject.colour
            axes.plot([at], [0.0], mark, transform=place, clip_on=False, markersize=size, color=colour, zorder=5)
        panels.append(Panel(name, figure))
    left = len([name for name in order if _varies(subject, name)]) - len(shown)
    more = f" The {_MOST} most important parameters; {left} more are in the table partial_dependence." if left else ""
    line = "The line is the surrogate's mean over all other parameters (partial dependence). " if len(band) else ""
    if len(band) and not subject.findings.conclusive:
        line = "The surrogate explains too little for a conclusion: its mean over all other parameters is faint. "
    return Drawn(
        "The metric over each parameter",
        f"{marks_in_words(subject)}, valued as the text above says; those at the edge of the panel on the bad side lie "
        f"beyond it. {line}On the axis, the triangle is the default and the star the best configuration.{more}"
        + (f" {subject.resampled}" if len(band) else ""),
        panels,
    )


def _varies(subject: Subject, name: str) -> bool:
    return scales.varies(subject.parameter(name))


def _limits(values: Floats, direction: str, scale: Scale, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of the vertical axis: of all but the worst trials, and not beyond what the metric can be."""
    known = on_scale(values, scale, floor_of(values))
    maximize = direction == "maximize"
    with np.errstate(over="ignore", invalid="ignore"):
        bad = float(np.quantile(known, _FLOOR if maximize else 1 - _FLOOR))
        good = float(known.max() if maximize else known.min())
        margin = 0.08 * (abs(good - bad) or abs(good) or 1.0)
    low, high = (bad - margin, good + margin) if maximize else (good - margin, bad + margin)
    if scale == "log":
        return math.exp(max(low, -700.0)), math.exp(min(high, 700.0))
    width = 0.04 * (high - low)  # so that a mark at the bound is whole
    return max(low, bounds[0] - width), min(high, bounds[1] + width)
