"""What tuning gains over the default."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.sensitivity.tunability import ALL

_MOST = 20


def draw(subject: Subject) -> Drawn | None:
    """Draw gains of tuning all parameters together and each alone, with intervals."""
    table = subject.findings.tunability
    if not len(table):
        return None
    alone = table[table["parameter"] != ALL].sort_values("gain").tail(_MOST)
    rows = [*alone.to_dict("records"), *table[table["parameter"] == ALL].to_dict("records")]
    figure, axes = _style.canvas(0.8 + 0.28 * len(rows))
    for place, row in enumerate(rows):
        errors = [[max(0.0, row["gain"] - row["gain_low"])], [max(0.0, row["gain_high"] - row["gain"])]]
        axes.errorbar(
            [row["gain"]],
            [place],
            xerr=errors,
            fmt="D" if row["parameter"] == ALL else "o",
            markersize=5 if row["parameter"] == ALL else 4.5,
            elinewidth=1.2,
            color=subject.colour,
        )
    axes.axvline(0.0, color=_style.INK, linewidth=0.8)
    names = ["all together" if row["parameter"] == ALL else _style.label(row["parameter"]) for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(
        f"predicted gain in {_style.label(subject.study.tuned_metric, 30)} over the default\n(right is better)"
    )
    return Drawn(
        "Tunability",
        "What tuning gains over the default, in units of the metric: all parameters together, and each alone with the "
        "others at their default (Probst, Boulesteix and Bischl 2019). Each refit judges what all the others choose, "
        f"so that luck is no gain: an interval that reaches 0 shows none. {subject.resampled}",
        [Panel("", figure)],
    )
