"""The best optimizer and its configuration for one workload, within a budget: ``studies.tune`` and ``sofim tune``.

One study whose first parameter is the optimizer and whose others depend on it runs until the budget is spent or no
improvement is expected; then its winner is run again on fresh seeds. What it begins with is never pruned.
"""

from studies.commands.budget import Budget, parse_budget
from studies.commands.tuning._tune import tune, tune_within
from studies.commands.tuning._tuned import Estimate, Tried, Tuned

__all__ = ["Budget", "Estimate", "Tried", "Tuned", "parse_budget", "tune", "tune_within"]
