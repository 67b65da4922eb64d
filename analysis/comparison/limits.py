"""Optimizers that contain others: one becomes the other in a limit of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.comparison.workload_runs import WorkloadRuns
from analysis.study import Study

DECAY = "weight_decay"


@dataclass(frozen=True, slots=True)
class Inclusion:
    """One optimizer that contains another.

    Attributes:
        larger: Its key.
        smaller: That of the other.
        words: In which limit the one becomes the other.
        searched: What of the larger must be searched for that.
        fixed: What of the smaller must not be searched, each with its value: other values are not contained.
    """

    larger: str
    smaller: str
    words: str
    searched: tuple[str, ...]
    fixed: Mapping[str, object] = field(default_factory=dict)


_HEAVY_BALL = {"nesterov": False}  # Nesterov's step is in no limit of these
# Adam too becomes SGD with momentum, as ε grows with η/ε held (Choi 2019). But where its ranges end, at 0.1 for η/ε, it
# does not reach SGD's own default, 0.05 / (1 - 0.9): as it is searched it contains too little of SGD for this rule.
INCLUSIONS = (
    Inclusion("sofim", "sgd", "as ρ grows with η/ρ held, SOFIM becomes SGD with momentum", ("lr", "rho"), _HEAVY_BALL),
    Inclusion(
        "sofim-tensor", "sgd", "as ρ grows with η/ρ held, SOFIM becomes SGD with momentum", ("lr", "rho"), _HEAVY_BALL
    ),
    Inclusion("adamw", "adam", "without weight decay both are Adam", (DECAY,)),
)


def limit(contest: WorkloadRuns, larger: str, smaller: str) -> str:
    """Return in which limit one optimizer becomes another on a workload; empty where it does not.

    It does not where a parameter that the limit needs is fixed, where the smaller one searches what has no place in the
    larger one, or where the smaller one decays weights as the larger one does not.
    """
    found = next((one for one in INCLUSIONS if (one.larger, one.smaller) == (larger, smaller)), None)
    studies = {study.optimizer: study for study in contest.studies}
    if found is None or not {larger, smaller} <= studies.keys():
        return ""
    large, small = studies[larger], studies[smaller]
    known, missing = _declared(small), object()
    contained = all(small.fixed.get(name, missing) == value for name, value in found.fixed.items() if name in known)
    reached = not set(found.searched) & set(large.fixed)
    return found.words if contained and reached and _decays_alike(large, small) else ""


def _declared(study: Study) -> Mapping[str, Any]:
    """Return the parameters that a study's search space has, as far as it is stored."""
    space = study.attributes.get("search_space")
    declared = space.get("parameters") if isinstance(space, Mapping) else None
    return declared if isinstance(declared, Mapping) else {}


def _decays_alike(large: Study, small: Study) -> bool:
    """Return whether the larger one can decay weights as the smaller one does, as far as the studies tell."""
    if not _declared(large) or not _declared(small):
        return True
    value = small.fixed.get(DECAY) if DECAY in _declared(small) else 0
    if value == 0:
        return DECAY not in _declared(large) or large.fixed.get(DECAY, 0) == 0  # a range ends where it does nothing
    kinds = [(study.attributes["search_space"].get("decays") or [None])[0] for study in (large, small)]
    return DECAY in _declared(large) and kinds[0] == kinds[1] and large.fixed.get(DECAY, value) == value
