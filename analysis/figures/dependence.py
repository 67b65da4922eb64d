"""The metric over each parameter: what was measured, and what the surrogate makes of it."""

from __future__ import annotations

import numpy as np

from analysis.figures import _axis, _style
from analysis.figures._base import Drawn, Panel, Subject, marks_in_words, places, points
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
    values = used.sign * used.goodness
    low, high = _limits(used.goodness, used.sign)
    if not high - low < WIDEST:  # which no axis can show
        return None
    panels = []
    for name in shown:
        figure, axes = _style.canvas(2.9)
        _axis.set_axis(axes, "x", subject.parameter(name))
        rows = band[band["parameter"] == name]
        if len(rows):
            alpha = 1.0 if subject.findings.conclusive else _style.FAINT
            x = rows["position"].to_numpy(dtype=float)
            axes.fill_between(x, rows["low"], rows["high"], color=subject.colour, alpha=0.3 * alpha, linewidth=0)
            axes.plot(x, rows["predicted"], color=subject.colour, alpha=alpha, linewidth=1.8)
        points(subject, axes, name, np.clip(values, low, high))
        axes.set_ylim(low, high)
        axes.set_ylabel(subject.metric)
        for kind, at in places(subject, name).items():
            mark = {"default": "^", "best": "*"}[kind]
            size = {"default": 5, "best": 8}[kind]
            place = axes.get_xaxis_transform()
            colour = subject.colour
            axes.plot([at], [0.0], mark, transform=place, clip_on=False, markersize=size, color=colour, zorder=5)
        panels.append(Panel(name, figure))
    left = len([name for name in order if _varies(subject, name)]) - len(shown)
    more = f" The {_MOST} most important parameters; {left} more are in partial_dependence.csv." if left else ""
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


def _limits(goodness: Floats, sign: float) -> tuple[float, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        bad, good = float(np.quantile(goodness, _FLOOR)), float(goodness.max())
    span = (good - bad) or abs(good) or 1.0
    low, high = sorted((sign * (bad - 0.08 * span), sign * (good + 0.08 * span)))
    return low, high
