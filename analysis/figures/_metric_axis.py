"""An axis with values of a metric: its scale, how far it reaches, and what lies beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from analysis.figures import _style
from analysis.metric_scale import Floats, Scale, floor_of, on_scale, scale_of
from analysis.study import Study
from analysis.text import short

SQUEEZED = 0.25  # of an axis: where all but a few values have less of it, those few are drawn at its end
_FEW = 3  # of so many values one may be drawn at the end
_WIDEST = 1.0  # how far an interval may widen the axis to either side, in widths of what is shown of the values;
_TYPICAL = 2.0  # or, where most intervals are wider than that, in those parts of theirs that lie beyond the values
_MARGIN = 0.05
_NARROW = 0.7  # decades
_ARROW = 14  # points
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scale_for(study: Study, values: ArrayLike) -> Scale:
    """Return the scale of an axis with a study's metric: what the workload told, else what the values look like.

    Args:
        study: Whose metric.
        values: Of complete trials, of all that is drawn side by side.
    """
    return scale_of(study.scale or ("log" if study.own and study.metric == "gap" else None), values, study.direction)


def ordinary(values: ArrayLike) -> tuple[float, float]:
    """Return the least and greatest value, without those few that would squeeze the others.

    Args:
        values: On the scale of the axis; those that are not finite do not count.

    >>> ordinary([0.95, 0.96, 0.97, 0.1]), ordinary([0.1, 0.2, 0.3, 0.4]), ordinary([0.5, 0.5, 0.5, 0.1])
    ((0.95, 0.97), (0.1, 0.4), (0.1, 0.5))
    """
    every = np.asarray(values, dtype=np.float64)
    known = np.sort(every[np.isfinite(every)])
    if not len(known):
        return 0.0, 1.0
    whole = known[-1] - known[0]
    for dropped in range(1, len(known) // _FEW + 1):
        for low in range(dropped + 1):
            rest = known[low : len(known) - (dropped - low)]
            if 0 < rest[-1] - rest[0] < SQUEEZED * whole:
                return float(rest[0]), float(rest[-1])
    return float(known[0]), float(known[-1])


def limits(
    values: ArrayLike,
    ends: ArrayLike,
    scale: Scale,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    start: float | None = None,
) -> tuple[float, float]:
    """Return the ends of an axis: of the ordinary values, and of intervals as far as the rest stays readable.

    Args:
        values: In units of the metric.
        ends: Of their intervals, any shape.
        scale: Of the axis.
        bounds: Between which the metric lies.
        start: Where the axis begins, wherever the values do, on a linear scale.

    >>> limits([0.9, 0.95], [0.89, 1.3], "linear", (0.0, 1.0))
    (0.8845, 1.0055)
    >>> limits([-0.007, -0.009], [[-0.028, 0.014], [-0.034, 0.017]], "linear")
    (-0.03655, 0.01955)
    """
    floor = floor_of(values)
    inside = np.clip(np.asarray(ends, dtype=np.float64), *bounds)
    low, high = ordinary(on_scale(values, scale, floor))
    low = low if start is None else start
    around = on_scale(inside, scale, floor)
    around = np.ravel(around[np.isfinite(around)])
    reach = _WIDEST * ((high - low) or abs(high) or 1.0)
    beyond = np.sort(np.maximum(low - around, around - high))
    if len(beyond):
        reach = max(reach, _TYPICAL * float(beyond[(len(beyond) - 1) // 2]))
    around = around.clip(low - reach, high + reach)
    low, high = min([low, *around.tolist()]), max([high, *around.tolist()])
    width = high - low
    margin = _MARGIN * (width or (1.0 if scale == "log" else abs(high) or 1.0))
    low, high = low - margin if start is None else start, high + margin
    if scale == "log":
        return math.exp(low), math.exp(high)
    return round(low, 12) if abs(low) > 1e-6 else low, round(high, 12) if abs(high) > 1e-6 else high


def set_metric_axis(axes: Axes, which: Literal["x", "y"], ends: tuple[float, float], scale: Scale) -> None:
    """Make one axis of ``axes`` that of a metric.

    Args:
        axes: A panel.
        which: The axis.
        ends: See `limits`.
        scale: Of the metric.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    if scale == "log":
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        decades = math.log10(ends[1] / ends[0])
        narrow = decades < _NARROW  # 1, 2 and 5 may leave a tick or none
        wide = LogLocator(numticks=6) if decades > 1.5 else LogLocator(subs=(1, 2, 5), numticks=8)
        axis.set_major_locator(MaxNLocator(nbins=4) if narrow else wide)
        axis.set_minor_locator(NullLocator())
        plain = narrow or (ends[0] > 1e-3 and ends[1] < 1e5)
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if plain else power(value)))
    (axes.set_xlim if which == "x" else axes.set_ylim)(*ends)


def power(value: float) -> str:
    """Return a number as a power of ten where it is one, else as a multiple of one.

    >>> power(1e-7), power(2e-7), power(1.0)
    ('10⁻⁷', '2·10⁻⁷', '10⁰')
    """
    digits, _, exponent = f"{value:.0e}".partition("e")
    raised = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return raised if digits == "1" else f"{digits}·{raised}"


def mark_beyond(axes: Axes, value: float, place: float, colour: str) -> bool:
    """Draw an arrow at the end of the horizontal axis, with the value that lies beyond it; whether one does.

    Args:
        axes: With its limits set.
        value: In units of the axis.
        place: On the vertical axis.
        colour: Of the arrow.
    """
    low, high = axes.get_xlim()
    if low <= value <= high:
        return False
    at, inward, side = (0.0, 1, "left") if value < low else (1.0, -1, "right")
    axes.annotate(
        short(float(value)),
        (at, place),
        xycoords=("axes fraction", "data"),
        xytext=(inward * _ARROW, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=7,
        arrowprops={"arrowstyle": "->", "color": colour, "shrinkA": 0, "shrinkB": 0},
        zorder=4,
    )
    return True


def mark_below(axes: Axes, told: Sequence[tuple[str, float, str]], direction: str) -> None:
    """Name the lines that end beyond the panel, each with its last value and an arrow to where it is.

    Args:
        axes: With its limits set.
        told: Name, last value and colour of each line.
        direction: Of the metric: the lines leave on the bad side.
    """
    low, high = axes.get_ylim()
    beyond = [line for line in told if math.isfinite(line[1]) and not low <= line[1] <= high]
    at, step = (0.0, 1) if direction == "maximize" else (1.0, -1)
    for count, (name, value, colour) in enumerate(beyond):
        axes.annotate(
            f"{_style.label(name, 14)} {short(float(value))}",
            (0.97, at),
            xycoords="axes fraction",
            xytext=(-8, step * (5 + 9 * count)),
            textcoords="offset points",
            ha="right",
            va="bottom" if step > 0 else "top",
            fontsize=7,
            zorder=5,
        )
        axes.annotate(
            "",
            (0.97, at),
            xycoords="axes fraction",
            xytext=(0, step * (14 + 9 * count)),
            textcoords="offset points",
            arrowprops={"arrowstyle": "->", "color": colour},
        )


def line_limits(
    lines: Sequence[Floats], direction: str, scale: Scale, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """Return the ends of the vertical axis for lines that fall or rise from a start that would squeeze their ends.

    Args:
        lines: Values along each line, any length each.
        direction: Of the metric.
        scale: Of the axis.
        bounds: Between which the metric lies.
    """
    kept = [line[np.isfinite(line)] for line in lines]
    kept = [line for line in kept if len(line)]
    if not kept:
        return 0.0, 1.0
    floor = floor_of(np.concatenate(kept))
    scaled = [on_scale(line, scale, floor) for line in kept]
    low, high = ordinary([line[-1] for line in scaled])
    shown = np.concatenate([line for line in scaled if low <= line[-1] <= high])
    worse, best = np.quantile(shown, [0.1, 1.0] if direction == "maximize" else [0.9, 0.0])
    worse = min(worse, low) if direction == "maximize" else max(worse, high)
    values = np.array([worse, best])
    return limits(np.exp(values) if scale == "log" else values, [], scale, bounds)
