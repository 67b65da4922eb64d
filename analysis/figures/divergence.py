"""Where runs diverge."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject
from analysis.figures.pair_map import paint


def draw(subject: Subject) -> Drawn | None:
    """A map of the predicted share over the two parameters that decide most of it."""
    table, shares = subject.findings.tables["divergence"], subject.findings.diverged
    if not len(table) or shares is None:
        return None
    figure, axes = _style.canvas(3.6)
    across = "rho" if {table["parameter_a"].iloc[0], table["parameter_b"].iloc[0]} == {"lr", "rho"} else None
    paint(
        subject,
        axes,
        table,
        across=across or table["parameter_a"].iloc[0],
        value="share",
        what="share that diverges",
    )
    return Drawn(
        "Where runs diverge",
        f"Share of runs that diverge, predicted by a random forest of all trials used, over the two parameters that "
        f"decide most of it, averaged over the others; crosses are trials that diverged. Of the trials "
        f"{100 * shares[0]:.0f} % diverged, of the whole space {100 * shares[1]:.0f} % are predicted to. "
        "Nothing was resampled.",
        [Panel("", figure)],
    )
