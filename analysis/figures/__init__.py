"""The figures of a report: one file and one row of this table a figure."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.figures import (
    ablation,
    dependence,
    divergence,
    importance,
    interactions,
    local,
    pair_map,
    ridge,
    robustness,
    tunability,
)
from analysis.figures._base import Draw, Drawn, Panel, Subject

__all__ = ["FIGURES", "Draw", "Drawn", "Panel", "Subject"]

FIGURES: Mapping[str, Draw] = {
    "importance": importance.draw,
    "dependence": dependence.draw,
    "interactions": interactions.draw,
    "ridge": ridge.draw,
    "map": pair_map.draw,
    "robustness": robustness.draw,
    "local": local.draw,
    "tunability": tunability.draw,
    "ablation": ablation.draw,
    "divergence": divergence.draw,
}
"""Figures of a study, by the name of their files, in the order of the page."""
