"""What a small slip around the best configuration costs."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.sensitivity.robustness import STEP

_MOST = 20


def draw(subject: Subject) -> Drawn | None:
    """Draw mean loss when one parameter moves by up to a tenth of its range."""
    table = subject.findings.tables["local"]
    if not len(table):
        return None
    rows = table.sort_values("loss").tail(_MOST)
    figure, axes = _style.canvas(0.8 + 0.26 * len(rows))
    axes.errorbar(
        rows["loss"],
        range(len(rows)),
        xerr=[(rows["loss"] - rows["loss_low"]).clip(lower=0), (rows["loss_high"] - rows["loss"]).clip(lower=0)],
        fmt="o",
        markersize=4.5,
        elinewidth=1.2,
        color=subject.colour,
    )
    axes.axvline(0.0, color=_style.INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [_style.label(name) for name in rows["parameter"]])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("mean predicted loss, percent")
    return Drawn(
        "Local sensitivity",
        f"What is lost on average when one parameter moves by up to {100 * STEP:g} % of its searched range to either "
        "side of the best configuration (a category: to any other choice), all others held, against the best that is "
        "predicted within that reach; percent as in the "
        f"sentences on robustness. {subject.resampled}",
        [Panel("", figure)],
    )
