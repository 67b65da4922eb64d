"""What in a campaign's searches speaks against trusting them, each with the line or the command that mends it.

A flag is a fact about how a search was made, told from its trials alone; `benchmarks/audit.py` measures how often a
planted fault is flagged, and how often a search without one. Nothing is said of a search that is not finished.

Values are ordered, or their gains compared with each other, on the scale of the metric (see
:mod:`analysis.metric_scale`): its sign, offset and unit change no flag.
"""

from analysis.audit._flags import Flag, as_table, audit, shown
from analysis.audit._looks import KINDS

__all__ = ["KINDS", "Flag", "as_table", "audit", "shown"]
