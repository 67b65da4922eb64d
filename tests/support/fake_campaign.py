"""Campaigns that cost nothing: real names, search spaces and database, but the outcomes are what a test writes down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign
from studies.ledger import Ledger, open_search
from studies.trials import Assignment
from studies.workloads import WORKLOADS

Outcome = float | str | tuple[str, float]
"""A value of a trial that is complete; ``("pruned", value)``; ``"diverged"``, ``"failed: why"``, or ``"running"``."""


def campaign(**changes: Any) -> CampaignPlan:
    """A plan; its spaces are whole, however few its trials, unless ``whole`` is false."""
    initial = changes.pop("initial", {})
    fields = {
        "name": "fake",
        "workloads": ["digits-mlp", "breast-cancer-logreg"],
        "optimizers": ["sofim", "sgd"],
        "trials": 2,
        "sampler": "random",
        "pruner": "none",
    }
    whole = changes.pop("whole", True)
    return replace(CampaignPlan.of(fields | changes, whole=whole), initial=initial)


def open_ledger(url: str, made: CampaignPlan) -> Ledger:
    resolved = ResolvedCampaign(made, {name: WORKLOADS[name] for name in made.campaign.workloads})
    return open_search(url, made.stored(), resolved.study_plans(), {"torch": "x"})


def play(ledger: Ledger, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Asks trials until each study has had its outcomes, by ``workload/optimizer``.

    The ledger interleaves studies: trials that it gives in between, and that have no outcome here, are left running.
    """
    left = {name: list(listed) for name, listed in outcomes.items()}
    while any(left.values()):
        assignment = ledger.ask()
        assert assignment is not None, f"no trial left for {left}"
        listed = left.get(f"{assignment.workload}/{assignment.optimizer}")
        if listed:
            end(ledger, assignment, listed.pop(0))


def end(ledger: Ledger, assignment: Assignment, outcome: Outcome, *, seconds: float = 0.5) -> None:
    facts = {"device": "cpu"}
    word, value = outcome if isinstance(outcome, tuple) else (outcome, 0.5)
    if isinstance(word, str):
        what, _, why = word.partition(": ")
        if what == "failed":
            ledger.end(assignment, "failed", failure=f"Traceback (most recent call last):\n  ...\n{why}")
            return
        ledger.report(assignment, record(1, math.nan if what == "diverged" else value, seconds))
        if what == "diverged":
            ledger.end(assignment, "diverged", facts)
        elif what == "pruned":
            ledger.end(assignment, "pruned", facts)
        else:
            assert what == "running", what
        return
    ledger.report(assignment, record(1, word, seconds))
    ledger.end(assignment, "complete", facts)


def record(epoch: int, metric: float, seconds: float) -> dict[str, float]:
    return {
        "epoch": epoch,
        "seconds": seconds,
        "gradient_evaluations": 10,
        "train_loss": 1.0,
        "validation_loss": 1.0,
        "metric": metric,
    }


def make(url: str, outcomes: Mapping[str, Sequence[Outcome]], **changes: Any) -> CampaignPlan:
    """A database at ``url`` with a campaign whose trials ended so, and no driver."""
    made = campaign(**changes)
    with open_ledger(url, made) as ledger:
        play(ledger, outcomes)
    return made
