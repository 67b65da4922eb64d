"""Which optimizers differ."""

from __future__ import annotations

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, forest

_MOST = 28


def draw(view: View) -> Drawn | None:
    """Differences of means of all pairs, with corrected intervals."""
    table = view.rows("comparisons")
    table = table[table["difference_low"].notna()]
    if not len(table):
        return None
    rows = table.head(_MOST).to_dict("records")
    figure, axes = _style.canvas(0.8 + 0.27 * len(rows))
    names = [f"{_style.label(row['a'], 11)} − {_style.label(row['b'], 11)}" for row in rows]
    forest(axes, rows, "difference", ("difference_low", "difference_high"), names=names)
    axes.axvline(0.0, color=_style.INK, linewidth=0.8)
    side = "right" if view.contest.direction == "maximize" else "left"
    axes.set_xlabel(f"difference in {_style.label(view.contest.label, 18)}\n({side}: the first is better)")
    more = f" The first {_MOST} of {len(table)} pairs." if len(table) > _MOST else ""
    return Drawn(
        "Differences",
        "Difference of the means over confirmation runs, with Welch's t interval, corrected by Holm's step-down for "
        "the number of pairs: with 95 % no interval of this panel that should hold 0 leaves it out. Where one holds 0, "
        f"no difference could be shown.{more}",
        [Panel("", figure)],
    )
