"""Which optimizer is better, and how sure that is: statistics of a campaign whose winners were confirmed."""

from analysis.comparison._compare import ENDS, FAIRNESS, SCORES, VERSUS, Comparison, compare
from analysis.comparison.leaderboard import leaderboard

__all__ = ["ENDS", "FAIRNESS", "SCORES", "VERSUS", "Comparison", "compare", "leaderboard"]
