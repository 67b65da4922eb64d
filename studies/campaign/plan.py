"""What a study is to be: one workload, one optimizer, one search, all of it known before the first trial."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces import Space


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a ledger needs to know of a study, all of it from the campaign and the workload.

    ``trials`` is ``None`` where something else than their number ends the study. ``starts`` are the stored
    configurations to begin with, in their order; without any it is the space's default. ``replicate`` counts the
    studies of one workload and optimizer; the first is the one whose winner counts.
    """

    name: str
    workload: str
    optimizer: str
    metric: str
    direction: Literal["maximize", "minimize"]
    metric_split: str
    epochs: int
    trials: int | None
    sampler: str
    pruner: str
    seed: int
    space: Space
    starts: tuple[Mapping[str, Any], ...] = ()
    replicate: int = 1


def campaign_seed(seed: int, *names: str | int) -> int:
    """A 32-bit seed that depends on the campaign's seed and on the names, and is the same on every machine."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:4], "little")
