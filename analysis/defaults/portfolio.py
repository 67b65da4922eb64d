"""Which configurations to try in turn, from how much each is regretted on each workload."""

from __future__ import annotations

import numpy as np

from analysis.intervals import Floats

WORST = 1.0  # regret of trying nothing: what training starts from


def filled(regrets: Floats) -> Floats:
    """Return regrets (candidates, workloads) with :data:`WORST` where one is not known: it is no help there."""
    return np.where(np.isnan(regrets), WORST, regrets)


def greedy(regrets: Floats, size: int, *, tolerance: float = 1e-3) -> list[int]:
    """Return the ordered portfolio: from nothing, again and again the candidate that lowers the mean regret most.

    Trying a portfolio leaves, on each workload, the least regret of its members. What it saves against trying nothing
    is submodular, so that the greedy portfolio of k saves at least 1 − (1 − 1/k)^k (63 % or more) of what the best one
    of k saves (Nemhauser, Wolsey and Fisher 1978); its first member is the best single one. As in FLAML's zero-shot
    portfolios. Ties go to the candidate with the lower mean regret of its own, then to the earlier one.

    Args:
        regrets: (candidates, workloads), from 0 to 1; NaN where not known.
        size: At most so many members.
        tolerance: Mean regret that a further member must save.

    Returns:
        Indices of candidates, the first to try first; none without candidates.

    >>> greedy(np.array([[0.0, 0.9], [0.4, 0.4], [0.9, 0.0]]), 3)
    [1, 0, 2]

    Raises:
        ValueError: ``regrets`` is no matrix of numbers from 0 to 1, or ``size`` is below 1.
    """
    table = np.asarray(regrets, np.float64)
    if table.ndim != 2 or np.isinf(table).any() or ((table < 0) | (table > WORST)).any():
        raise ValueError("regrets are a matrix (candidates, workloads) of numbers from 0 to 1, or NaN")
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    known = filled(table)
    if not known.size:
        return []
    left = np.full(known.shape[1], WORST)
    own = known.mean(axis=1)
    chosen: list[int] = []
    while len(chosen) < min(size, len(known)):
        after = np.minimum(known, left).mean(axis=1)
        after[chosen] = np.inf
        best = float(after.min())
        if chosen and not left.mean() - best >= tolerance:
            break
        equal = np.flatnonzero(after <= best + 1e-12)
        pick = int(equal[own[equal].argmin()])
        chosen.append(pick)
        left = np.minimum(left, known[pick])
    return chosen
