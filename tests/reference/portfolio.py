"""The best portfolio, by trying all of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_regret(regrets: Floats, members: tuple[int, ...] | list[int]) -> float:
    """What is left, on average over workloads, when one tries the members; 1 where nothing is tried or known."""
    known = np.where(np.isnan(regrets), 1.0, regrets)
    return float(np.mean([min([1.0, *(known[member, w] for member in members)]) for w in range(known.shape[1])]))


def best(regrets: Floats, size: int) -> float:
    """The least mean regret of any portfolio of at most ``size`` members."""
    return min(
        mean_regret(regrets, members)
        for k in range(1, min(size, len(regrets)) + 1)
        for members in combinations(range(len(regrets)), k)
    )
