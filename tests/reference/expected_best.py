"""The expected best of k of N trials by looking at every subset."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def expected_best(values: Sequence[float], k: int, *, maximize: bool = True) -> float:
    """Mean of the best value over all subsets of size k."""
    best = max if maximize else min
    bests = [best(subset) for subset in itertools.combinations(values, k)]
    return sum(bests) / len(bests)
