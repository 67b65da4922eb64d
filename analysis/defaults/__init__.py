"""From tuned studies to configurations that people take home: per workload, across workloads, and in which order."""

from analysis.defaults.landscape import Landscape, common_start, landscape
from analysis.defaults.measured import Measured
from analysis.defaults.portfolio import greedy
from analysis.defaults.recommend import (
    Choice,
    Estimate,
    LeftOut,
    OptimizerDefaults,
    Recommendation,
    portfolio_of_all,
    recommend,
)

__all__ = [
    "Choice",
    "Estimate",
    "Landscape",
    "LeftOut",
    "Measured",
    "OptimizerDefaults",
    "Recommendation",
    "common_start",
    "greedy",
    "landscape",
    "portfolio_of_all",
    "recommend",
]
