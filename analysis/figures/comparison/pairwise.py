"""Which optimizers differ."""

from __future__ import annotations

from analysis.comparison.pairwise import RUNS, SEARCHES, TRIALS
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, forest
from analysis.text import listing

_MOST = 28
_OVER = {
    SEARCHES: "Welch's t over the means of searches",
    TRIALS: "what other trials and seeds of the same search would have given, by the ideal bootstrap",
    RUNS: "Welch's t over the runs of two configurations, which tells nothing of optimizers searched once",
}


def draw(view: View) -> Drawn | None:
    """Differences of means of all pairs, with corrected intervals."""
    table = view.rows("comparisons")
    table = table[table["difference_low"].notna()]
    if not len(table):
        return None
    rows = table.head(_MOST).to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.27 * len(rows))
    names = [f"{_style.label(row['a'], 11)} − {_style.label(row['b'], 11)}" for row in rows]
    is_ratio = view.contest.scale == "log"
    forest(axes, rows, "gain", ("gain_low", "gain_high"), names=names)
    axes.axvline(1.0 if is_ratio else 0.0, color=_style.INK, linewidth=0.8)
    what = _style.label(view.contest.label, 18)
    if is_ratio:
        axes.set_xscale("log")
    unit = f"times better in {what}" if is_ratio else f"gain in {what}"
    axes.set_xlabel(f"{unit}\n(right: the first is better)")
    more = f" The first {_MOST} of {len(table)} pairs." if len(table) > _MOST else ""
    units = listing([_OVER[unit] for unit in dict.fromkeys(table["unit"])])
    none = "1" if is_ratio else "0"
    cancelled = (
        " A difference by which an optimizer loses to one that it contains tells of its search alone."
        if (table["cancelled"] != "").any()
        else ""
    )
    return Drawn(
        "Differences",
        f"How much better the first is: {units}, corrected by Holm's step-down for the number of pairs: with 95 % no "
        f"interval of this panel that should hold {none} leaves it out. Where one holds {none}, no difference could be "
        f"shown.{cancelled}{more}",
        [Panel("", figure)],
    )
