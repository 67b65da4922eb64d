"""Performance profiles of times to target."""

from __future__ import annotations

from analysis.comparison import Comparison
from analysis.figures import _style
from analysis.figures._base import Drawn, Panel
from analysis.figures.comparison._base import AXES, legend, looks_in


def draw(comparison: Comparison) -> Drawn | None:
    """Draw a panel an axis: the share of workloads on which an optimizer is within a factor of the fastest."""
    table, scores = comparison.tables["performance_profile"], comparison.tables["profile_score"]
    panels = []
    for axis in AXES:
        rows = table[table["axis"] == axis]
        score = scores[scores["axis"] == axis]
        if not len(rows) or (axis == "seconds" and not score["comparable"].astype(bool).all()):
            continue
        figure, axes = _style.canvas(2.9)
        for row in score.to_dict("records"):
            optimizer = row["optimizer"]
            own = rows[rows["optimizer"] == optimizer].sort_values("tau")
            axes.step(
                own["tau"],
                own["share"],
                where="post",
                **looks_in(comparison)[optimizer].line,
                label=f"{_style.label(optimizer)} {row['score']:.2f}",
            )
        axes.set_xlim(1, 4)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(f"τ, times the fewest {AXES[axis]} to the target")
        axes.set_ylabel("share of workloads")
        legend(figure, [f"{_style.label(name)} 0.00" for name in score["optimizer"]])
        panels.append(Panel(axis, figure))
    if not panels:
        return None
    return Drawn(
        "Performance profiles",
        "Share of workloads on which the optimizer's median time to target is at most τ times that of the fastest "
        "(Dolan and Moré 2002). The number is AlgoPerf's score, the mean of the profile from τ = 1 to 4; "
        "the table profile_score has its interval (stratified bootstrap of what was repeated, 95 % for all together).",
        panels,
    )
