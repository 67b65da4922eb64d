"""The figures of a comparison: one file and one row of these tables a figure."""

from __future__ import annotations

from collections.abc import Mapping

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
from analysis.figures.comparison._base import Draw, DrawAll, View

__all__ = ["ACROSS", "FIGURES", "Draw", "DrawAll", "View"]

FIGURES: Mapping[str, Draw] = {
    "confirmed": confirmed.draw,
    "differences": pairwise.draw,
    "convergence": convergence.draw,
    "time-to-target": time_to_target.draw,
    "budget": budget.draw,
    "cost": cost.draw,
}
"""Figures of a workload, by the name of their files, in the order of the page."""

ACROSS: Mapping[str, DrawAll] = {
    "scores": scores.draw,
    "profiles": profile.draw,
    "ranks": ranks.draw,
}
"""Figures of all workloads together."""
