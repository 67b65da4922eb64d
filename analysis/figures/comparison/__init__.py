"""Figures of a comparison; they are listed in `analysis.figures.FIGURES`."""

from analysis.figures.comparison._base import View

__all__ = ["View"]
