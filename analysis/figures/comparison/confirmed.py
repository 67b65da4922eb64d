"""What the winners gave on fresh seeds."""

from __future__ import annotations

import numpy as np

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, forest
from analysis.text import listing


def draw(view: View) -> Drawn | None:
    """Draw every confirmation run, and each optimizer's mean with its interval, best first."""
    board = view.rows("leaderboard")
    board = board[board["runs"] > 0]
    if not len(board):
        return None
    rows = board.to_dict("records")
    column = "test" if view.contest.data == "test" else "validation"
    figure, axes = _style.canvas(0.9 + 0.38 * len(rows))
    names = [row["optimizer"] for row in rows]
    runs = view.contest.runs
    whole = runs.loc[runs["outcome"] == "complete", column].to_numpy(dtype=float)
    forest(
        axes,
        rows,
        column,
        (f"{column}_low", f"{column}_high"),
        names=names,
        looks=[view.looks[name] for name in names],
        scale=view.scale,
        bounds=view.bounds,
        also=whole.tolist(),
    )
    rng = np.random.default_rng(0)  # only spreads the dots
    for place, row in enumerate(rows[::-1]):
        own = runs[runs["study"] == row["study"]]
        complete = (own["outcome"] == "complete").to_numpy()
        spread = place + rng.uniform(-0.22, 0.22, len(own))
        shade = view.looks[row["optimizer"]].colour
        values = own[column].to_numpy(dtype=float)
        inside = values.clip(*axes.get_xlim())
        beyond = inside != values
        dots = (("o", 10, complete & ~beyond), ("x", 22, ~complete))
        for mark, size, here in (
            *dots,
            ("<", 12, complete & (values < inside)),
            (">", 12, complete & (values > inside)),
        ):
            axes.scatter(
                inside[here],
                spread[here],
                s=size,
                color=shade,
                marker=mark,
                alpha=1.0 if mark == "x" else 0.45,
                linewidths=1.1 if mark == "x" else 0,
                clip_on=False,
            )
    axes.set_xlabel(view.metric)
    few = " Few runs: the intervals rest on little." if board["few"].any() else ""
    broken = (
        " Crosses are runs that broke; they count with the worst value, which may lie beyond the panel."
        if _any_broken(view)
        else ""
    )
    return Drawn(
        "Confirmed on fresh seeds",
        "Small dots are the confirmation runs of each optimizer's winners, on seeds that no search saw; the "
        f"large mark is their {listing(list(dict.fromkeys(board['statistic'])))} with its 95 % interval, over "
        f"{listing(list(dict.fromkeys(board['over'])))}, each optimizer by itself. What lies beyond the panel is drawn "
        "at its end as an arrow, the large mark with its value."
        f"{broken}{few} Whether two optimizers differ is told by the figure of differences, not by whether these "
        "intervals overlap.",
        [Panel("", figure)],
    )


def _any_broken(view: View) -> bool:
    return bool((view.contest.runs["outcome"] != "complete").any())
