"""The figures of a report: one file and one row of this table a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from analysis.figures import (
    ablation,
    atlas,
    dependence,
    divergence,
    importance,
    interactions,
    local,
    near_optimal,
    pair_map,
    ridge,
    robustness,
    tunability,
)
from analysis.figures._base import Drawn, FigureKind, Panel, Subject
from analysis.figures.comparison import (
    budget,
    confirmed,
    convergence,
    cost,
    pairwise,
    profile,
    ranks,
    scores,
    time_to_target,
)

__all__ = ["FIGURES", "Drawn", "FigureKind", "Panel", "Subject", "of_each"]

FIGURES: Mapping[str, FigureKind] = {
    "importance": FigureKind("study", importance.draw),
    "dependence": FigureKind("study", dependence.draw),
    "interactions": FigureKind("study", interactions.draw),
    "ridge": FigureKind("study", ridge.draw),
    "map": FigureKind("study", pair_map.draw),
    "robustness": FigureKind("study", robustness.draw),
    "local": FigureKind("study", local.draw),
    "tunability": FigureKind("study", tunability.draw),
    "ablation": FigureKind("study", ablation.draw),
    "divergence": FigureKind("study", divergence.draw),
    "near-optimal": FigureKind("optimizer", near_optimal.draw),
    "confirmed": FigureKind("workload", confirmed.draw),
    "differences": FigureKind("workload", pairwise.draw),
    "convergence": FigureKind("workload", convergence.draw),
    "time-to-target": FigureKind("workload", time_to_target.draw),
    "budget": FigureKind("workload", budget.draw),
    "cost": FigureKind("workload", cost.draw),
    "scores": FigureKind("campaign", scores.draw),
    "profiles": FigureKind("campaign", profile.draw),
    "ranks": FigureKind("campaign", ranks.draw),
    "steps": FigureKind("atlas", atlas.steps),
    "rho": FigureKind("atlas", atlas.rho),
    "widths": FigureKind("atlas", atlas.widths),
}
"""All figures, by the name of their files, in the order of the page."""


def of_each(scope: str) -> dict[str, Callable[..., Drawn | None]]:
    """Return what draws the figures that there is one of for each ``scope``, by name."""
    return {name: figure.draw for name, figure in FIGURES.items() if figure.scope == scope}
