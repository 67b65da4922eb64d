"""From tuned studies to configurations that people take home: per workload, across workloads, and in which order."""

from analysis.defaults.evaluated import Evaluated
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
from analysis.defaults.surrogates import SurrogateStudy, common_start, surrogate_study

__all__ = [
    "Choice",
    "Estimate",
    "Evaluated",
    "LeftOut",
    "OptimizerDefaults",
    "Recommendation",
    "SurrogateStudy",
    "common_start",
    "greedy",
    "portfolio_of_all",
    "recommend",
    "surrogate_study",
]
