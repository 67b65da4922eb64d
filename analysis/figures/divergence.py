"""Where runs diverge, or do not work for another cause."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel, Subject, marks_in_words
from analysis.figures.pair_map import paint

_PHRASES = {
    "diverged": "diverge",
    "infeasible": "are infeasible",
    "infinite": "are infinitely bad",
    "penalty": "have a penalty",
}


def draw(subject: Subject) -> Drawn | None:
    """Draw a map of the predicted share over the two parameters that decide most of it."""
    table, shares = subject.findings.tables["divergence"], subject.findings.diverged
    used = subject.findings.used
    if not len(table) or shares is None or used is None:
        return None
    phrase = " or ".join(_PHRASES[cause] for cause in used.causes)
    past = "diverged" if used.causes == ("diverged",) else phrase
    figure, axes = _style.canvas(3.6)
    across = "rho" if {table["parameter_a"].iloc[0], table["parameter_b"].iloc[0]} == {"lr", "rho"} else None
    paint(
        subject,
        axes,
        table,
        across=across or table["parameter_a"].iloc[0],
        value="share",
        what="share that diverges" if used.causes == ("diverged",) else f"share of trials that {phrase}",
    )
    return Drawn(
        f"Where {'runs' if 'diverged' in used.causes else 'trials'} {phrase}",
        f"Share of runs that {phrase}, predicted by a random forest of all trials used, over the two parameters that "
        f"decide most of it, averaged over the others. {marks_in_words(subject)}. Of the trials "
        f"{100 * shares[0]:.0f} % {past}, of the whole space {100 * shares[1]:.0f} % are predicted to. "
        "Nothing was resampled.",
        [Panel("", figure)],
    )
