"""Learning-rate schedules: factors by which every optimizer's learning rate is multiplied, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Schedule = Callable[[int, int], float]

WARMUP_FRACTION = 0.05
"""Share of all steps during which a schedule with ``+warmup`` in its name rises linearly to the full learning rate."""

_NAMED = "+warmup"


def constant(_step: int, _num_steps: int) -> float:
    """Return 1 at every step."""
    return 1.0


def linear(step: int, num_steps: int) -> float:
    """Return a straight line from 1 at step 0 towards 0, which step ``num_steps`` would reach (arXiv 2310.07831).

    >>> linear(0, 10), linear(9, 10)
    (1.0, 0.1)
    """
    return (num_steps - step) / num_steps


def cosine(step: int, num_steps: int) -> float:
    """Return half a cosine from 1 at step 0 towards 0, which step ``num_steps`` would reach (SGDR, arXiv 1608.03983).

    >>> cosine(0, 10), round(cosine(5, 10), 12)
    (1.0, 0.5)
    """
    return 0.5 * (1 + math.cos(math.pi * step / num_steps))


def with_warmup(schedule: Schedule, fraction: float = WARMUP_FRACTION) -> Schedule:
    """Return a schedule that first rises linearly, then follows ``schedule`` over the steps that are left.

    The first step already has a factor above 0; the last of the rise has 1.

    Args:
        schedule: What follows.
        fraction: Share of all steps that rise, in [0, 1); at least one step does, unless it is 0.

    >>> [with_warmup(constant)(step, 100) for step in range(6)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    """
    if fraction == 0:
        return schedule

    def warmed_up(step: int, num_steps: int) -> float:
        num_rising = min(max(1, round(fraction * num_steps)), num_steps - 1)
        if step < num_rising:
            return (step + 1) / num_rising
        return schedule(step - num_rising, num_steps - num_rising)

    return warmed_up


SHAPES: Mapping[str, Schedule] = {"constant": constant, "cosine": cosine, "linear": linear}
"""Schedules without warm-up, by name."""

SCHEDULES: Mapping[str, Schedule] = {
    **SHAPES,
    **{f"{name}{_NAMED}": with_warmup(SHAPES[name]) for name in ("constant", "cosine")},
}
"""Schedules by name: each is called with (step from 0, number of steps of the whole budget) and returns the factor."""


def followed(name: str, shape: str | None) -> str:
    """Return the name of the schedule that an optimizer follows in a campaign.

    Args:
        name: The campaign's.
        shape: What the optimizer's row asks for in its place, but for the warm-up; ``None``: nothing.

    >>> followed("cosine+warmup", "constant"), followed("linear", "constant"), followed("linear", None)
    ('constant+warmup', 'constant', 'linear')
    """
    return name if shape is None else shape + "".join(name.partition(_NAMED)[1:])


def schedule_of(name: str, warmup: float = 0.0) -> Schedule:
    """Return the schedule of that name, with a warm-up of that share of all steps.

    Args:
        name: Key in `SCHEDULES`.
        warmup: In [0, 1); 0 where the name says it already.

    Raises:
        ValueError: There is no such schedule or share, or the name says another.
    """
    if name not in SCHEDULES:
        raise ValueError(f"no schedule {name!r}; there are: {', '.join(SCHEDULES)}")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is a share of the steps from 0 to below 1, not {warmup!r}")
    if warmup and name not in SHAPES:
        raise ValueError(f"schedule {name!r} has a warm-up of {WARMUP_FRACTION}, so that warmup must be 0")
    return with_warmup(SCHEDULES[name], warmup)
