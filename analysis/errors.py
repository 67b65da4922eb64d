"""Errors of the analysis that are the user's to mend."""

from __future__ import annotations


class AnalysisError(ValueError):
    """Something that cannot be analysed: one line that names the thing and the remedy."""
