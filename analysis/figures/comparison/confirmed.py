"""What the winners gave on fresh seeds."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import View, forest

_BROKEN = 10.0  # interquartile ranges from the middle beyond which a broken run is drawn at the edge


def draw(view: View) -> Drawn | None:
    """Every confirmation run, and each optimizer's mean with its interval, best first."""
    board = view.rows("leaderboard")
    board = board[board["runs"] > 0]
    if not len(board):
        return None
    rows = board.to_dict("records")
    column = "test" if view.contest.data == "test" else "validation"
    figure, axes = _style.canvas(0.9 + 0.38 * len(rows))
    rng = np.random.default_rng(0)  # only spreads the dots
    for place, row in enumerate(rows[::-1]):
        runs = view.contest.runs[view.contest.runs["study"] == row["study"]]
        whole = (runs["outcome"] == "complete").to_numpy()
        spread = place + rng.uniform(-0.22, 0.22, len(runs))
        shade = _style.colour(row["optimizer"])
        values = runs[column].to_numpy(dtype=float)
        axes.scatter(values[whole], spread[whole], s=10, color=shade, alpha=0.45, linewidths=0)
        axes.scatter(values[~whole], spread[~whole], s=22, color=shade, marker="x", linewidths=1.1)
    names = [row["optimizer"] for row in rows]
    forest(axes, rows, column, (f"{column}_low", f"{column}_high"), names=names, optimizers=names)
    axes.set_xlabel(view.metric)
    _limit(axes, board[column].to_numpy(dtype=float), view)
    few = " Few runs: the intervals rest on little." if board["few"].any() else ""
    broken = " Crosses are runs that broke; they count with the worst value." if _any_broken(view) else ""
    return Drawn(
        "Confirmed on fresh seeds",
        "Small dots are the confirmation runs of each optimizer's winner, on seeds that nothing was chosen on; the "
        "large mark is their mean with its 95 % interval (Student's t over seeds, each optimizer by itself)."
        f"{broken}{few} Whether two optimizers differ is told by the figure of differences, not by whether these "
        "intervals overlap.",
        [Panel("", figure)],
    )


def _any_broken(view: View) -> bool:
    return bool((view.contest.runs["outcome"] != "complete").any())


def _limit(axes: Axes, means: np.typing.NDArray[np.float64], view: View) -> None:
    """Keep a run that broke from squeezing all others: beyond some ranges the panel ends."""
    column = "test" if view.contest.data == "test" else "validation"
    whole = view.contest.runs[view.contest.runs["outcome"] == "complete"][column].to_numpy(dtype=float)
    whole = whole[np.isfinite(whole)]
    if len(whole) < 4:
        return
    low, middle, high = np.quantile(whole, [0.25, 0.5, 0.75])
    reach = _BROKEN * max(high - low, 1e-12)
    left, right = axes.get_xlim()
    finite = means[np.isfinite(means)]
    least = min(middle - reach, float(finite.min()) if len(finite) else math.inf, float(whole.min()))
    most = max(middle + reach, float(finite.max()) if len(finite) else -math.inf, float(whole.max()))
    margin = 0.03 * (most - least)
    axes.set_xlim(max(left, least - margin), min(right, most + margin))
