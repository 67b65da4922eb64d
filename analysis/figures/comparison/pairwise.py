"""Which optimizers differ."""

from __future__ import annotations

from analysis.comparison.searches import RUNS, SEARCHES, TRIALS
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, forest
from analysis.text import listing

_MOST = 28
_OVER = {
    SEARCHES: "Welch's t over the means of searches",
    TRIALS: "what other trials and seeds of the same search would have given, by the bootstrap in closed form",
    RUNS: "Welch's t over the runs of two configurations, which tells nothing of optimizers searched once",
}


def draw(view: View) -> Drawn | None:
    """Differences of means of all pairs, with corrected intervals."""
    table = view.rows("comparisons")
    table = table[table["gain_low"].notna()]
    if not len(table):
        return None
    rows = table.head(_MOST).to_dict("records")
    scale = view.contest.scale
    nothing = 1.0 if scale == "log" else 0.0
    figure, axes = _style.canvas(0.8 + 0.27 * len(rows))
    names = [f"{_style.label(row['a'], 11)} − {_style.label(row['b'], 11)}" for row in rows]
    forest(axes, rows, "gain", ("gain_low", "gain_high"), names=names, scale=scale, also=[nothing])
    axes.axvline(nothing, color=_style.INK, linewidth=0.8)
    what = _style.label(view.contest.label, 18)
    unit = f"times better in {what}" if scale == "log" else f"gain in {what}"
    axes.set_xlabel(f"{unit}\n(right: the first is better)")
    more = f" The first {_MOST} of {len(table)} pairs." if len(table) > _MOST else ""
    units = listing([_OVER[unit] for unit in dict.fromkeys(table["unit"])])
    cancelled = (
        " A difference by which an optimizer loses to one that it contains tells of its search alone."
        if (table["cancelled"] != "").any()
        else ""
    )
    return Drawn(
        "Differences",
        f"How much better the first is: {units}, corrected by Holm's step-down for the number of pairs: with 95 % no "
        f"interval of this panel that should hold {nothing:g} leaves it out. Where one holds {nothing:g}, no "
        f"difference could be shown. An arrow with a number: the value lies beyond the panel.{cancelled}{more}",
        [Panel("", figure)],
    )
