"""SOFIM's η and ρ, and the ridge that its algebra predicts."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.figures.pair_map import paint
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales, sentences

_LINES = 6


def draw(subject: Subject) -> Drawn | None:
    """Draw the map of ρ (across) and η (upward), with lines η/ρ = constant."""
    table, coordinates = subject.findings.tables["coordinates_map"], subject.findings.coordinates
    if not len(table) or coordinates is None:
        return None
    figure, axes = _style.canvas(3.8)
    paint(subject, axes, table, across="rho", value="predicted", what=subject.metric)
    _lines(axes, subject.parameter("lr"), subject.parameter("rho"))
    return Drawn(
        "η and ρ of SOFIM",
        "What the surrogate predicts for ρ and η, averaged over all other parameters; lighter is better. On a line η/ρ "
        "is the same: where gradients are small (below √ρ) SOFIM is SGD with momentum and learning rate η/ρ, and a "
        "ridge follows the lines; where they are large only η matters, and it lies flat. "
        f"{sentences.coordinates(coordinates)} {subject.resampled}",
        [Panel("", figure)],
    )


def _lines(axes: Axes, rate: ParameterInfo, rho: ParameterInfo) -> None:
    """Lines η/ρ = 10^k, named where they leave the panel; straight, for both scales are logarithmic."""
    widths = scales.decades(rho), scales.decades(rate)
    lowest = math.log10(rate.low) - math.log10(rho.high)
    highest = math.log10(rate.high) - math.log10(rho.low)
    exponents = range(math.ceil(lowest), math.floor(highest) + 1)
    step = max(1, math.ceil(len(exponents) / _LINES))
    halo = withStroke(linewidth=2.2, foreground="black")  # the map is light and dark
    for exponent in list(exponents)[::step]:
        # log10 η = k + log10 ρ; positions are linear in both
        at = np.linspace(0, 1, 201)
        log_rho = math.log10(rho.low) + at * widths[0]
        upward = (exponent + log_rho - math.log10(rate.low)) / widths[1]
        inside = (upward >= 0) & (upward <= 1)
        if inside.sum() < 10:
            continue
        axes.plot(at[inside], upward[inside], color="white", linewidth=1.0, path_effects=[halo], zorder=2)
        x, y = at[inside][-1], upward[inside][-1]
        axes.annotate(
            f"η/ρ = 1e{exponent:+03d}" if abs(exponent) > 4 else f"η/ρ = {10.0**exponent:g}",
            (x, y),
            xytext=(-3, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7,
            color="white",
            bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1.0},
            zorder=6,
        )
