"""Optimizers that contain others: one becomes the other in a limit of its parameters."""

from __future__ import annotations

from analysis.comparison.workload_runs import WorkloadRuns

# larger, smaller, in which limit the one becomes the other, and what of the larger must be searched for that
INCLUSIONS = (
    ("sofim", "sgd", "as ρ grows with η/ρ held, SOFIM becomes SGD with momentum", ("lr", "rho")),
    ("sofim-tensor", "sgd", "as ρ grows with η/ρ held, SOFIM becomes SGD with momentum", ("lr", "rho")),
    ("adamw", "adam", "without weight decay both are Adam", ("weight_decay",)),
)


def limit(contest: WorkloadRuns, larger: str, smaller: str) -> str:
    """Return in which limit one optimizer becomes another on a workload; empty where it does not.

    It does not where a parameter that the limit needs is fixed.
    """
    for one, other, words, needed in INCLUSIONS:
        if (one, other) == (larger, smaller):
            fixed = next((study.fixed for study in contest.studies if study.optimizer == larger), {})
            return "" if set(needed) & set(fixed) else words
    return ""
