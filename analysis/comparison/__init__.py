"""Which optimizer is better, and how sure that is: statistics of a campaign whose winners were confirmed."""

from analysis.comparison._compare import Comparison, compare
from analysis.comparison.leaderboard import leaderboard

__all__ = ["Comparison", "compare", "leaderboard"]
