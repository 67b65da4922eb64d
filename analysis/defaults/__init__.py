"""From tuned studies to configurations that people take home: per workload, across workloads, and in which order."""

from analysis.defaults.choose import Recommendation
from analysis.defaults.evaluated import Evaluated
from analysis.defaults.measured import Estimate, Measured
from analysis.defaults.pooled import pooled
from analysis.defaults.portfolio import greedy
from analysis.defaults.recommend import Choice, LeftOut, OptimizerDefaults, portfolio_of_all, ran, recommend
from analysis.defaults.surrogates import SEED, SurrogateStudy, common_start, surrogate_study

__all__ = [
    "SEED",
    "Choice",
    "Estimate",
    "Evaluated",
    "LeftOut",
    "Measured",
    "OptimizerDefaults",
    "Recommendation",
    "SurrogateStudy",
    "common_start",
    "greedy",
    "pooled",
    "portfolio_of_all",
    "ran",
    "recommend",
    "surrogate_study",
]
