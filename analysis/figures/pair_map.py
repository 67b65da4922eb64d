"""The metric over the two parameters that interact most."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from analysis.figures import _axis, _style
from analysis.figures._base import Drawn, Panel, Subject, marks_in_words, places, points
from analysis.sensitivity import scales
from analysis.sensitivity.surrogate import BINS, Floats


def draw(subject: Subject) -> Drawn | None:
    """Draw a map; none where it would be that of lr and rho, which has a figure of its own."""
    table = subject.findings.tables["map"]
    if not len(table):
        return None
    pair = table["parameter_a"].iloc[0], table["parameter_b"].iloc[0]
    if len(subject.findings.tables["coordinates_map"]) and set(pair) == {"lr", "rho"}:
        return None
    figure, axes = _style.canvas(3.6)
    paint(subject, axes, table, across=pair[0], value="predicted", what=subject.metric)
    return Drawn(
        "The two parameters that interact most",
        f"What the surrogate predicts for {pair[0]} and {pair[1]}, averaged over all other parameters; lighter is "
        f"better. {marks_in_words(subject)}; the triangle is the default, the star the best configuration. The mean "
        f"over {subject.num_refits} refits to trials drawn with replacement; the table map has the bands.",
        [Panel("", figure)],
    )


def paint(subject: Subject, axes: Axes, table: pd.DataFrame, *, across: str, value: str, what: str) -> None:
    """Paint a table of cells over two parameters, with the trials, the default and the best configuration.

    Args:
        subject: Whose trials.
        axes: An empty panel.
        table: Columns ``parameter_a``, ``parameter_b``, ``value_a``, ``value_b`` and ``value``, ordered by rows.
        across: The parameter on the horizontal axis, one of the two.
        value: The column to paint.
        what: Its name on the colour bar.
    """
    first, second = table["parameter_a"].iloc[0], table["parameter_b"].iloc[0]
    rows = len(scales.grid(subject.parameter(first), BINS))  # values may be equal where a range has few numbers
    cells = table[value].to_numpy(dtype=float).reshape(rows, -1)  # rows of the first parameter
    upward = second if across == first else first
    image = cells.T if across == first else cells
    light_is_better = subject.study.direction == "maximize"
    colours = "rocket_r" if value == "share" else _style.MAP if light_is_better else f"{_style.MAP}_r"
    least, most = (0.0, 1.0) if value == "share" else _contrast(image, subject.study.direction)
    used = subject.findings.used
    decades = value != "share" and used is not None and used.scale == "log" and least > 0
    painted = axes.imshow(
        image,
        origin="lower",
        extent=(0, 1, 0, 1),
        aspect="auto",
        cmap=colours,
        interpolation="nearest",
        norm=LogNorm(least, most) if decades else Normalize(least, most),
    )
    axes.grid(visible=False)
    _axis.set_axis(axes, "x", subject.parameter(across))
    _axis.set_axis(axes, "y", subject.parameter(upward))
    points(subject, axes, across, upward, on_map=True)
    for kind, mark, size in (("default", "^", 7), ("best", "*", 11)):
        x, y = (places(subject, name).get(kind) for name in (across, upward))
        if x is not None and y is not None:
            axes.plot([x], [y], mark, markersize=size, color="white", markeredgecolor="black", zorder=5, clip_on=False)
    bar = axes.figure.colorbar(painted, ax=axes, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(what)


def _contrast(image: Floats, direction: str) -> tuple[float, float]:
    """Colours for the good nine tenths: a few very bad cells would leave one colour for all others."""
    if direction == "maximize":
        return float(np.quantile(image, 0.1)), float(image.max())
    return float(image.min()), float(np.quantile(image, 0.9))
