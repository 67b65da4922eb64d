"""What the winners gave on fresh seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, forest
from analysis.text import listing

_BROKEN = 10.0  # interquartile ranges from the middle beyond which a broken run is drawn at the edge


def draw(view: View) -> Drawn | None:
    """Draw every confirmation run, and each optimizer's mean with its interval, best first."""
    board = view.rows("leaderboard")
    board = board[board["runs"] > 0]
    if not len(board):
        return None
    rows = board.to_dict("records")
    column = "test" if view.contest.data == "test" else "validation"
    figure, axes = _style.canvas(0.9 + 0.38 * len(rows))
    limits = _limits(view, board, column)
    rng = np.random.default_rng(0)  # only spreads the dots
    for place, row in enumerate(rows[::-1]):
        runs = view.contest.runs[view.contest.runs["study"] == row["study"]]
        whole = (runs["outcome"] == "complete").to_numpy()
        spread = place + rng.uniform(-0.22, 0.22, len(runs))
        shade = _style.colour(row["optimizer"])
        values = runs[column].to_numpy(dtype=float).clip(*limits)
        axes.scatter(values[whole], spread[whole], s=10, color=shade, alpha=0.45, linewidths=0)
        axes.scatter(values[~whole], spread[~whole], s=22, color=shade, marker="x", linewidths=1.1, clip_on=False)
    names = [row["optimizer"] for row in rows]
    forest(axes, rows, column, (f"{column}_low", f"{column}_high"), names=names, optimizers=names)
    axes.set_xlabel(view.metric)
    axes.set_xlim(*limits)
    few = " Few runs: the intervals rest on little." if board["few"].any() else ""
    broken = (
        " Crosses are runs that broke; they count with the worst value, which may lie beyond the panel."
        if _any_broken(view)
        else ""
    )
    return Drawn(
        "Confirmed on fresh seeds",
        "Small dots are the confirmation runs of each optimizer's winners, on seeds that nothing was chosen on; the "
        f"large mark is their {listing(list(dict.fromkeys(board['statistic'])))} with its 95 % interval, over "
        f"{listing(list(dict.fromkeys(board['over'])))}, each optimizer by itself."
        f"{broken}{few} Whether two optimizers differ is told by the figure of differences, not by whether these "
        "intervals overlap.",
        [Panel("", figure)],
    )


def _any_broken(view: View) -> bool:
    return bool((view.contest.runs["outcome"] != "complete").any())


def _limits(view: View, board: pd.DataFrame, column: str) -> tuple[float, float]:
    """Return the ends of the panel: complete runs, means and, as far as the rest stays readable, their intervals."""
    runs = view.contest.runs
    whole = runs.loc[runs["outcome"] == "complete", column].to_numpy(dtype=float)
    shown = np.concatenate([whole, board[column].to_numpy(dtype=float)])
    shown = shown[np.isfinite(shown)]
    if not len(shown):
        return 0.0, 1.0
    low, middle, high = np.quantile(shown, [0.25, 0.5, 0.75])
    reach = _BROKEN * (high - low)
    ends = board[[f"{column}_low", f"{column}_high"]].to_numpy(dtype=float)
    ends = ends[np.isfinite(ends)].clip(middle - reach, middle + reach)
    shown = np.concatenate([shown, ends])
    least, most = shown.min(), shown.max()
    margin = 0.04 * ((most - least) or abs(most) or 1.0)
    return float(least - margin), float(most + margin)
