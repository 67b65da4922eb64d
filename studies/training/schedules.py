"""Learning-rate schedules: factors by which every optimizer's learning rate is multiplied, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Schedule = Callable[[int, int], float]

WARMUP_FRACTION = 0.05
"""Fraction of all steps during which a schedule with warm-up rises linearly to the full learning rate."""


def constant(_step: int, _num_steps: int) -> float:
    """Return 1 at every step."""
    return 1.0


def cosine(step: int, num_steps: int) -> float:
    """Return half a cosine from 1 at step 0 towards 0, which step ``num_steps`` would reach (SGDR, arXiv 1608.03983).

    >>> cosine(0, 10), round(cosine(5, 10), 12)
    (1.0, 0.5)
    """
    return 0.5 * (1 + math.cos(math.pi * step / num_steps))


def with_warmup(schedule: Schedule) -> Schedule:
    """Return a schedule that first rises linearly, then follows ``schedule`` over the steps that are left.

    The first step already has a factor above 0; the last of the rise has 1.

    >>> [with_warmup(constant)(step, 100) for step in range(6)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    """

    def warmed_up(step: int, num_steps: int) -> float:
        num_rising = min(max(1, round(WARMUP_FRACTION * num_steps)), num_steps - 1)
        if step < num_rising:
            return (step + 1) / num_rising
        return schedule(step - num_rising, num_steps - num_rising)

    return warmed_up


SCHEDULES: Mapping[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "constant+warmup": with_warmup(constant),
    "cosine+warmup": with_warmup(cosine),
}
"""Schedules by name: each is called with (step from 0, number of steps of the whole budget) and returns the factor."""
