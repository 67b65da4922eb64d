"""Which pairs of parameters interact."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject

_MOST = 10


def draw(subject: Subject) -> Drawn | None:
    """Second-order shares of the pairs that have most, with intervals."""
    table = subject.findings.interactions
    if not subject.findings.conclusive or not len(table):
        return None
    rows = table.head(_MOST).iloc[::-1]
    figure, axes = _style.canvas(0.8 + 0.26 * len(rows))
    low, high = rows["share"] - rows["share_low"], rows["share_high"] - rows["share"]
    axes.errorbar(
        rows["share"],
        range(len(rows)),
        xerr=[low.clip(lower=0), high.clip(lower=0)],
        fmt="o",
        markersize=4.5,
        elinewidth=1.2,
        color=subject.colour,
    )
    names = zip(rows["parameter_a"], rows["parameter_b"], strict=True)
    axes.set_yticks(range(len(rows)), [f"{_style.label(a, 13)} × {_style.label(b, 13)}" for a, b in names])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.set_xlabel("share of the explained variance")
    more = f" The {_MOST} largest of {len(table)} pairs." if len(table) > _MOST else ""
    return Drawn(
        "Interactions",
        "Share that two parameters explain together, beyond what each explains alone (second-order Sobol index): where "
        f"it is large, tune the two together.{more} {subject.resampled}",
        [Panel("", figure)],
    )
